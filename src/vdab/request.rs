//! One attempt over HTTP: a client with every door shut that VDAB does not need, and a body that is read within a limit.

use std::time::Duration;

use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};
use reqwest::{Certificate, Client, ClientBuilder, RequestBuilder, Url, redirect, retry, tls};

use super::answer::Raw;
use super::error::ApiError;
use crate::config;

/// A kept connection that was idle for longer is not used again: firewalls and load balancers forget it without a word.
const IDLE: Duration = Duration::from_secs(10);

/// Data that the other side's host has not acknowledged for so long will never arrive.
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);

/// Clients for one base URL.
#[derive(Debug)]
pub struct Http {
    /// Keeps connections.
    kept: Client,
    /// Opens a connection for each request.
    fresh: Client,
}

impl Http {
    /// Has connected to nothing yet.
    pub fn new(api: &config::Api) -> Result<Self, reqwest::Error> {
        Ok(Self {
            kept: client(api)?.build()?,
            fresh: client(api)?.pool_max_idle_per_host(0).build()?,
        })
    }

    /// A request to send by [`send`](Self::send).
    pub fn get(&self, url: Url) -> RequestBuilder {
        self.kept.get(url)
    }

    /// The same with a method that has a body.
    pub fn post(&self, url: Url) -> RequestBuilder {
        self.kept.post(url)
    }

    /// Sends `request` and reads the whole answer, up to `limit` decoded bytes.
    ///
    /// A kept connection may have ended between two requests without a sign of it. So a request that is dropped before the
    /// response begins is sent once more, over a fresh connection, if `again` allows that. It waits for another permit.
    pub async fn send(
        &self,
        request: RequestBuilder,
        limit: usize,
        again: impl AsyncFnOnce() -> bool,
    ) -> Result<Raw, ApiError> {
        let spare = request.try_clone();
        match read(request.send().await, limit).await {
            Err(ApiError::Dropped) => {}
            answer => return answer,
        }
        match spare.map(|spare| spare.build_split().1) {
            Some(Ok(request)) if again().await => {
                read(self.fresh.execute(request).await, limit).await
            }
            _ => Err(ApiError::Dropped),
        }
    }
}

/// How to connect.
///
/// - No redirects: reqwest would hand `X-IBM-Client-Id` on to another host.
/// - No resending behind our back: those calls would escape the quota.
/// - No proxy from ambient variables.
/// - TLS 1.2 or newer and nothing but HTTPS, except on loopback, where the configuration allows HTTP.
fn client(api: &config::Api) -> Result<ClientBuilder, reqwest::Error> {
    let mut builder = Client::builder()
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
        .pool_idle_timeout(IDLE)
        .http2_keep_alive_interval(IDLE)
        .http2_keep_alive_timeout(UNACKNOWLEDGED)
        .http2_adaptive_window(true);
    #[cfg(target_os = "linux")]
    {
        builder = builder.tcp_user_timeout(UNACKNOWLEDGED);
    }
    if let Some(pem) = &api.ca_pem {
        builder = builder.tls_certs_merge(Certificate::from_pem_bundle(pem)?);
    }
    Ok(builder)
}

async fn read(
    response: Result<reqwest::Response, reqwest::Error>,
    limit: usize,
) -> Result<Raw, ApiError> {
    let mut response = response.map_err(|error| transport(&error))?;
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
    } else if error.is_timeout() && !is_of_the_system(error) {
        ApiError::Incomplete("it took too long")
    } else if error.is_builder() {
        ApiError::Unreachable("the address is not allowed")
    } else if error.is_decode() || error.is_body() {
        ApiError::Incomplete("it broke off")
    } else {
        ApiError::Dropped
    }
}

/// Whether the operating system ended the connection, such as by its own timeout.
fn is_of_the_system(error: &dyn std::error::Error) -> bool {
    let mut source = error.source();
    while let Some(error) = source {
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|error| error.raw_os_error().is_some()) {
            return true;
        }
        source = error.source();
    }
    false
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
