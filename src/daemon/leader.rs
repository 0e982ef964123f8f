//! One leader among many instances: takes the lease, keeps it, gives it up.
//!
//! The lease keeps two instances from calling VDAB at once. That nothing wrong is written does not rest on it: each write
//! checks the epoch, and `as_of` orders what is written all the same.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use sqlx::PgConnection;
use tokio::sync::watch;

use crate::admin::{Board, Phase};
use crate::config::{Difference, Shaping, conflicts};
use crate::store::leader_setting::{self, LeaderSetting};
use crate::store::lease::{Held, Tenure};
use crate::store::pause::{self, Pause};
use crate::store::{Remedy, Store, StoreError, lease};
use crate::telemetry::{self, Metrics, Throttle};

static FAILED: Throttle = Throttle::new();

/// How often the leader renews, and how often the others try: with the lease's time together below 15 s.
const PERIOD: Duration = Duration::from_secs(2);

/// An attempt that takes longer counts as failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// The outcome of an attempt to lead, with the pause that holds.
enum Attempt {
    Leads(Held, Option<Pause>),
    /// With the settings that keep it from leading: those in which a leader that started later differs.
    StandsBy(Vec<Difference>, Option<Pause>),
}

/// This instance's part in it.
#[derive(Debug)]
pub(super) struct Leader {
    store: Store,
    /// A connection of its own: whatever keeps the others busy, the lease is kept.
    lease: Store,
    /// Unique among all instances.
    pub name: String,
    /// The pause that holds, as the leader last read it.
    pub pause: watch::Sender<Option<Pause>>,
    metrics: Metrics,
    /// The epoch in which this instance last reported that commits were lost.
    reported: AtomicI64,
    /// The settings of this process that shape data, and its start.
    settings: Vec<Shaping>,
    started: Instant,
}

impl Leader {
    /// An instance with a name that no other has.
    pub(super) fn new(
        store: &Store,
        metrics: Metrics,
        settings: Vec<Shaping>,
        started: Instant,
    ) -> Self {
        let host = telemetry::host();
        Self {
            store: store.clone(),
            lease: store.beside(1).bookkeeping().within(PATIENCE),
            name: format!("{}-{}-{:04x}", host, std::process::id(), fastrand::u16(..)),
            pause: watch::Sender::new(None),
            metrics,
            reported: AtomicI64::new(0),
            settings,
            started,
        }
    }

    /// How long this process has run.
    pub(super) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Waits until this instance leads.
    ///
    /// # Errors
    /// [`StoreError::Gone`].
    pub(super) async fn stand_by(&self, board: &Board) -> Result<(), StoreError> {
        loop {
            match self.take().await {
                Ok(Attempt::Leads(held, pause)) => {
                    board.set_lease_trouble(None);
                    board.set_outdated(&[]);
                    self.pause.send_replace(pause);
                    if self.misses_commits(&held) {
                        self.lost(held.epoch);
                    }
                    tracing::info!(epoch = held.epoch, instance = %self.name, "leading");
                    self.reported.store(0, Ordering::Relaxed);
                    self.store.lead(held);
                    return Ok(());
                }
                Ok(Attempt::StandsBy(outdated, pause)) => {
                    board.set_lease_trouble(None);
                    Self::tell(&outdated);
                    board.set_outdated(&outdated);
                    board.set_phase(Phase::Standby);
                    board.set_pause(pause);
                }
                Err(error) if error.remedy() == Remedy::StartAnew => return Err(error),
                Err(error) => {
                    Self::failed("cannot try to lead", &error);
                    board.set_lease_trouble(Some(error));
                }
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// Keeps the lease; returns when another instance has it, or may have it, and when the database may have lost commits.
    ///
    /// # Errors
    /// [`StoreError::Gone`].
    pub(super) async fn keep(&self) -> Result<(), StoreError> {
        let mut renewed = Instant::now();
        while let Some(held) = self.store.held() {
            tokio::time::sleep(PERIOD).await;
            let epoch = held.epoch;
            match self.renew(&held).await {
                Ok((Tenure::Kept, pause)) => {
                    renewed = Instant::now();
                    self.pause.send_if_modified(|known| {
                        let changed = *known != pause;
                        *known = pause;
                        changed
                    });
                }
                Ok((Tenure::TakenOver, _)) => {
                    tracing::warn!(epoch, "another instance leads now: stepping down");
                    return Ok(());
                }
                Ok((Tenure::Lost, _)) => {
                    self.lost(epoch);
                    self.reported.store(epoch, Ordering::Relaxed);
                    self.give_up().await;
                    return Ok(());
                }
                Ok((Tenure::Moved, _)) => {
                    tracing::warn!(
                        epoch,
                        "another database server answers now (failover or restore): cvsync lists again from the stored watermark"
                    );
                    self.give_up().await;
                    return Ok(());
                }
                Err(error) if error.remedy() == Remedy::StartAnew => return Err(error),
                // The database may be away for this instance alone, and another one calls VDAB by now.
                Err(error) if renewed.elapsed().as_secs_f64() > lease::TTL => {
                    tracing::warn!(epoch, "the lease ran out: stepping down: {error}");
                    return Ok(());
                }
                Err(error) => Self::failed("cannot renew the lease", &error),
            }
        }
        Ok(())
    }

    fn lost(&self, epoch: i64) {
        self.metrics.history_lost();
        tracing::error!(
            epoch,
            "the database lost commits that it had acknowledged (failover or restore): cvsync reads what is stored and \
             lists again from there"
        );
    }

    /// Whether commits are missing that the database acknowledged when this instance led last: an outage may have lasted longer
    /// than the lease.
    fn misses_commits(&self, taken: &Held) -> bool {
        let reported = self.reported.load(Ordering::Relaxed);
        let before = self.store.held().filter(|held| held.epoch != reported);
        before.is_some_and(|held| taken.writes < held.writes)
    }

    /// Lets another instance lead at once.
    pub(super) async fn give_up(&self) {
        let Some(held) = self.store.held() else {
            return;
        };
        let given_up = async |tx: &mut PgConnection| lease::give_up(tx, &held).await;
        if let Err(error) = self.lease.write("giving up the lease", given_up).await {
            tracing::warn!("the lease runs out by itself: {error}");
        }
    }

    fn failed(what: &'static str, error: &StoreError) {
        if let Some(total) = FAILED.due(what, 1) {
            tracing::warn!(total, "{what}: {error}");
        }
    }

    /// Tells that this instance does not lead, because it has older settings.
    fn tell(outdated: &[Difference]) {
        if outdated.is_empty() {
            return;
        }
        if let Some(total) = FAILED.due("outdated", 1) {
            let settings: Vec<_> = outdated.iter().map(ToString::to_string).collect();
            let settings = settings.join("; ");
            tracing::warn!(
                total,
                settings,
                "this instance does not lead: the latest leader started later, with other settings; restart this instance with them"
            );
        }
    }

    async fn take(&self) -> Result<Attempt, StoreError> {
        let take = async |tx: &mut PgConnection| {
            Store::check_schema(tx).await?;
            let later = leader_setting::of_later_start(&mut *tx, self.uptime()).await?;
            let outdated = conflicts(&self.settings, later.iter().map(LeaderSetting::recorded));
            if !outdated.is_empty() {
                return Ok(Attempt::StandsBy(outdated, pause::current(tx).await?));
            }
            let held = lease::take(tx, &self.name).await?;
            if held.as_ref().is_some_and(|held| self.misses_commits(held)) {
                lease::report_loss(tx).await?;
            }
            let pause = pause::current(tx).await?;
            Ok(match held {
                Some(held) => Attempt::Leads(held, pause),
                None => Attempt::StandsBy(Vec::new(), pause),
            })
        };
        self.lease.write("trying to lead", take).await
    }

    /// Renews, and records where the database has lost commits: whoever leads next then announces every CV that it confirms.
    async fn renew(&self, held: &Held) -> Result<(Tenure, Option<Pause>), StoreError> {
        let renew = async |tx: &mut PgConnection| {
            Store::check_schema(tx).await?;
            let tenure = lease::renew(tx, held).await?;
            if tenure == Tenure::Lost {
                lease::report_loss(tx).await?;
            }
            Ok((tenure, pause::current(tx).await?))
        };
        self.lease.write("renewing the lease", renew).await
    }
}
