//! Outgoing HTTP: builds all clients, and explains failed requests.

mod cause;

use reqwest::{ClientBuilder, Proxy, redirect, retry, tls};
use url::Url;

pub(crate) use self::cause::{Peer, cause, refusal};
use crate::config::Proxies;

/// A builder of HTTP clients, with strict settings:
///
/// - No redirects: reqwest would send secret headers to another host.
/// - No automatic retries: the quota would not count those calls.
/// - Only the configured proxies, and none for this machine.
/// - TLS 1.2 or newer.
pub(crate) fn client(proxies: &Proxies) -> ClientBuilder {
    let builder = reqwest::Client::builder()
        .user_agent(concat!("cvsync/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .tls_version_min(tls::Version::TLS_1_2)
        // reqwest would read the environment itself, with other rules.
        .no_proxy();
    if proxies.is_empty() {
        return builder;
    }
    let proxies = proxies.clone();
    builder.proxy(Proxy::custom(move |url: &Url| {
        proxies.of(url).map(|proxy| proxy.url().to_owned())
    }))
}

/// The reason why no client can be built.
#[derive(Debug, thiserror::Error)]
#[error(
    "this machine has no root certificates for TLS; install the package ca-certificates, or set SSL_CERT_FILE to a PEM file of root certificates"
)]
pub(crate) struct NoRoots(#[from] reqwest::Error);
