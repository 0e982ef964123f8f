//! What happens to it: the pipeline of one run, plan → list → fetch → batch → write.
//!
//! Invariant: the watermark moves in one place (`write`), when each id of every window before it is applied, proven
//! unneeded or parked. A stage that fails ends the run; the next one begins at the watermark.

mod batch;
mod clocks;
mod compare;
mod conclude;
mod error;
mod fetch;
mod hand;
mod list;
pub(crate) mod loan;
mod pages;
mod plan;
mod progress;
mod queues;
pub(crate) mod reference;
mod request;
mod run;
pub mod searchable;
mod settle;
mod sift;
mod view;
mod watchdog;
mod width;
mod write;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::Span;
use uuid::Uuid;

pub use self::clocks::InFuture;
pub(crate) use self::error::SetupError;
pub use self::error::SyncError;
pub(crate) use self::progress::{Pending, Progress, Snapshot};
pub(crate) use self::queues::{Queue, Queues, Workers};
pub(crate) use self::request::RELIST_EVERY;
pub use self::request::Request;
pub(crate) use self::run::Run;
pub use self::run::Summary;
pub(crate) use self::view::View;
pub(crate) use crate::vdab::{ClosedGate, Drifts, Reason};

use self::compare::Listing;
use self::hand::{Hand, Place};
use self::request::{Marks, Task};
use self::run::Yields;
use self::settle::Listed;
use self::width::Widths;
use crate::clock::Clock;
use crate::config::{self, Config, Shaping};
use crate::model::{Brake, CvId, DeleteLoad, Fate, Job, Outcome};
use crate::store::leader_setting::{self, LeaderSetting};
use crate::store::{
    Persistent, Store, StoreError, Trouble, clock_doubt, cv, cv_seen, held_delete, job_success,
    relisted, sync_window, watermark,
};
use crate::telemetry::{self, Metrics, WindowOutcome};
use crate::vdab::Client;

/// Outcomes that wait to be batched; batches are bounded apart.
const OUTCOMES: usize = 16;

/// So many CVs are looked up, to ask for where the source seems to be down.
const CANARIES: usize = 10;

/// Everything that a run needs. One run at a time.
#[derive(Debug)]
pub struct Pipeline {
    /// The source.
    pub vdab: Client,
    /// The destination.
    pub store: Store,
    /// How to go about it.
    pub settings: config::Sync,
    /// How long a person at a terminal waits for a database that is away; the daemon waits for as long as it takes.
    pub patience: Option<Duration>,
    /// Counts.
    pub metrics: Metrics,
    /// How many deletes pass without a person.
    pub brake: Brake,
    /// Deletes that a dry run has applied and held so far. It rolls both back.
    rehearsed: watch::Sender<DeleteLoad>,
    /// How far the run is.
    pub progress: Progress,
    /// How full its channels are.
    pub queues: Queues,
    /// Where the watermark stands, for those who watch.
    pub watermark: watch::Sender<Option<DateTime<Utc>>>,
    /// What CVSYNC_WINDOW_OVERLAP should be, in hours, as far as late changes have shown.
    pub better_overlap_hours: watch::Sender<Option<u64>>,
    /// The widths of windows that the source takes.
    widths: Mutex<Widths>,
    /// The id behind which CVs are asked for again; `None` at the beginning of a round.
    recheck_from: watch::Sender<Option<Uuid>>,
    /// What the database said while it could not be used.
    pub trouble: Trouble,
    /// What this process has noted while clocks disagreed.
    doubt: Mutex<Option<clocks::Span>>,
    /// The errors of the jobs beside the runs: search and reference data.
    pub side_errors: watch::Sender<BTreeMap<Job, String>>,
    /// Ends the run: no new work is taken, what is in hand is finished or dropped whole.
    pub token: CancellationToken,
}

/// An id whose detail has to be asked for.
#[derive(Debug)]
struct Item {
    id: CvId,
    /// Its window's place in the run; `None` for a parked CV that is tried again.
    window: Option<u64>,
    /// Whether the source lists it as live; true too where no window lists it.
    listed_live: bool,
    /// A CV that was set aside or held back was listed long before this run.
    first_listed: Instant,
    /// Of some in a hundred: from listed to written.
    span: Option<Span>,
}

/// From `list` to `fetch`.
#[derive(Debug)]
enum Work {
    Fetch(Item),
    Known(Outcome, Instant),
    Listed(Listed),
}

/// From `fetch` through `batch` to `write`.
#[derive(Debug)]
struct Done {
    end: End,
    /// Kept until it is written.
    place: Option<Place>,
    /// Likewise.
    span: Option<Span>,
}

#[derive(Debug)]
enum End {
    Outcome(Outcome, Instant),
    Listed(Listed),
}

impl Done {
    /// Bytes that it keeps in memory, roughly.
    fn size(&self) -> usize {
        match &self.end {
            End::Outcome(outcome, _) => match &outcome.fate {
                Fate::Live(_, document) => document.json().len(),
                Fate::Gone(_) | Fate::Unproven { .. } | Fate::Parked(..) => 64,
            },
            End::Listed(_) => 64,
        }
    }
}

impl Pipeline {
    /// A pipeline that has connected to nothing yet. `patience` is how long a person at a terminal waits for a source or
    /// a database that is away; the daemon waits for as long as it takes (`None`).
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
            progress: Progress::default(),
            queues: Queues::default(),
            watermark: watch::Sender::new(None),
            better_overlap_hours: watch::Sender::new(None),
            widths: Mutex::default(),
            recheck_from: watch::Sender::new(None),
            trouble: watch::Sender::new(None),
            doubt: Mutex::default(),
            side_errors: watch::Sender::default(),
            token,
        })
    }

    /// Records the latest error of a job beside the runs; `None` after a success.
    pub fn beside(&self, job: Job, error: Option<String>) {
        self.side_errors.send_if_modified(|errors| match error {
            Some(error) => errors.insert(job, error.clone()) != Some(error),
            None => errors.remove(&job).is_some(),
        });
    }

    /// Brings the schema up to date, as soon as the database lets it.
    pub async fn migrate(&self) -> Result<(), SyncError> {
        let migrated = self.persistent(&self.store).migrate().await;
        migrated.map_err(SyncError::at("migrating the schema"))
    }

    /// One incremental sync, from the watermark up to where the source is settled.
    ///
    /// # Errors
    /// See [`SyncError`]. What was settled until then is kept.
    pub async fn run(&self) -> Result<Summary, SyncError> {
        self.carry_out(Request::UpToNow).await
    }

    /// What `request` asks for, in one go. One at a time.
    ///
    /// # Errors
    /// See [`SyncError`]. What was settled until then is kept.
    pub async fn carry_out(&self, request: Request) -> Result<Summary, SyncError> {
        let mut run = Box::pin(self.begin(request)).await?;
        Box::pin(run.go_on(None)).await?;
        Box::pin(run.end()).await
    }

    /// Begins what `request` asks for. Other runs may be made between its parts, but not at the same time.
    pub async fn begin(&self, request: Request) -> Result<Run<'_>, SyncError> {
        let (job, began) = (request.job(), self.vdab.time().now());
        let calls = self.vdab.answers_received();
        let is_relist = request == Request::Relist;
        let (task, relisted) = self.task(request).await?;
        let listing = match &task {
            Task::Compare(compare) => Some(Listing::begin(self, compare.comparison).await?),
            _ => None,
        };
        Ok(Run {
            pipeline: self,
            // Before there is a watermark nothing can be listed a second time.
            job: job.filter(|_| !is_relist || relisted.is_some()),
            began,
            relisted,
            task: Some(task),
            listing,
            summary: Summary {
                calls: self.vdab.answers_received() - calls,
                ..Summary::default()
            },
        })
    }

    /// Writes down, as the leader, what shapes the data that it stores.
    pub async fn record_settings(&self, settings: &[Shaping]) -> Result<(), SyncError> {
        let settings = settings.iter().map(|setting| LeaderSetting {
            name: setting.name.to_owned(),
            value: setting.value.clone(),
            origin: setting.origin.to_string(),
        });
        let settings: Vec<_> = settings.collect();
        self.write("recording settings", async |tx| {
            leader_setting::record(tx, &settings).await
        })
        .await
    }

    /// What the latest leader wrote down of that.
    pub async fn leader_settings(&self) -> Result<Vec<LeaderSetting>, SyncError> {
        self.read("reading the leader's settings", leader_setting::all)
            .await
    }

    /// When each job last came to its end, whoever led then.
    pub async fn last_success(&self) -> Result<BTreeMap<Job, DateTime<Utc>>, SyncError> {
        self.read("reading what was done", job_success::all).await
    }

    /// Up to `limit` CVs that were not confirmed within `after`, each in its turn; none at the end of a round.
    pub async fn unconfirmed(&self, after: Duration, limit: i64) -> Result<Vec<CvId>, SyncError> {
        let before = self.vdab.time().now() - delta(after);
        loop {
            let from = *self.recheck_from.borrow();
            let (ids, last) = self
                .read("looking for CVs to ask for again", async |tx| {
                    cv_seen::unconfirmed(tx, from, before, limit).await
                })
                .await?;
            self.recheck_from.send_replace(last);
            if !ids.is_empty() || last.is_none() {
                return Ok(ids);
            }
        }
    }

    /// What to do, and where a second listing will have ended.
    async fn task(&self, request: Request) -> Result<(Task, Option<DateTime<Utc>>), SyncError> {
        let marks = self.marks(&request).await?;
        if matches!(request, Request::Relist | Request::Reconcile) {
            self.distrust().await?;
        }
        self.vdab.suggest_canaries(marks.canaries.iter().copied());
        self.watermark.send_replace(marks.watermark);
        let relisted = marks.watermark.filter(|_| request == Request::Relist);
        let relisted = relisted.map(|at| request::to_relist(&self.settings, at, marks.relisted).1);
        let now = self.vdab.time().now();
        let task = request.task(&self.settings, self.widest(), &marks, now);
        Ok((task, relisted))
    }

    /// The width that windows are limited to, where the source refuses wider ones.
    #[must_use]
    pub fn window_limit(&self) -> Option<TimeDelta> {
        self.widths().limit(Instant::now())
    }

    /// The widest window to plan: with the margins of its request it is as wide as `CVSYNC_WINDOW`, if the source takes that.
    fn widest(&self) -> TimeDelta {
        let window = delta(self.settings.window);
        let full = (window - self.vdab.margin() * 2).max(window / 2);
        self.widths().widest(full, Instant::now())
    }

    fn widths(&self) -> MutexGuard<'_, Widths> {
        self.widths.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn marks(&self, request: &Request) -> Result<Marks, SyncError> {
        self.write("reading the watermark", async |tx| {
            if *request == Request::UpToNow {
                sync_window::abandon_open(tx).await?;
            }
            let database_time = clock_doubt::database_time(tx).await?;
            self.vdab
                .time()
                .database_says(database_time, Instant::now());
            // One in the future was set by a wrong clock: what it skips is listed again until its time has come.
            let watermark = watermark::read(tx)
                .await?
                .map(|position| position.min(self.vdab.time().latest_now()));
            let relisted = relisted::read(tx).await?;
            let ends = match request.looks_back_to(&self.settings, watermark, relisted) {
                Some(at) => sync_window::ends_after(tx, at).await?,
                None => Vec::new(),
            };
            let canaries = cv::any(tx, CANARIES).await?;
            let approved = match request {
                Request::Approved => held_delete::approved(tx).await?,
                _ => Vec::new(),
            };
            Ok(Marks {
                watermark,
                relisted,
                ends,
                canaries,
                approved: approved.into_iter().map(CvId).collect(),
            })
        })
        .await
    }

    async fn pipe_watched(
        &self,
        task: Task,
        yields: Yields<'_>,
    ) -> Result<(Option<Task>, Summary), SyncError> {
        let piped = tokio::select! {
            piped = Box::pin(self.pipe(task, yields)) => piped,
            stalled = watchdog::watch(self) => Err(stalled),
        };
        piped.inspect_err(|error| {
            self.metrics.window_ended(WindowOutcome::Failed, 1);
            telemetry::failed(&Span::current(), error.class());
        })
    }

    /// One future: if a stage fails, the others are dropped with it and the open transaction rolls back. Returns what is left of the
    /// task.
    async fn pipe(
        &self,
        task: Task,
        yields: Yields<'_>,
    ) -> Result<(Option<Task>, Summary), SyncError> {
        let mut capacity = self.settings.channel_capacity;
        if yields.is_some() {
            // Who yields first does what is on its way.
            let per_minute = usize::try_from(self.vdab.per_minute()).unwrap_or(usize::MAX);
            capacity = capacity.min(per_minute / 4).max(1);
        }
        let (work, waiting_work) = mpsc::channel(capacity);
        let (outcomes, waiting_outcomes) = mpsc::channel(OUTCOMES);
        let (batches, waiting_batches) = mpsc::channel(1);
        let workers = Arc::new(Semaphore::new(self.settings.workers));
        let hand = Arc::new(Hand::new(self.settings.workers, self.vdab.per_minute()));
        self.queues.watch(&work, &outcomes, &workers, &hand);
        let list = async {
            tokio::select! {
                listed = list::run(self, task, work, yields) => listed,
                () = self.token.cancelled() => Ok(None),
            }
        };
        let (rest, (), (), summary) = tokio::try_join!(
            list,
            fetch::run(self, &hand, &workers, waiting_work, outcomes),
            async {
                batch::run(&hand, waiting_outcomes, batches).await;
                Ok(())
            },
            write::run(self, &hand, waiting_batches),
        )?;
        Ok((rest, summary))
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

    /// The same for rows of cvsync's own; see [`Store::bookkeeping`].
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

/// The configuration keeps durations so short that no date overflows.
fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::zero())
}
