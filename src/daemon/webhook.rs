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

use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;

use super::batch_size::BatchSize;
use super::receiver::{Delivery, Failure, Receiver};
use crate::admin::Board;
use crate::clock::Clock;
use crate::config::{self, Proxies};
use crate::outbound::NoRoots;
use crate::pauses::Pauses;
use crate::store::cv_change::{self, Change};
use crate::store::feed_consumer::WEBHOOK as NAME;
use crate::store::{Remedy, Store, StoreError, feed_consumer};
use crate::telemetry::{DeliveryOutcome, Metrics, Throttle};

static FAILED: Throttle = Throttle::new();

/// How often it looks for changes: with what a delivery takes, well below a second.
const PERIOD: Duration = Duration::from_millis(300);

/// So many failures in a row are worth a note in status.
const NOTED: u32 = 3;

/// The pause after the first failure, and the longest; each is off by up to half.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(2);

/// The most that a receiver can ask for with `Retry-After`.
const LONGEST_WISH: Duration = Duration::from_mins(15);

/// A database that answers later is asked again.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Webhook {
    receiver: Receiver,
    store: Store,
    metrics: Metrics,
    board: Arc<Board>,
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
        Ok(Self {
            receiver: Receiver::new(settings, proxies, clock)?,
            store: store.within(PATIENCE),
            metrics,
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
                // The leader steps down for lost history, and this task is dropped with it.
                Err(error)
                    if error.remedy() == Remedy::StandDown && error != StoreError::HistoryLost =>
                {
                    return;
                }
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
        let failure = match self.receiver.send(first.seq, last.seq, &changes).await {
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
        Ok(self.failed(next, &failure, &changes))
    }

    /// Decides about the request after one that was not taken.
    fn failed(&self, next: &mut Next, failure: &Failure, changes: &[Change]) -> Pause {
        self.metrics.webhook_ended(failure.outcome);
        next.failures += 1;
        let wish = failure.wish.unwrap_or_default().min(LONGEST_WISH);
        let events = i64::try_from(changes.len()).unwrap_or(i64::MAX);
        let alone = match changes {
            [change] => Some(change.seq),
            _ => None,
        };
        let unreachable = failure.outcome == DeliveryOutcome::Unreachable;
        if !unreachable && next.size.refused(failure.status, events, Instant::now()) {
            next.tried = None;
            if let Some(total) = FAILED.due("size", 1) {
                tracing::warn!(
                    status = failure.status,
                    events,
                    total,
                    "CVSYNC_WEBHOOK_URL does not take so many changes at once: the next request has half of them"
                );
            }
            return Pause::Smaller(wish);
        }
        next.tried = changes.last().map(|change| change.seq);
        log(failure, alone);
        if next.failures >= NOTED {
            self.board
                .set_webhook(Some(note(failure.status, alone, failure.why.as_deref())));
        }
        Pause::Failed(wish)
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
}

/// `alone` is the number of a change that is refused by itself. The client's own words would hold the URL, and with it perhaps
/// a token.
fn log(failure: &Failure, alone: Option<i64>) {
    let Some(total) = FAILED.due(failure.outcome.as_str(), 1) else {
        return;
    };
    match (failure.status, alone) {
        (Some(status), Some(seq)) => tracing::warn!(
            status,
            seq,
            total,
            "CVSYNC_WEBHOOK_URL does not take a single change; those behind it wait"
        ),
        (Some(status), None) => {
            tracing::warn!(
                status,
                total,
                "CVSYNC_WEBHOOK_URL does not take the changes"
            );
        }
        (None, _) => {
            let why = failure.why.as_deref().unwrap_or("no reason is known");
            tracing::warn!(
                total,
                "CVSYNC_WEBHOOK_URL cannot be reached, or does not answer: {why}"
            );
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
