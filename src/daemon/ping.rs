//! The dead man's switch: a request after each successful sync. Its receiver raises the alarm if requests stop, also when no part
//! of cvsync is left to do so.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::config::Proxies;
use crate::outbound::{self, NoRoots, Peer};
use crate::telemetry::Throttle;

static FAILED: Throttle = Throttle::new();

/// A receiver that takes longer holds up the next run by no more than this.
const PATIENCE: Duration = Duration::from_secs(5);

/// The receiver, for the words of errors.
const PEER: Peer = Peer {
    url: "CVSYNC_PING_URL",
    roots: "SSL_CERT_FILE",
};

#[derive(Debug)]
pub(super) struct Ping {
    http: reqwest::Client,
    url: SecretString,
    proxies: Proxies,
}

impl Ping {
    /// Whatever is to be asked for; it may hold a token.
    ///
    /// # Errors
    /// If there is no TLS.
    pub(super) fn new(url: SecretString, proxies: &Proxies) -> Result<Self, NoRoots> {
        let http = outbound::client(proxies)
            .timeout(PATIENCE)
            // A kept connection may have ended without a sign of it.
            .pool_max_idle_per_host(0)
            .build()?;
        let proxies = proxies.clone();
        Ok(Self { http, url, proxies })
    }

    /// Asks once. That it did not arrive is told, and no more: the next sync asks again.
    pub(super) async fn send(&self) {
        let answer = self.http.get(self.url.expose_secret()).send().await;
        match answer {
            Ok(answer) if answer.status().is_success() => {}
            Ok(answer) => {
                let status = answer.status().as_u16();
                let proxy = self.proxies.of(answer.url());
                if let Some(total) = FAILED.due("status", 1) {
                    if let Some(proxy) = proxy.filter(|_| status == 407) {
                        let why = outbound::refusal(proxy, status);
                        tracing::warn!(total, "the ping of CVSYNC_PING_URL failed: {why}");
                    } else {
                        tracing::warn!(status, total, "CVSYNC_PING_URL does not take the ping");
                    }
                }
            }
            // Its own words hold the address, and with it perhaps a token.
            Err(error) => {
                if let Some(total) = FAILED.due("unreachable", 1) {
                    let proxy = error.url().and_then(|url| self.proxies.of(url));
                    let why = outbound::cause(&error, PEER, proxy);
                    tracing::warn!(total, "CVSYNC_PING_URL cannot be reached: {why}");
                }
            }
        }
    }
}
