//! A run, made as a whole or in parts.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::dispatch::Yields;
use super::listing::{self, Listing};
use super::pipe::{self, Piped};
use super::request::Task;
use super::summary::Summary;
use super::work::Terms;
use super::{Pipeline, SyncError, compare};
use crate::model::Job;

/// How long a run continues before it lets another one go first.
const PART: Duration = Duration::from_secs(2);

/// A run. Between its parts, other runs may be made.
#[derive(Debug)]
pub struct Run<'a> {
    pub(super) pipeline: &'a Pipeline,
    pub(super) job: Option<Job>,
    pub(super) began: DateTime<Utc>,
    pub(super) terms: Terms,
    /// The end of a second listing.
    pub(super) relisted_to: Option<DateTime<Utc>>,
    /// Since when every confirmed CV is announced, if this run ends that.
    pub(super) announcing_since: Option<DateTime<Utc>>,
    /// The rest of the task.
    pub(super) task: Option<Task>,
    pub(super) listing: Option<Listing>,
    pub(super) summary: Summary,
}

impl Run<'_> {
    /// Continues to the end, or for a few seconds and then until `yields` returns true. True at the end.
    ///
    /// # Errors
    /// See [`SyncError`]. Windows that are settled by then stay settled.
    pub async fn go_on(&mut self, yields: Yields<'_>) -> Result<bool, SyncError> {
        let _running = self.pipeline.progress.of(self.terms.lane).start();
        let begun = Instant::now();
        let and_long_enough = || begun.elapsed() >= PART && yields.is_some_and(|yields| yields());
        while let Some(task) = self.task.take() {
            let differs = task.is_difference();
            let calls = self.pipeline.vdab.answers_received();
            let yields = yields.map(|_| &and_long_enough as _);
            let piped = pipe::run(self.pipeline, self.terms, task, yields).await;
            self.summary.calls += self.pipeline.vdab.answers_received() - calls;
            let Piped {
                rest,
                is_held,
                summary,
            } = match piped {
                Ok(piped) => piped,
                Err(error) => {
                    self.end_listing().await;
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
            if is_held || and_long_enough() {
                break;
            }
        }
        Ok(self.task.is_none())
    }

    /// Ends the run, and records its success.
    pub async fn end(mut self) -> Result<Summary, SyncError> {
        self.end_listing().await;
        let is_enough = self.task.as_ref().is_none_or(Task::is_enough);
        self.summary.interrupted = self.pipeline.token.is_cancelled() || !is_enough;
        if let (Some(job), false) = (self.job, self.summary.interrupted) {
            self.pipeline.conclude(job, &self).await?;
            listing::sweep(&self.pipeline.store).await;
        }
        Ok(self.summary)
    }

    async fn end_listing(&mut self) {
        if let Some(listing) = self.listing.take() {
            listing.end(&self.pipeline.store).await;
            listing::sweep(&self.pipeline.store).await;
        }
    }
}
