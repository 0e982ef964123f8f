//! One request over HTTP: a client without any feature that VDAB does not need, and a body that is read up to a limit.

use std::time::Duration;

use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};
use reqwest::{Certificate, Client, ClientBuilder, RequestBuilder, Url};

use super::answer::Raw;
use super::error::ApiError;
use crate::config::{self, Proxies};
use crate::outbound::{self, Peer};

/// How long an idle connection is kept: firewalls and load balancers drop it without a notice.
const IDLE: Duration = Duration::from_secs(10);

/// After this time, data that the peer has not acknowledged counts as lost.
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Http {
    pooled: Client,
    /// Opens a connection for each request.
    fresh: Client,
    proxies: Proxies,
}

/// VDAB's API, as errors name it.
pub(super) const API: Peer = Peer {
    url: "CVSYNC_API_BASE_URL",
    roots: "CVSYNC_API_CA_FILE",
};

pub(super) const TOKEN_SERVER: Peer = Peer {
    url: "CVSYNC_OAUTH_TOKEN_URL",
    roots: "CVSYNC_API_CA_FILE",
};

impl Http {
    pub(super) fn new(api: &config::Api) -> Result<Self, reqwest::Error> {
        Ok(Self {
            pooled: client(api)?.build()?,
            fresh: client(api)?.pool_max_idle_per_host(0).build()?,
            proxies: api.proxies.clone(),
        })
    }

    /// A request to send by [`send`](Self::send).
    pub(super) fn get(&self, url: Url) -> RequestBuilder {
        self.pooled.get(url)
    }

    pub(super) fn post(&self, url: Url) -> RequestBuilder {
        self.pooled.post(url)
    }

    /// Sends `request` to `peer` and reads the whole response, up to `limit` decompressed bytes.
    ///
    /// A pooled connection may have ended without a notice. So a request that is dropped before the response begins is sent
    /// once more, over a fresh connection, if `again` allows that. It waits for another permit.
    pub(super) async fn send(
        &self,
        peer: Peer,
        request: RequestBuilder,
        limit: usize,
        again: impl AsyncFnOnce() -> bool,
    ) -> Result<Raw, ApiError> {
        let spare = request.try_clone();
        match self.read(peer, request.send().await, limit).await {
            Err(ApiError::Dropped) => {}
            answer => return answer,
        }
        match spare.map(|spare| spare.build_split().1) {
            Some(Ok(request)) if again().await => {
                let response = self.fresh.execute(request).await;
                self.read(peer, response, limit).await
            }
            _ => Err(ApiError::Dropped),
        }
    }

    async fn read(
        &self,
        peer: Peer,
        response: Result<reqwest::Response, reqwest::Error>,
        limit: usize,
    ) -> Result<Raw, ApiError> {
        let failed = |error: &reqwest::Error| self.transport(peer, error);
        let mut response = response.map_err(|error| failed(&error))?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| failed(&error))? {
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

    /// reqwest's errors name the URL, and with it the id; ours do not.
    ///
    /// The order matters, since a timeout within the body is also a decoding error.
    fn transport(&self, peer: Peer, error: &reqwest::Error) -> ApiError {
        if error.is_connect() {
            let proxy = error.url().and_then(|url| self.proxies.of(url));
            ApiError::Unreachable(outbound::cause(error, peer, proxy))
        } else if error.is_timeout() && !is_of_the_system(error) {
            ApiError::Incomplete("it took longer than CVSYNC_API_TIMEOUT")
        } else if error.is_builder() {
            ApiError::Unreachable(format!("the address in {} is not allowed", peer.url))
        } else if error.is_decode() || error.is_body() {
            ApiError::Incomplete("it was cut short")
        } else {
            ApiError::Dropped
        }
    }
}

/// A client that uses HTTPS only, unless the configuration allows HTTP on loopback.
fn client(api: &config::Api) -> Result<ClientBuilder, reqwest::Error> {
    let token_url = api.oauth.as_ref().map(|oauth| &oauth.token_url);
    let mut urls = [Some(&api.base_url), token_url].into_iter().flatten();
    let mut builder = outbound::client(&api.proxies)
        .default_headers(HeaderMap::from_iter([(
            ACCEPT,
            HeaderValue::from_static("application/json"),
        )]))
        .https_only(urls.all(|url| url.scheme() == "https"))
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
