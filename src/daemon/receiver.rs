//! The receiver of the webhook: one request with a batch of CloudEvents, signed as Standard Webhooks has it.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::SecondsFormat;
use reqwest::header::CONTENT_TYPE;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::config::{self, Proxies};
use crate::outbound::{self, NoRoots, Peer};
use crate::store::cv_change::Change;
use crate::telemetry::DeliveryOutcome;
use crate::vdab::headers;

/// One request, from connect to the answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The receiver, for the words of errors.
const PEER: Peer = Peer {
    url: "CVSYNC_WEBHOOK_URL",
    roots: "SSL_CERT_FILE",
};

/// CloudEvents' JSON batch format.
const EVENTS: &str = "application/cloudevents-batch+json";

#[derive(Debug)]
pub(super) struct Receiver {
    http: reqwest::Client,
    proxies: Proxies,
    url: SecretString,
    key: hmac::Key,
    clock: Clock,
}

/// The end of a request.
pub(super) enum Delivery {
    Taken,
    Failed(Failure),
}

/// A request that was not taken.
pub(super) struct Failure {
    pub outcome: DeliveryOutcome,
    /// Of the answer, where one came.
    pub status: Option<u16>,
    /// The pause that the receiver wants, from `Retry-After`.
    pub wish: Option<Duration>,
    /// Why no answer came, and what to do.
    pub why: Option<String>,
}

impl Receiver {
    /// Has connected to nothing yet.
    ///
    /// # Errors
    /// If there is no TLS.
    pub(super) fn new(
        settings: &config::Webhook,
        proxies: &Proxies,
        clock: Clock,
    ) -> Result<Self, NoRoots> {
        let http = outbound::client(proxies)
            .timeout(TIMEOUT)
            // A kept connection may have ended without a sign of it.
            .pool_max_idle_per_host(0)
            .build()?;
        Ok(Self {
            http,
            proxies: proxies.clone(),
            url: settings.url.clone(),
            key: hmac::Key::new(hmac::HMAC_SHA256, settings.key.expose_secret()),
            clock,
        })
    }

    /// Posts these changes in one request. Its id, and so its retries, depend on the first and the last of them.
    pub(super) async fn send(&self, first: i64, last: i64, changes: &[Change]) -> Delivery {
        let id = format!("cvsync-{first}-{last}");
        let timestamp = self.clock.now().timestamp();
        let body = body(changes);
        let signature = sign(&self.key, &id, timestamp, &body);
        let sent = self
            .http
            .post(self.url.expose_secret())
            .header(CONTENT_TYPE, EVENTS)
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(body)
            .send();
        match sent.await {
            Ok(answer) if answer.status().is_success() => Delivery::Taken,
            Ok(answer) => Delivery::Failed(Failure {
                outcome: DeliveryOutcome::Refused,
                status: Some(answer.status().as_u16()),
                wish: headers::retry_after(answer.headers()),
                why: None,
            }),
            Err(error) => {
                let proxy = error.url().and_then(|url| self.proxies.of(url));
                Delivery::Failed(Failure {
                    outcome: if error.is_timeout() {
                        DeliveryOutcome::Timeout
                    } else {
                        DeliveryOutcome::Unreachable
                    },
                    status: None,
                    wish: None,
                    why: Some(outbound::cause(&error, PEER, proxy)),
                })
            }
        }
    }
}

/// A batch of CloudEvents 1.0. They hold no personal data but the id.
fn body(changes: &[Change]) -> String {
    let event = |change: &Change| {
        json!({
            "specversion": "1.0",
            "id": change.seq.to_string(),
            "source": "/cvsync/cv_change",
            "type": format!("be.vdab.cv.{}", change.kind),
            "subject": change.cv_id,
            "time": change.at.to_rfc3339_opts(SecondsFormat::Micros, true),
        })
    };
    Value::Array(changes.iter().map(event).collect()).to_string()
}

/// As Standard Webhooks has it: over id, time and body, in base64.
fn sign(key: &hmac::Key, id: &str, timestamp: i64, body: &str) -> String {
    let tag = hmac::sign(key, format!("{id}.{timestamp}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_standard_webhooks() {
        // The example of its reference libraries.
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        assert_eq!(
            sign(&key, id, 1_614_265_330, r#"{"test": 2432232314}"#),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }
}
