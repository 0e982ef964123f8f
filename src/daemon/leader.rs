//! One leader among many instances: takes the lease, keeps it, gives it up.
//!
//! The lease keeps two instances from calling VDAB at once. That nothing wrong is written does not rest on it: each write
//! checks the epoch, and `as_of` orders what is written all the same.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::admin::{Board, Phase};
use crate::store::pause::{self, Pause};
use crate::store::{Store, StoreError, lease, within};
use crate::telemetry::{self, Metrics, Throttle};

static FAILED: Throttle = Throttle::new();

/// How often the leader renews, and how often the others try: with the lease's time together below 15 s.
const PERIOD: Duration = Duration::from_secs(2);

/// An attempt that takes longer counts as failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// This instance's part in it.
#[derive(Debug)]
pub struct Leader {
    store: Store,
    metrics: Metrics,
    /// That no other has.
    pub name: String,
    /// The pause that holds, as the leader last read it.
    pub pause: watch::Sender<Option<Pause>>,
}

impl Leader {
    /// An instance with a name that no other has.
    pub fn new(store: Store, metrics: Metrics) -> Self {
        let host = telemetry::host();
        Self {
            store,
            metrics,
            name: format!("{}-{}-{:04x}", host, std::process::id(), fastrand::u16(..)),
            pause: watch::Sender::new(None),
        }
    }

    /// Waits until this instance leads; returns its epoch.
    ///
    /// # Errors
    /// [`StoreError::Gone`].
    pub async fn stand_by(&self, board: &Board) -> Result<i64, StoreError> {
        loop {
            match self.timed("trying to lead", self.take()).await {
                Ok((Some(epoch), pause)) => {
                    self.pause.send_replace(pause);
                    self.store.lead(epoch);
                    tracing::info!(epoch, instance = %self.name, "leading");
                    return Ok(epoch);
                }
                Ok((None, pause)) => {
                    board.set_phase(Phase::Standby);
                    board.set_pause(pause);
                }
                Err(error @ StoreError::Gone(_)) => return Err(error),
                Err(error) => self.failed("cannot try to lead", &error),
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// Keeps the lease; returns when another instance has it, or may have it.
    ///
    /// # Errors
    /// [`StoreError::Gone`].
    pub async fn keep(&self, epoch: i64) -> Result<(), StoreError> {
        let mut renewed = Instant::now();
        loop {
            tokio::time::sleep(PERIOD).await;
            match self.timed("renewing the lease", self.renew(epoch)).await {
                Ok((true, pause)) => {
                    renewed = Instant::now();
                    self.pause.send_if_modified(|known| {
                        let changed = *known != pause;
                        *known = pause;
                        changed
                    });
                }
                Ok((false, _)) | Err(StoreError::Fenced) => {
                    tracing::warn!(epoch, "another instance leads now: stepping down");
                    return Ok(());
                }
                Err(error @ StoreError::Gone(_)) => return Err(error),
                // The database may be away for this instance alone, and another one calls VDAB by now.
                Err(error) if renewed.elapsed().as_secs_f64() > lease::TTL => {
                    tracing::warn!(epoch, "the lease ran out: stepping down: {error}");
                    return Ok(());
                }
                Err(error) => self.failed("cannot renew the lease", &error),
            }
        }
    }

    /// Lets another instance lead at once.
    pub async fn give_up(&self, epoch: i64) {
        let given_up = async {
            let mut tx = self.store.begin().await?;
            lease::give_up(&mut tx, epoch).await?;
            Ok(tx.commit().await?)
        };
        if let Err(error) = self.timed("giving up the lease", given_up).await {
            tracing::warn!("the lease runs out by itself: {error}");
        }
    }

    /// An idle daemon asks PostgreSQL for little else, so this is what tells how PostgreSQL is between syncs.
    async fn timed<T>(
        &self,
        what: &'static str,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let asked = Instant::now();
        let answer = within(PATIENCE, work).await;
        let class = answer.as_ref().err().map(StoreError::class);
        self.metrics.queried(what, asked.elapsed(), class);
        answer
    }

    fn failed(&self, what: &'static str, error: &StoreError) {
        if let Some(total) = FAILED.due(what, 1) {
            tracing::warn!(total, "{what}: {error}");
        }
        if matches!(error, StoreError::ReadOnly(_)) {
            self.store.connect_anew();
        }
    }

    async fn take(&self) -> Result<(Option<i64>, Option<Pause>), StoreError> {
        let mut tx = self.store.begin().await?;
        Store::check_schema(&mut tx).await?;
        let epoch = lease::take(&mut tx, &self.name).await?;
        let pause = pause::current(&mut tx).await?;
        tx.commit().await?;
        Ok((epoch, pause))
    }

    async fn renew(&self, epoch: i64) -> Result<(bool, Option<Pause>), StoreError> {
        let mut tx = self.store.begin().await?;
        Store::check_schema(&mut tx).await?;
        let kept = lease::renew(&mut tx, epoch).await?;
        let pause = pause::current(&mut tx).await?;
        tx.commit().await?;
        Ok((kept, pause))
    }
}
