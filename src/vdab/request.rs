//! One attempt over HTTP: a client with every door shut that VDAB does not need, and a body that is read within a limit.

use std::time::Duration;

use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};
use reqwest::{Certificate, RequestBuilder, redirect, retry, tls};

use super::answer::Raw;
use super::error::ApiError;
use crate::config;

/// A client for one base URL.
///
/// - No redirects: reqwest would hand `X-IBM-Client-Id` on to another host.
/// - No resending behind our back: those calls would escape the quota.
/// - No proxy from ambient variables.
/// - TLS 1.2 or newer and nothing but HTTPS, except on loopback, where the configuration allows HTTP.
pub fn client(api: &config::Api) -> Result<reqwest::Client, reqwest::Error> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("cvsync/", env!("CARGO_PKG_VERSION")))
        .default_headers(HeaderMap::from_iter([(
            ACCEPT,
            HeaderValue::from_static("application/json"),
        )]))
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .no_proxy()
        .https_only(api.base_url.scheme() == "https")
        .tls_version_min(tls::Version::TLS_1_2)
        .connect_timeout(api.timeout.min(Duration::from_secs(10)))
        .read_timeout(api.timeout)
        .timeout(api.timeout)
        .tcp_keepalive(Duration::from_secs(30))
        .pool_idle_timeout(Duration::from_secs(30))
        .http2_adaptive_window(true);
    if let Some(pem) = &api.ca_pem {
        builder = builder.tls_certs_merge(Certificate::from_pem_bundle(pem)?);
    }
    builder.build()
}

/// Sends `request` and reads the whole answer, up to `limit` decoded bytes.
pub async fn send(request: RequestBuilder, limit: usize) -> Result<Raw, ApiError> {
    let mut response = request.send().await.map_err(|error| transport(&error))?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| transport(&error))? {
        if body.len() + chunk.len() > limit {
            return Err(ApiError::TooLarge { limit });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Raw {
        status: response.status(),
        headers: std::mem::take(response.headers_mut()),
        body,
    })
}

/// reqwest's errors name the URL, and with it the id; ours do not. A time-out within the body is also a decoding error:
/// hence the order.
fn transport(error: &reqwest::Error) -> ApiError {
    if error.is_connect() {
        ApiError::Unreachable(if error.is_timeout() {
            "connecting took too long"
        } else if error.is_dns() {
            "its host name does not resolve"
        } else if mentions(error, "certificate") {
            "its certificate is not valid"
        } else {
            "no connection"
        })
    } else if error.is_timeout() {
        ApiError::Incomplete("it took too long")
    } else if error.is_builder() {
        ApiError::Unreachable("the address is not allowed")
    } else if error.is_decode() || error.is_body() {
        ApiError::Incomplete("it broke off")
    } else {
        ApiError::Incomplete("the connection broke")
    }
}

fn mentions(error: &dyn std::error::Error, word: &str) -> bool {
    let mut source = error.source();
    while let Some(error) = source {
        if error.to_string().contains(word) {
            return true;
        }
        source = error.source();
    }
    false
}
