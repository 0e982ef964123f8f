//! A run, made in one go or in parts, and its result.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::compare::{self, Listing};
use super::request::Task;
use super::{Pipeline, SyncError};
use crate::model::{Difference, Job, Tally};

/// A run goes on for this long before it lets another one go first.
const PART: Duration = Duration::from_secs(2);

/// Says when a run is to stop for a while; `None` for one that does not.
pub(super) type Yields<'a> = Option<&'a (dyn Fn() -> bool + Send + Sync)>;

/// A run, which is made in one go, or in parts between which others are made.
#[derive(Debug)]
pub struct Run<'a> {
    pub(super) pipeline: &'a Pipeline,
    pub(super) job: Option<Job>,
    pub(super) began: DateTime<Utc>,
    /// The end of a second listing.
    pub(super) relisted: Option<DateTime<Utc>>,
    /// The work that is left.
    pub(super) task: Option<Task>,
    /// For a comparison.
    pub(super) listing: Option<Listing>,
    pub(super) summary: Summary,
}

impl Run<'_> {
    /// Goes on with it: to its end, or for a few seconds and then until `yields` says that something else is to go first. True at its end.
    ///
    /// # Errors
    /// See [`SyncError`]. What was settled until then is kept.
    pub async fn go_on(&mut self, yields: Yields<'_>) -> Result<bool, SyncError> {
        let _running = self.pipeline.progress.start();
        let begun = Instant::now();
        let and_long_enough = || begun.elapsed() >= PART && yields.is_some_and(|yields| yields());
        while let Some(task) = self.task.take() {
            let differs = task.is_difference();
            let calls = self.pipeline.vdab.answers_received();
            let yields = yields.map(|_| &and_long_enough as _);
            let piped = self.pipeline.pipe_watched(task, yields).await;
            self.summary.calls += self.pipeline.vdab.answers_received() - calls;
            let (rest, summary) = match piped {
                Ok(piped) => piped,
                Err(error) => {
                    self.let_listing_go().await;
                    return Err(error);
                }
            };
            self.summary.windows += summary.windows;
            self.summary.tally += summary.tally;
            self.summary.watermark = summary.watermark.or(self.summary.watermark);
            if differs {
                let difference = self.summary.difference.get_or_insert_default();
                compare::count(difference, summary.tally, rest.as_ref());
            }
            self.task = rest;
            if and_long_enough() {
                break;
            }
        }
        Ok(self.task.is_none())
    }

    /// Ends it, and writes down that it was done.
    pub async fn end(mut self) -> Result<Summary, SyncError> {
        self.let_listing_go().await;
        self.summary.interrupted = self.pipeline.token.is_cancelled();
        if let (Some(job), false) = (self.job, self.summary.interrupted) {
            self.pipeline
                .conclude(job, self.began, self.relisted, &self.summary)
                .await?;
            compare::sweep(&self.pipeline.store).await;
        }
        Ok(self.summary)
    }

    async fn let_listing_go(&mut self) {
        if let Some(listing) = self.listing.take() {
            listing.end(&self.pipeline.store).await;
            compare::sweep(&self.pipeline.store).await;
        }
    }
}

/// The result of a run.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Summary {
    /// Windows settled.
    pub windows: u64,
    /// The results of their ids.
    #[serde(flatten)]
    pub tally: Tally,
    /// The watermark, if it moved.
    pub watermark: Option<DateTime<Utc>>,
    /// The differences that a comparison of the whole source with the database found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<Difference>,
    /// Calls made to VDAB.
    pub calls: u64,
    /// Whether the run was asked to stop before it was finished.
    pub interrupted: bool,
}
