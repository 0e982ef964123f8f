//! Outgoing HTTP: how every client is built, and why a request did not arrive.

mod cause;

use reqwest::{ClientBuilder, Proxy, redirect, retry, tls};
use url::Url;

pub(crate) use self::cause::{Peer, cause, refusal};
use crate::config::Proxies;

/// A client for anything but the proxies of its requests, with every door shut that nobody needs.
///
/// - No redirects: reqwest would hand secret headers on to another host.
/// - No resending behind our back: those calls would escape the quota.
/// - No proxy but the configured ones, and none for this machine.
/// - TLS 1.2 or newer.
pub(crate) fn client(proxies: &Proxies) -> ClientBuilder {
    let builder = reqwest::Client::builder()
        .user_agent(concat!("cvsync/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .tls_version_min(tls::Version::TLS_1_2)
        // reqwest would read the environment by itself, in its own way.
        .no_proxy();
    if proxies.is_empty() {
        return builder;
    }
    let proxies = proxies.clone();
    builder.proxy(Proxy::custom(move |url: &Url| {
        proxies.of(url).map(|proxy| proxy.url().to_owned())
    }))
}

/// Why no client can be built.
#[derive(Debug, thiserror::Error)]
#[error(
    "no root certificates for TLS were found on this machine; install its ca-certificates, or set SSL_CERT_FILE to a PEM file of root certificates"
)]
pub(crate) struct NoRoots(#[from] reqwest::Error);
