//! The end of a run: it is recorded, and once a day old rows are forgotten.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Pipeline, Summary, SyncError, delta};
use crate::model::Job;
use crate::store::{cv_seen, feed, job_success, reconcile, relisted, sync_window};

/// How long the record of windows that were listed a second time is kept.
const REPEATS_KEPT: TimeDelta = TimeDelta::days(7);

impl Pipeline {
    /// Writes down that the job is done; once a day it also forgets what need not be remembered any longer.
    pub(super) async fn conclude(
        &self,
        job: Job,
        began: DateTime<Utc>,
        relisted_to: Option<DateTime<Utc>>,
        summary: &Summary,
    ) -> Result<(), SyncError> {
        let now = self.vdab.time().now();
        let housekept = self
            .write("recording success", async |tx| {
                job_success::record(tx, job).await?;
                if let Some(position) = relisted_to {
                    relisted::set(tx, position).await?;
                }
                if let Some(difference) = summary.difference {
                    reconcile::conclude(tx, began, difference, &summary.tally).await?;
                }
                let last = job_success::all(tx).await?;
                let is_recent = |at: DateTime<Utc>| now - at < TimeDelta::days(1);
                Ok(last
                    .get(&Job::Housekeeping)
                    .is_some_and(|at| is_recent(*at)))
            })
            .await?;
        // A dry run would remove the same rows again and again.
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

    /// Forgets old tombstones and repeated windows, some of them at a time, so that nobody waits for it.
    async fn forget_old(&self, now: DateTime<Utc>) -> Result<(), SyncError> {
        let before = now - delta(self.settings.tombstone_retention);
        let mut after = None;
        loop {
            after = self
                .write("forgetting tombstones", async |tx| {
                    cv_seen::forget_tombstones(tx, after, before).await
                })
                .await?;
            if after.is_none() || self.token.is_cancelled() {
                break;
            }
        }
        while self
            .write("forgetting windows", async |tx| {
                sync_window::forget_repeats(tx, now - REPEATS_KEPT).await
            })
            .await?
            && !self.token.is_cancelled()
        {}
        Ok(())
    }

    /// Removes what is old from the feed, some of it at a time, so that nobody waits for it.
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
