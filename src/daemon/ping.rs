//! The dead man's switch: a request after each sync that came to its end. Who gets none for too long raises the alarm, also when
//! nothing of ours is left to do so.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::telemetry::Throttle;

static FAILED: Throttle = Throttle::new();

/// A receiver that takes longer holds up the next run by no more than this.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where to, and with what.
#[derive(Debug)]
pub struct Ping {
    http: reqwest::Client,
    url: SecretString,
}

impl Ping {
    /// Whatever is to be asked for; it may hold a token.
    ///
    /// # Errors
    /// If there is no TLS.
    pub fn new(url: SecretString) -> reqwest::Result<Self> {
        let http = reqwest::Client::builder()
            .user_agent(concat!("cvsync/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(PATIENCE)
            // A kept connection may have ended without a sign of it.
            .pool_max_idle_per_host(0)
            .build()?;
        Ok(Self { http, url })
    }

    /// Asks once. That it did not arrive is told, and no more: the next sync asks again.
    pub async fn send(&self) {
        let answer = self.http.get(self.url.expose_secret()).send().await;
        match answer {
            Ok(answer) if answer.status().is_success() => {}
            Ok(answer) => {
                let status = answer.status().as_u16();
                if let Some(total) = FAILED.due("status", 1) {
                    tracing::warn!(status, total, "CVSYNC_PING_URL does not take the ping");
                }
            }
            // Its own words hold the address, and with it perhaps a token.
            Err(_) => {
                if let Some(total) = FAILED.due("unreachable", 1) {
                    tracing::warn!(total, "CVSYNC_PING_URL cannot be reached");
                }
            }
        }
    }
}
