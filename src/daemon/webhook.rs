//! The webhook: each change of the feed to one receiver, in order and at least once.
//!
//! Its place is a row of `feed_consumer` that moves only once the receiver has answered 2xx, under the leader's epoch. So a
//! crash, a lost answer or two leaders for a moment cost a second delivery and nothing else. No transaction is open while a
//! receiver is waited for, and no run waits for it.
//!
//! A request that the receiver finds too large is halved. A single change that it refuses is never skipped, since nobody could tell
//! it from a receiver that refuses everything: the changes behind it wait.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::SecondsFormat;
use reqwest::header::CONTENT_TYPE;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;

use super::batch_size::BatchSize;
use crate::admin::Board;
use crate::clock::Clock;
use crate::config::{self, Proxies};
use crate::outbound::{self, NoRoots, Peer};
use crate::pauses::Pauses;
use crate::store::cv_change::{self, Change};
use crate::store::feed_consumer::WEBHOOK as NAME;
use crate::store::{Remedy, Store, StoreError, feed_consumer};
use crate::telemetry::{DeliveryOutcome, Metrics, Throttle};
use crate::vdab::headers;

static FAILED: Throttle = Throttle::new();

/// How often it looks for changes: with what a delivery takes, well below a second.
const PERIOD: Duration = Duration::from_millis(300);

/// So many failures in a row are worth a note in status.
const NOTED: u32 = 3;

/// One request, from connect to the answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The pause after the first failure, and the longest; each is off by up to half.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(2);

/// The most that a receiver can ask for with `Retry-After`.
const LONGEST_WISH: Duration = Duration::from_mins(15);

/// A database that answers later is asked again.
const PATIENCE: Duration = Duration::from_secs(5);

/// The receiver, for the words of errors.
const PEER: Peer = Peer {
    url: "CVSYNC_WEBHOOK_URL",
    roots: "SSL_CERT_FILE",
};

/// CloudEvents' JSON batch format.
const EVENTS: &str = "application/cloudevents-batch+json";

#[derive(Debug)]
pub(super) struct Webhook {
    http: reqwest::Client,
    proxies: Proxies,
    url: SecretString,
    key: hmac::Key,
    store: Store,
    metrics: Metrics,
    clock: Clock,
    board: Arc<Board>,
}

enum Delivery {
    Taken,
    Failed(Failure),
}

/// A request that was not taken.
struct Failure {
    outcome: DeliveryOutcome,
    /// Of the answer, where one came.
    status: Option<u16>,
    wish: Option<Duration>,
    /// Why no answer came, and what to do.
    why: Option<String>,
}

/// State that the next request depends on.
struct Next {
    size: BatchSize,
    /// The last change of the request that is tried again. It stays the same request, also if more has come meanwhile.
    tried: Option<i64>,
    /// Failures in a row.
    failures: u32,
}

/// How long to wait before the next request.
enum Pause {
    None,
    Idle,
    /// The next one is smaller. With what the receiver wishes.
    Smaller(Duration),
    Failed(Duration),
}

impl Webhook {
    /// Has connected to nothing yet.
    ///
    /// # Errors
    /// If there is no TLS.
    pub(super) fn new(
        settings: &config::Webhook,
        proxies: &Proxies,
        store: &Store,
        metrics: Metrics,
        clock: Clock,
        board: Arc<Board>,
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
            store: store.within(PATIENCE),
            metrics,
            clock,
            board,
        })
    }

    /// Registers at the present end of the feed, if it is not registered: before the first change is written that it is to
    /// get. If the database does not let it, [`deliver_until`](Self::deliver_until) does so later.
    pub(super) async fn register(&self) {
        if let Err(error) = self.registered().await {
            Self::tell(&error);
        }
    }

    async fn registered(&self) -> Result<(), StoreError> {
        let register = async |tx: &mut PgConnection| feed_consumer::register(tx, NAME).await;
        if self
            .store
            .write("registering the webhook", register)
            .await?
        {
            tracing::info!("the webhook gets what changes from now on");
        }
        Ok(())
    }

    fn tell(error: &StoreError) {
        if let Some(total) = FAILED.due("database", 1) {
            tracing::warn!(total, "the webhook waits for the database: {error}");
        }
    }

    /// Delivers until `token` is cancelled or another instance leads.
    pub(super) async fn deliver_until(&self, token: CancellationToken) {
        let mut pauses = Pauses::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut next = Next {
            size: BatchSize::new(),
            tried: None,
            failures: 0,
        };
        self.board.set_webhook(None);
        while !token.is_cancelled() {
            let pause = match self.deliver(&mut next).await {
                Ok(Pause::None) => {
                    pauses = Pauses::new(FIRST_PAUSE, LONGEST_PAUSE);
                    continue;
                }
                Ok(Pause::Idle) => {
                    pauses = Pauses::new(FIRST_PAUSE, LONGEST_PAUSE);
                    PERIOD
                }
                Ok(Pause::Smaller(wish)) => PERIOD.max(wish),
                Ok(Pause::Failed(wish)) => pauses.next_pause().max(wish),
                Err(error) if error.remedy() == Remedy::StandDown => return,
                Err(error) => {
                    Self::tell(&error);
                    pauses.next_pause().min(PATIENCE)
                }
            };
            token.run_until_cancelled(tokio::time::sleep(pause)).await;
        }
    }

    /// Delivers what comes next, if anything does.
    async fn deliver(&self, next: &mut Next) -> Result<Pause, StoreError> {
        let Some(place) = self.place().await? else {
            self.registered().await?;
            return Ok(Pause::Idle);
        };
        let last = next.tried.unwrap_or(i64::MAX);
        let changes = self.changes(place, last, next.size.get()).await?;
        let (Some(first), Some(last)) = (changes.first(), changes.last()) else {
            next.tried = None;
            return Ok(Pause::Idle);
        };
        let failure = match self.send(first.seq, last.seq, &changes).await {
            Delivery::Taken => {
                self.metrics.webhook_ended(DeliveryOutcome::Delivered);
                self.move_on(place, last.seq).await?;
                next.tried = None;
                next.failures = 0;
                next.size.taken(Instant::now());
                self.board.set_webhook(None);
                return Ok(Pause::None);
            }
            Delivery::Failed(failure) => failure,
        };
        self.metrics.webhook_ended(failure.outcome);
        next.failures += 1;
        let wish = failure.wish.unwrap_or_default().min(LONGEST_WISH);
        let events = i64::try_from(changes.len()).unwrap_or(i64::MAX);
        let status = failure.status;
        let (unreachable, alone) = (failure.outcome == DeliveryOutcome::Unreachable, events == 1);
        if !unreachable && next.size.refused(status, events, Instant::now()) {
            next.tried = None;
            if let Some(total) = FAILED.due("size", 1) {
                tracing::warn!(
                    status,
                    events,
                    total,
                    "CVSYNC_WEBHOOK_URL does not take so many changes at once: the next request has half of them"
                );
            }
            return Ok(Pause::Smaller(wish));
        }
        next.tried = Some(last.seq);
        // The client's own words would hold the address, and with it perhaps a token.
        if let Some(total) = FAILED.due(failure.outcome.as_str(), 1) {
            match status {
                Some(status) if alone => tracing::warn!(
                    status,
                    seq = first.seq,
                    total,
                    "CVSYNC_WEBHOOK_URL does not take a single change; those behind it wait"
                ),
                Some(status) => {
                    tracing::warn!(
                        status,
                        total,
                        "CVSYNC_WEBHOOK_URL does not take the changes"
                    );
                }
                None => {
                    let why = failure.why.as_deref().unwrap_or("no reason is known");
                    tracing::warn!(
                        total,
                        "CVSYNC_WEBHOOK_URL cannot be reached, or does not answer: {why}"
                    );
                }
            }
        }
        if next.failures >= NOTED {
            self.board.set_webhook(Some(note(
                status,
                alone.then_some(first.seq),
                failure.why.as_deref(),
            )));
        }
        Ok(Pause::Failed(wish))
    }

    /// Its place. Where changes behind it are gone from the feed, which only happens if somebody moved it back by hand, it is
    /// moved to those that are there.
    async fn place(&self) -> Result<Option<i64>, StoreError> {
        let place = async |tx: &mut PgConnection| feed_consumer::place(tx, NAME).await;
        let place = self
            .store
            .read("reading the webhook's place", place)
            .await?;
        let Some((place, removed)) = place.filter(|(place, removed)| removed > place) else {
            return Ok(place.map(|(place, _)| place));
        };
        tracing::error!(
            place,
            removed,
            "changes were removed from the feed before the webhook had them"
        );
        self.move_on(place, removed).await?;
        Ok(Some(removed))
    }

    async fn changes(&self, place: i64, last: i64, most: i64) -> Result<Vec<Change>, StoreError> {
        let changes = async |tx: &mut PgConnection| cv_change::between(tx, place, last, most).await;
        self.store
            .read("reading changes for the webhook", changes)
            .await
    }

    async fn move_on(&self, from: i64, to: i64) -> Result<(), StoreError> {
        let moved = async |tx: &mut PgConnection| feed_consumer::move_on(tx, NAME, from, to).await;
        self.store.write("moving the webhook on", moved).await
    }

    async fn send(&self, first: i64, last: i64, changes: &[Change]) -> Delivery {
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

/// The note in status about a receiver that fails again and again. `alone` is the number of a change that it refuses by itself.
fn note(status: Option<u16>, alone: Option<i64>, why: Option<&str>) -> String {
    match (status, alone) {
        (Some(status), Some(seq)) => format!(
            "the webhook's receiver answers {status} to the single change with seq {seq}; the changes behind it wait"
        ),
        (Some(status), None) => {
            format!("the webhook's receiver answers {status}; the changes wait")
        }
        (None, _) => format!(
            "the webhook's receiver cannot be reached, or does not answer; the changes wait: {}",
            why.unwrap_or("no reason is known")
        ),
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
