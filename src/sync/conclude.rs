//! The end of a run: its success is recorded, and once a day old rows are removed.

use chrono::{DateTime, TimeDelta, Utc};

use super::run::Run;
use super::{Pipeline, SyncError, delta};
use crate::model::Job;
use crate::store::{cv_seen, feed, job_success, parked_cv, reconcile_run, relisted, sync_window};

/// How long windows that were listed a second time are kept.
const REPEATS_KEPT: TimeDelta = TimeDelta::days(7);

/// After lost commits, a CV is announced when it is confirmed for the first time within this time.
const ANNOUNCED: TimeDelta = TimeDelta::days(1);

impl Pipeline {
    /// Records the success of the job. Once a day, it also removes old rows.
    pub(super) async fn conclude(&self, job: Job, run: &Run<'_>) -> Result<(), SyncError> {
        let now = self.vdab.time().now();
        let housekept = self
            .write("recording success", async |tx| {
                // The sync before this one succeeded that late, so this one has announced what changed while that one ran.
                let last = job_success::all(tx).await?;
                let before = last.get(&Job::Sync);
                if let Some(since) = run
                    .announcing_since
                    .filter(|_| self.coverage.borrow().gaps(self.settings.from).is_empty())
                    .filter(|since| before.is_some_and(|before| *before - *since > ANNOUNCED))
                {
                    feed::announced(tx, since).await?;
                }
                job_success::record(tx, job).await?;
                if let Some(position) = run.relisted_to {
                    relisted::set(tx, position).await?;
                }
                if let Some(difference) = run.summary.difference {
                    reconcile_run::conclude(tx, run.began, difference, &run.summary.tally).await?;
                }
                let is_recent = |at: DateTime<Utc>| now - at < TimeDelta::days(1);
                Ok(last
                    .get(&Job::Housekeeping)
                    .is_some_and(|at| is_recent(*at)))
            })
            .await?;
        // A dry run would roll the removal back, and remove the same rows without an end.
        if housekept || self.store.is_dry() {
            return Ok(());
        }
        self.forget_old(now).await?;
        self.trim_feed().await?;
        self.write("recording success", async |tx| {
            job_success::record(tx, Job::Housekeeping).await
        })
        .await
    }

    /// Removes old tombstones and repeated windows, a limited number at a time, so that no other transaction waits for long.
    async fn forget_old(&self, now: DateTime<Utc>) -> Result<(), SyncError> {
        let before = now - delta(self.settings.tombstone_retention);
        let mut after = None;
        loop {
            after = self
                .write("removing old tombstones", async |tx| {
                    cv_seen::forget_tombstones(tx, after, before).await
                })
                .await?;
            if after.is_none() || self.token.is_cancelled() {
                break;
            }
        }
        self.write("removing old malformed ids", async |tx| {
            parked_cv::forget_malformed(tx).await
        })
        .await?;
        while self
            .write("removing old windows", async |tx| {
                sync_window::forget_repeats(tx, now - REPEATS_KEPT).await
            })
            .await?
            && !self.token.is_cancelled()
        {}
        Ok(())
    }

    /// Removes old changes from the feed, a limited number at a time, so that no other transaction waits for long.
    async fn trim_feed(&self) -> Result<(), SyncError> {
        while self
            .write("trimming the feed", async |tx| {
                feed::trim(tx, self.settings.change_retention).await
            })
            .await?
            && !self.token.is_cancelled()
        {}
        Ok(())
    }
}
