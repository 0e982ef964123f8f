//! Work that is done again until the database lets it: an outage is waited for.

use std::time::{Duration, Instant};

use sqlx::PgConnection;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Remedy, Store, StoreError};
use crate::pauses::Pauses;
use crate::telemetry::{ClosedBy, RetriedStage, Throttle};

static RETRIES: Throttle = Throttle::new();

/// An error that is no outage is given up once it came so many times in a row, over so long: at this place it would come for
/// ever, and the next run may do.
const REPEATS: u32 = 3;
const REPEATED_FOR: Duration = Duration::from_mins(1);

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The error of a database that is being waited for.
pub(crate) type Trouble = watch::Sender<Option<StoreError>>;

/// A store whose transactions are repeated: they must be right when they are done twice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Persistent<'a> {
    /// The store that makes the transactions.
    pub store: &'a Store,
    /// How long a person at a terminal waits for a database that is away; the daemon waits for as long as it takes.
    pub patience: Option<Duration>,
    pub token: &'a CancellationToken,
    /// Shows others the error that it waits out.
    pub trouble: &'a Trouble,
}

impl Persistent<'_> {
    /// As [`Store::read`].
    ///
    /// # Errors
    /// One that no waiting mends, that repeats, that outlasts the patience, or [`StoreError::Stopped`].
    pub(crate) async fn read<T>(
        self,
        what: &'static str,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, StoreError> + Clone,
    ) -> Result<T, StoreError> {
        let mut attempts = Attempts::begin(self, what);
        loop {
            match self.store.read(what, work.clone()).await {
                Ok(read) => {
                    attempts.done();
                    return Ok(read);
                }
                Err(error) => attempts.wait(error).await?,
            }
        }
    }

    /// As [`Store::write`].
    pub(crate) async fn write<T>(
        self,
        what: &'static str,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, StoreError> + Clone,
    ) -> Result<T, StoreError> {
        let mut attempts = Attempts::begin(self, what);
        loop {
            match self.store.write(what, work.clone()).await {
                Ok(written) => {
                    attempts.done();
                    return Ok(written);
                }
                Err(error) => attempts.wait(error).await?,
            }
        }
    }

    /// As [`Store::migrate`].
    pub(crate) async fn migrate(self) -> Result<(), StoreError> {
        let begin = || Attempts::begin(self, "migrating the schema");
        let mut attempts = begin();
        loop {
            let Err(error) = self.store.migrate().await else {
                attempts.done();
                return Ok(());
            };
            if let Err(error) = attempts.wait(error).await {
                // The daemon has nothing else to do, so it waits until a person has put that right.
                let waits = self.patience.is_none();
                if !(waits && matches!(error.remedy(), Remedy::Retry | Remedy::Tell)) {
                    return Err(error);
                }
                attempts = begin();
            }
        }
    }
}

/// One piece of work, attempt after attempt.
struct Attempts<'a> {
    of: Persistent<'a>,
    what: &'static str,
    begun: Instant,
    /// When the attempt under way began.
    asked: Instant,
    pauses: Pauses,
    repeats: Repeats,
    waiting: Option<Waiting<'a>>,
    told: bool,
}

impl<'a> Attempts<'a> {
    fn begin(of: Persistent<'a>, what: &'static str) -> Self {
        Self {
            of,
            what,
            begun: Instant::now(),
            asked: Instant::now(),
            pauses: Pauses::new(FIRST_PAUSE, LONGEST_PAUSE),
            repeats: Repeats::default(),
            waiting: None,
            told: false,
        }
    }

    fn done(self) {
        self.of.trouble.send_replace(None);
        if self.told {
            tracing::info!(stage = self.what, "the database works again");
        }
    }

    /// Waits until the next attempt; its error is one to give up with.
    async fn wait(&mut self, error: StoreError) -> Result<(), StoreError> {
        let Persistent {
            store,
            patience,
            token,
            trouble,
        } = self.of;
        let remedy = error.remedy();
        let waited_enough = patience.is_some_and(|patience| {
            self.begun.elapsed() > patience || matches!(remedy, Remedy::Tell | Remedy::StartAnew)
        });
        let stays = self.repeats.stay(&error, self.asked, Instant::now());
        if matches!(remedy, Remedy::Isolate | Remedy::StandDown) || waited_enough || stays {
            return Err(error);
        }
        if token.is_cancelled() {
            return Err(StoreError::Stopped);
        }
        let class = error.class();
        if let Some(total) = RETRIES.due(class, 1) {
            tracing::warn!(stage = self.what, total, "{error}; cvsync retries");
            self.told = true;
        }
        if remedy == Remedy::Reconnect {
            store.connect_anew();
        }
        trouble.send_replace(Some(error));
        store.count_retry(class);
        self.waiting.get_or_insert_with(|| Waiting(trouble));
        tokio::select! {
            () = tokio::time::sleep(self.pauses.next_pause()) => {}
            () = token.cancelled() => {}
        }
        store.count_wait(self.asked.elapsed());
        self.asked = Instant::now();
        Ok(())
    }
}

impl Store {
    fn count_retry(&self, class: &'static str) {
        if let Some(metrics) = &self.metrics {
            metrics.retry(RetriedStage::Database, class);
        }
    }

    fn count_wait(&self, took: Duration) {
        if let Some(metrics) = &self.metrics {
            metrics.gate_closed(ClosedBy::Database, took);
        }
    }

    /// Uses no connection again that is open now: it may lead to a server that takes no writes.
    pub(super) fn connect_anew(&self) {
        self.trust.withdraw();
    }
}

/// Its trouble ends with it, also where the work is dropped: nobody else would ever clear it on an instance that no longer leads.
struct Waiting<'a>(&'a Trouble);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.send_replace(None);
    }
}

/// Counts errors in a row at one place. An outage starts the count again.
#[derive(Debug, Default)]
struct Repeats {
    times: u32,
    since: Option<Instant>,
}

impl Repeats {
    /// Whether to give up after an attempt that began at `asked` and failed at `now`.
    fn stay(&mut self, error: &StoreError, asked: Instant, now: Instant) -> bool {
        if error.is_outage() {
            *self = Self::default();
            return false;
        }
        self.times += 1;
        let since = *self.since.get_or_insert(asked);
        self.times >= REPEATS && now.duration_since(since) >= REPEATED_FOR
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds until `error`, which comes after each `took` seconds, ends what it interrupts.
    fn ended_after(took: u64, mut error: impl FnMut(u64) -> StoreError) -> Option<u64> {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut repeats = Repeats::default();
        (1..=1_000)
            .map(|times| (times, times * took))
            .find(|(times, now)| repeats.stay(&error(*times), at(now - took), at(*now)))
            .map(|(_, now)| now)
    }

    #[test]
    fn an_error_that_repeats_and_is_no_outage_ends_the_run_and_an_outage_is_waited_for() {
        let statement = |_| StoreError::Statement("57014".to_owned());
        let broken = |_| StoreError::Broken("42501".to_owned());
        let away = |_| StoreError::Passing("no connection".to_owned());
        assert_eq!(ended_after(60, statement), Some(180));
        assert_eq!(ended_after(20, statement), Some(60), "a lock");
        assert_eq!(ended_after(5, broken), Some(60));
        assert_eq!(ended_after(60, away), None);
        assert_eq!(
            ended_after(60, |_| StoreError::ReadOnly(String::new())),
            None
        );
        // Between two outages a lock timeout is no repetition.
        let in_turn = |times| {
            if times % 2 == 0 {
                away(times)
            } else {
                statement(times)
            }
        };
        assert_eq!(ended_after(60, in_turn), None);
    }
}
