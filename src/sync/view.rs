//! A read-only view of a pipeline. Its holder can neither start a run nor call VDAB.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Lanes, Pending, Pipeline, Queue, Snapshot, Workers};
use crate::config;
use crate::model::{Clocks, Coverage, Lane};
use crate::store::StoreError;
use crate::telemetry::Metrics;
use crate::vdab::{ClosedGate, Drifts};

#[derive(Clone, Debug)]
pub struct View(Arc<Pipeline>);

impl View {
    #[must_use]
    pub fn of(pipeline: &Arc<Pipeline>) -> Self {
        Self(Arc::clone(pipeline))
    }

    #[must_use]
    pub fn settings(&self) -> &config::Sync {
        &self.0.settings
    }

    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Whether it takes no new work, since the process ends.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.0.token.is_cancelled()
    }

    #[must_use]
    pub fn progress(&self) -> &Lanes {
        &self.0.progress
    }

    #[must_use]
    pub fn run(&self) -> Option<Snapshot> {
        self.0.progress.shown()
    }

    #[must_use]
    pub fn pending(&self) -> Pending {
        let (progress, window) = (&self.0.progress, self.0.settings.window);
        let [live, backlog] =
            [Lane::Live, Lane::Backlog].map(|lane| progress.of(lane).pending(window));
        Pending {
            planned: live.planned + backlog.planned,
            listing: live.listing + backlog.listing,
            applying: live.applying + backlog.applying,
        }
    }

    #[must_use]
    pub fn queues(&self) -> Vec<Queue> {
        self.0.queues.look()
    }

    #[must_use]
    pub fn workers(&self) -> Workers {
        let fetching = self.0.vdab.details_under_way();
        self.0.queues.workers(&self.0.workers, fetching)
    }

    /// The settled spans, as far as this process knows.
    #[must_use]
    pub fn coverage(&self) -> Coverage {
        self.0.coverage.borrow().clone()
    }

    /// The error of the database, while it cannot be used.
    #[must_use]
    pub fn trouble(&self) -> Option<StoreError> {
        self.0.trouble.borrow().clone()
    }

    /// The errors of the jobs beside the runs.
    #[must_use]
    pub fn side_errors(&self) -> Vec<String> {
        self.0.side_errors.borrow().values().cloned().collect()
    }

    /// The width that windows are limited to, if VDAB refuses wider ones.
    #[must_use]
    pub fn window_limit(&self) -> Option<TimeDelta> {
        self.0.window_limit()
    }

    /// A better CVSYNC_WINDOW_OVERLAP, if late changes have shown that it is too short.
    #[must_use]
    pub fn better_overlap_hours(&self) -> Option<u64> {
        *self.0.better_overlap_hours.borrow()
    }

    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.0.vdab.time().now()
    }

    /// The latest time that it can be at VDAB.
    #[must_use]
    pub fn latest_now(&self) -> DateTime<Utc> {
        self.0.vdab.time().latest_now()
    }

    /// This machine's clock minus VDAB's.
    #[must_use]
    pub fn local_clock_ahead(&self) -> Option<TimeDelta> {
        self.0.vdab.time().local_clock_ahead()
    }

    #[must_use]
    pub fn clocks(&self) -> Clocks {
        self.0.vdab.time().clocks()
    }

    /// The closed gates of the operations that syncs need, by name.
    #[must_use]
    pub fn closed_gates(&self) -> BTreeMap<&'static str, ClosedGate> {
        self.0.vdab.closed_gates()
    }

    /// Adds the time that gates were closed to the metrics.
    pub fn count_closed_time(&self) {
        self.0.vdab.count_closed_time();
    }

    /// How VDAB's responses differ from the contract.
    #[must_use]
    pub fn drift(&self) -> Drifts {
        self.0.vdab.drift()
    }

    /// The quota of each operation, in calls per minute.
    #[must_use]
    pub fn per_minute(&self) -> u32 {
        self.0.vdab.per_minute()
    }

    /// Attempts of bulk and of detail calls, each of which has the whole quota.
    #[must_use]
    pub fn answers_by_operation(&self) -> [u64; 2] {
        self.0.vdab.answers_by_operation()
    }
}
