//! Sends CVs to the workers, until the run stops or must let another one go first.

use chrono::TimeDelta;
use tokio::sync::mpsc::Sender;
use tracing::Span;
use uuid::Uuid;

use super::work::{Done, Item, Origin};
use super::{Pipeline, SyncError};
use crate::model::{CvId, Lane};
use crate::store::run_request::{self, What};
use crate::store::{ended_suppression, first_listed, held_delete, parked_cv, suppressed_cv};

/// The most parked CVs, and the most unproven deletes, that one run retries before it lists.
const DUE: i64 = 1_000;

/// The most CVs whose first listing one statement looks up.
const MOST_AT_ONCE: usize = 1_000;

/// One CV in this many is traced: traces of all would be too many to read.
const TRACED: u32 = 100;

/// Says whether another run is to go first; `None` for a run that never yields.
pub(super) type Yields<'a> = Option<&'a (dyn Fn() -> bool + Send + Sync)>;

pub(super) struct Dispatcher<'a> {
    pub(super) pipeline: &'a Pipeline,
    pub(super) lane: Lane,
    pub(super) work: Sender<Item>,
    pub(super) outcomes: Sender<Done>,
    pub(super) yields: Yields<'a>,
}

impl Dispatcher<'_> {
    /// Waits for room in the channel to the workers. False if a later stage has stopped.
    pub(super) async fn fetch(&self, item: Item) -> bool {
        self.work.send(item).await.is_ok()
    }

    /// Sends past the workers, which it would otherwise wait for. False if a later stage has stopped.
    pub(super) async fn pass(&self, done: Done) -> bool {
        self.outcomes.send(done).await.is_ok()
    }

    /// Whether a later stage has stopped, and with it the run.
    pub(super) fn stopped(&self) -> bool {
        self.work.is_closed()
    }

    /// Whether another run is to go first.
    pub(super) fn yields(&self) -> bool {
        self.yields.is_some_and(|yields| yields())
    }

    /// Sends the parked CVs and unproven deletes that are due, and the CVs whose suppression has ended.
    pub(super) async fn retry_parked(&self) -> Result<(), SyncError> {
        let is_daemons = self.lane == Lane::Live;
        let lifted = self
            .pipeline
            .write("ending suppressions", async |tx| {
                let lifted = ended_suppression::lift(tx).await?;
                if is_daemons && !lifted.is_empty() {
                    // A request is fetched however this run ends.
                    run_request::ask(tx, What::Resync, &lifted).await?;
                    return Ok(Vec::new());
                }
                Ok(lifted)
            })
            .await?;
        let (parked, held) = self
            .pipeline
            .read("reading what is parked", async |tx| {
                let parked = parked_cv::due(tx, DUE).await?;
                Ok((parked, held_delete::due(tx, DUE).await?))
            })
            .await?;
        let parked = parked.iter().filter_map(|id| CvId::parse(id));
        let others = held.into_iter().chain(lifted).map(CvId);
        let due = parked.chain(others).collect();
        // The rest is due again with the next run.
        self.send_some(due).await.map(drop)
    }

    /// Sends CVs that no window lists; returns those that are left for later.
    pub(super) async fn send_all(&self, mut ids: Vec<CvId>) -> Result<Vec<CvId>, SyncError> {
        while !ids.is_empty() && !self.stopped() {
            let mut rest = ids.split_off(ids.len().min(MOST_AT_ONCE));
            let mut left = self.send_some(ids).await?;
            if !left.is_empty() {
                left.append(&mut rest);
                return Ok(left);
            }
            ids = rest;
        }
        Ok(ids)
    }

    /// Sends CVs until the run must yield; returns those that are left. Leaves out suppressed ones.
    async fn send_some(&self, mut ids: Vec<CvId>) -> Result<Vec<CvId>, SyncError> {
        let keys: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        let (ages, suppressed) = self
            .pipeline
            .read("reading for how long they wait", async |tx| {
                let suppressed = suppressed_cv::among(tx, &keys).await?;
                Ok((first_listed::ages(tx, &keys).await?, suppressed))
            })
            .await?;
        ids.retain(|id| !suppressed.contains(&id.0));
        let now = self.pipeline.vdab.time().now();
        let mut ids = ids.into_iter();
        for id in ids.by_ref() {
            let age = ages.get(&id.0);
            let age = age.and_then(|age| TimeDelta::from_std(*age).ok());
            let item = Item {
                id,
                window: None,
                listed_live: true,
                origin: Origin {
                    lane: Lane::Backlog,
                    since: age.and_then(|age| now.checked_sub_signed(age)),
                },
                span: trace_some(),
            };
            self.pipeline.progress.of(self.lane).taken(1);
            self.fetch(item).await;
            if self.yields() {
                break;
            }
        }
        Ok(ids.collect())
    }
}

/// The span of a CV, if it is traced. It does not hold the id.
pub(super) fn trace_some() -> Option<Span> {
    (fastrand::u32(..TRACED) == 0)
        .then(|| tracing::debug_span!("cv"))
        .filter(|span| !span.is_disabled())
}
