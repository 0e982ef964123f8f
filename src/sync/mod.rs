//! The pipeline of one run: plan → list → fetch → batch → write.
//!
//! Invariant: windows are settled in one place (`write`), once each id in them is applied, skipped or parked. The watermark is the
//! end of what is settled without a gap. A stage that fails ends the run, and the next run lists what is not settled.

mod batch;
mod clocks;
mod compare;
mod conclude;
mod density;
mod dispatch;
mod enqueue;
mod error;
mod fetch;
mod first_stage;
mod in_flight;
mod late;
mod list;
mod listing;
pub(crate) mod loan;
mod pace;
mod pages;
mod pipe;
mod plan;
mod progress;
mod queues;
pub(crate) mod reference;
pub(crate) mod refit;
mod request;
mod retry;
mod run;
pub mod searchable;
mod settle;
mod sift;
mod start;
mod summary;
mod view;
mod watchdog;
mod width;
mod work;
mod workers;
mod write;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use self::clocks::InFuture;
pub(crate) use self::error::SetupError;
pub use self::error::SyncError;
pub(crate) use self::progress::{Lanes, Pending, Snapshot};
pub(crate) use self::queues::{Queue, Queues, Workers};
pub(crate) use self::request::RELIST_EVERY;
pub use self::request::Request;
pub use self::summary::Summary;
pub(crate) use self::view::View;
pub(crate) use crate::vdab::{ClosedGate, Drifts, Reason};

use self::width::Widths;
use self::workers::Pool;
use crate::clock::Clock;
use crate::config::{self, Config, Shaping};
use crate::model::{Brake, Coverage, CvId, DeleteLoad, Job, StoredShape};
use crate::store::leader_setting::{self, LeaderSetting};
use crate::store::{Persistent, Store, StoreError, Trouble, cv_seen, job_success, stored_shape};
use crate::telemetry::Metrics;
use crate::vdab::Client;

/// Everything that runs need. One run of each lane at a time.
#[derive(Debug)]
pub struct Pipeline {
    pub vdab: Client,
    pub store: Store,
    pub settings: config::Sync,
    /// How long a command waits for a database that is down. The daemon waits without a limit.
    pub patience: Option<Duration>,
    pub metrics: Metrics,
    pub brake: Brake,
    /// Deletes that a dry run has applied and held so far. It rolls both back.
    rehearsed: watch::Sender<DeleteLoad>,
    pub progress: Lanes,
    workers: Pool,
    pub queues: Queues,
    /// The settled spans, as far as this process knows.
    pub coverage: watch::Sender<Coverage>,
    /// A better CVSYNC_WINDOW_OVERLAP, in hours, if late changes have shown that it is too short.
    pub better_overlap_hours: watch::Sender<Option<u64>>,
    widths: Mutex<Widths>,
    /// The id after which unconfirmed CVs are fetched again; `None` at the start of a round.
    recheck_from: watch::Sender<Option<Uuid>>,
    /// The error of the database, while it cannot be used.
    pub trouble: Trouble,
    /// The span of `as_of` that this process has noted while clocks disagreed.
    doubt: Mutex<Option<clocks::Span>>,
    /// The errors of the jobs beside the runs: search and reference data.
    pub side_errors: watch::Sender<BTreeMap<Job, String>>,
    /// Ends the run: it takes no new work, and each CV under way is finished or dropped as a whole.
    pub token: CancellationToken,
}

impl Pipeline {
    /// A pipeline that has not connected yet. `patience` is how long a command waits for VDAB or a database that is down. The
    /// daemon waits without a limit (`None`).
    pub fn new(
        config: &Config,
        patience: Option<Duration>,
        clock: Clock,
        metrics: Metrics,
        token: CancellationToken,
    ) -> Result<Self, SetupError> {
        let exclude = config.sync.document_exclude.clone();
        Ok(Self {
            vdab: Client::new(&config.api, exclude, patience, clock, metrics.clone())?,
            store: Store::new(&config.database)?.measured(metrics.clone()),
            settings: config.sync.clone(),
            patience,
            metrics,
            brake: Brake::on(config.sync.max_delete_share),
            rehearsed: watch::Sender::default(),
            progress: Lanes::default(),
            workers: Pool::new(config.sync.workers),
            queues: Queues::default(),
            coverage: watch::Sender::default(),
            better_overlap_hours: watch::Sender::new(None),
            widths: Mutex::default(),
            recheck_from: watch::Sender::new(None),
            trouble: watch::Sender::new(None),
            doubt: Mutex::default(),
            side_errors: watch::Sender::default(),
            token,
        })
    }

    /// The pipeline of a command, which holds no lease: it writes only while a leader stores documents of the same shape.
    #[must_use]
    pub fn beside_a_leader(self) -> Self {
        let store = self.store.clone().beside_a_leader(&self.shape());
        Self { store, ..self }
    }

    /// Records the latest error of a job beside the runs; `None` after a success.
    pub fn beside(&self, job: Job, error: Option<String>) {
        self.side_errors.send_if_modified(|errors| match error {
            Some(error) => errors.insert(job, error.clone()) != Some(error),
            None => errors.remove(&job).is_some(),
        });
    }

    /// Applies the schema. If the database is down, it retries.
    pub async fn migrate(&self) -> Result<(), SyncError> {
        let migrated = self.persistent(&self.store).migrate().await;
        migrated.map_err(SyncError::at("migrating the schema"))
    }

    /// One incremental sync, from the watermark up to where the source is settled.
    ///
    /// # Errors
    /// See [`SyncError`]. Windows that are settled by then stay settled.
    pub async fn run(&self) -> Result<Summary, SyncError> {
        self.carry_out(Request::UpToNow).await
    }

    /// Carries out `request` as a whole. One of each lane at a time.
    ///
    /// # Errors
    /// See [`SyncError`]. Windows that are settled by then stay settled.
    pub async fn carry_out(&self, request: Request) -> Result<Summary, SyncError> {
        let mut run = Box::pin(self.begin(request)).await?;
        Box::pin(run.go_on(None)).await?;
        Box::pin(run.end()).await
    }

    /// Records, as the leader, the settings that shape the stored data.
    pub async fn record_settings(
        &self,
        settings: &[Shaping],
        uptime: Duration,
    ) -> Result<(), SyncError> {
        self.write("recording settings", async |tx| {
            let (exclude, keep) = self.shape().row();
            stored_shape::set(tx, &exclude, &keep).await?;
            leader_setting::record(tx, settings, uptime).await
        })
        .await
    }

    /// The shape of the documents that this pipeline stores.
    fn shape(&self) -> StoredShape {
        StoredShape {
            exclude: self.settings.document_exclude.clone(),
            keep: self.settings.keep.clone(),
        }
    }

    /// The settings that the latest leader recorded.
    pub async fn leader_settings(&self) -> Result<Vec<LeaderSetting>, SyncError> {
        self.read("reading the leader's settings", leader_setting::all)
            .await
    }

    /// When each job last succeeded, in any process.
    pub async fn last_success(&self) -> Result<BTreeMap<Job, DateTime<Utc>>, SyncError> {
        self.read("reading the last success of each job", job_success::all)
            .await
    }

    /// Up to `limit` CVs that were not confirmed within `after`, in turn; none at the end of a round.
    pub async fn unconfirmed(&self, after: Duration, limit: i64) -> Result<Vec<CvId>, SyncError> {
        let before = self.vdab.time().now() - delta(after);
        loop {
            let from = *self.recheck_from.borrow();
            let (ids, last) = self
                .read("looking for CVs to fetch again", async |tx| {
                    cv_seen::unconfirmed(tx, from, before, limit).await
                })
                .await?;
            self.recheck_from.send_replace(last);
            if !ids.is_empty() || last.is_none() {
                return Ok(ids);
            }
        }
    }

    /// The width that windows are limited to, if VDAB refuses wider ones.
    #[must_use]
    pub fn window_limit(&self) -> Option<TimeDelta> {
        self.widths().limit(Instant::now())
    }

    /// The widest window to plan. With the margins of its request it is as wide as `CVSYNC_WINDOW`, unless VDAB refuses that.
    fn widest(&self) -> TimeDelta {
        let window = delta(self.settings.window);
        let full = (window - self.vdab.margin() * 2).max(window / 2);
        self.widths().widest(full, Instant::now())
    }

    fn widths(&self) -> MutexGuard<'_, Widths> {
        self.widths.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`Persistent::read`].
    async fn read<T>(
        &self,
        stage: &'static str,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, StoreError> + Clone,
    ) -> Result<T, SyncError> {
        let read = self.persistent(&self.store).read(stage, work).await;
        read.map_err(SyncError::at(stage))
    }

    /// As [`Persistent::write`].
    async fn write<T>(
        &self,
        stage: &'static str,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, StoreError> + Clone,
    ) -> Result<T, SyncError> {
        let written = self.persistent(&self.store).write(stage, work).await;
        written.map_err(SyncError::at(stage))
    }

    /// As [`Persistent::write`], for rows of cvsync's own; see [`Store::bookkeeping`].
    async fn note<T>(
        &self,
        stage: &'static str,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, StoreError> + Clone,
    ) -> Result<T, SyncError> {
        let store = self.store.bookkeeping();
        let noted = self.persistent(&store).write(stage, work).await;
        noted.map_err(SyncError::at(stage))
    }

    fn persistent<'a>(&'a self, store: &'a Store) -> Persistent<'a> {
        Persistent {
            store,
            patience: self.patience,
            token: &self.token,
            trouble: &self.trouble,
        }
    }
}

/// Cannot overflow: the configuration limits durations.
fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::zero())
}
