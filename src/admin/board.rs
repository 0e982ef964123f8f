//! State of the daemon for its HTTP endpoints.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::sync::Notify;

use super::sample::Numbers;
use crate::config::Difference;
use crate::model::{Coverage, Tally};
use crate::store::StoreError;
use crate::store::history::Minute;
use crate::store::pause::Pause;
use crate::sync::{Summary, SyncError};

/// Time between two signs of life of the daemon.
const BEAT: Duration = Duration::from_secs(1);

/// A daemon without a sign of life for longer is stuck.
const STUCK: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Waits for the database, or migrates it.
    #[default]
    Starting,
    Standby,
    /// Runs syncs as they are due.
    Leading,
    /// Finishes the current work.
    Stopping,
}

/// The end of the latest sync.
#[derive(Clone, Debug, Serialize)]
pub struct LastRun {
    pub finished_at: DateTime<Utc>,
    /// `None` if it failed.
    pub summary: Option<Summary>,
    pub error: Option<String>,
    /// The kind of error.
    pub error_class: Option<&'static str>,
}

#[derive(Debug, Default)]
pub struct Board {
    state: Mutex<State>,
    /// Requests a sample before the next one is due.
    pub(super) early: Notify,
}

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    leads_since: Option<Instant>,
    next_run_at: Option<DateTime<Utc>>,
    pause: Option<Pause>,
    last_run: Option<LastRun>,
    name: String,
    /// The counts of all finished runs, failed ones included.
    done: Tally,
    history: Arc<[Minute]>,
    sample: Option<Result<Numbers, StoreError>>,
    /// The settled spans as far as this process knew, before the sample was taken.
    coverage_of_run: Option<Coverage>,
    /// The latest sample that succeeded.
    numbers: Option<Numbers>,
    /// When samples began to fail.
    sample_fails_since: Option<Instant>,
    /// Why this instance cannot take or keep the lease.
    lease_trouble: Option<StoreError>,
    /// The variables whose older values keep this instance from leading.
    outdated: Vec<String>,
    /// Number of CVs handled, and when it last changed.
    handled: Option<(u64, Instant)>,
    backlog_error: Option<(String, &'static str)>,
    beat: Option<Instant>,
    webhook: Option<String>,
}

impl Board {
    /// Requests a sample of the database now.
    pub fn look_now(&self) {
        self.early.notify_one();
    }

    /// Gives a sign of life each second while it is polled.
    pub async fn beat(&self) -> Infallible {
        loop {
            self.lock().beat = Some(Instant::now());
            tokio::time::sleep(BEAT).await;
        }
    }

    /// Whether the daemon has started and given no sign of life for 30 seconds.
    pub(super) fn is_stuck(&self, now: Instant) -> bool {
        let beat = self.lock().beat;
        beat.is_some_and(|beat| now.saturating_duration_since(beat) > STUCK)
    }

    pub fn set_phase(&self, phase: Phase) {
        let mut state = self.lock();
        if phase != state.phase {
            state.leads_since = (phase == Phase::Leading).then(Instant::now);
        }
        state.phase = phase;
    }

    pub fn set_next_run(&self, at: Option<DateTime<Utc>>) {
        self.lock().next_run_at = at;
    }

    pub fn set_pause(&self, pause: Option<Pause>) {
        self.lock().pause = pause;
    }

    /// Records the end of a sync.
    pub fn ran(&self, finished_at: DateTime<Utc>, result: &Result<Summary, SyncError>) {
        self.lock().last_run = Some(LastRun {
            finished_at,
            summary: result.as_ref().ok().copied(),
            error: result.as_ref().err().map(ToString::to_string),
            error_class: result.as_ref().err().map(SyncError::class),
        });
    }

    /// Sets the error of the latest run of the backlog; `None` after a success.
    pub fn set_backlog_error(&self, error: Option<&SyncError>) {
        self.lock().backlog_error = error.map(|error| (error.to_string(), error.class()));
    }

    /// The error of the latest sync, or else that of the latest run of the backlog, and its class.
    pub(super) fn failure(&self) -> Option<(String, &'static str)> {
        let state = self.lock();
        let of_sync = state.last_run.as_ref();
        let of_sync = of_sync.and_then(|run| run.error.clone().zip(run.error_class));
        of_sync.or_else(|| state.backlog_error.clone())
    }

    /// Adds the counts of a finished run.
    pub fn did(&self, tally: Tally) {
        self.lock().done += tally;
    }

    pub fn set_name(&self, name: &str) {
        name.clone_into(&mut self.lock().name);
    }

    /// Sets the error of the webhook's receiver.
    pub fn set_webhook(&self, trouble: Option<String>) {
        self.lock().webhook = trouble;
    }

    pub(super) fn set_history(&self, history: Vec<Minute>) {
        self.lock().history = history.into();
    }

    pub(super) fn set_sample(
        &self,
        sample: Result<Numbers, StoreError>,
        coverage_of_run: Coverage,
    ) {
        let mut state = self.lock();
        state.coverage_of_run = Some(coverage_of_run);
        let since = state.sample_fails_since.unwrap_or_else(Instant::now);
        state.sample_fails_since = sample.is_err().then_some(since);
        if let Ok(numbers) = &sample {
            state.numbers = Some(numbers.clone());
        }
        state.sample = Some(sample);
    }

    /// The latest sample that succeeded.
    pub(super) fn numbers(&self) -> Option<Numbers> {
        self.lock().numbers.clone()
    }

    /// Sets why this instance cannot take or keep the lease; `None` if it can, or if another instance has it.
    pub fn set_lease_trouble(&self, trouble: Option<StoreError>) {
        self.lock().lease_trouble = trouble;
    }

    pub(super) fn lease_trouble(&self) -> Option<StoreError> {
        self.lock().lease_trouble.clone()
    }

    /// Sets the settings whose older values keep this instance from leading.
    pub fn set_outdated(&self, settings: &[Difference]) {
        self.lock().outdated = settings.iter().map(|it| it.name.clone()).collect();
    }

    pub(super) fn outdated(&self) -> Vec<String> {
        self.lock().outdated.clone()
    }

    /// The settled spans as far as this process knew, before the latest sample was taken.
    pub(super) fn coverage_of_run(&self) -> Option<Coverage> {
        self.lock().coverage_of_run.clone()
    }

    /// How long samples have failed.
    pub(super) fn sample_fails_for(&self) -> Option<Duration> {
        self.lock().sample_fails_since.map(|since| since.elapsed())
    }

    /// Records the number of CVs handled so far.
    pub(super) fn handled(&self, cvs: u64) {
        let mut state = self.lock();
        if state.handled.is_none_or(|(known, _)| known != cvs) {
            state.handled = Some((cvs, Instant::now()));
        }
    }

    /// How long this instance has led without handling a CV.
    pub(super) fn idle_seconds(&self) -> Option<u64> {
        let state = self.lock();
        let since = state.handled?.1.max(state.leads_since?);
        Some(since.elapsed().as_secs())
    }

    /// The error of the webhook's receiver; `None` unless this instance leads.
    pub(super) fn webhook(&self) -> Option<String> {
        let state = self.lock();
        let leads = state.phase == Phase::Leading;
        state.webhook.clone().filter(|_| leads)
    }

    #[must_use]
    pub fn phase(&self) -> Phase {
        self.lock().phase
    }

    /// How long this instance has led; `None` if it does not.
    pub(super) fn leads_for_seconds(&self) -> Option<u64> {
        self.lock()
            .leads_since
            .map(|since| since.elapsed().as_secs())
    }

    #[must_use]
    pub fn next_run_at(&self) -> Option<DateTime<Utc>> {
        self.lock().next_run_at
    }

    #[must_use]
    pub fn pause(&self) -> Option<Pause> {
        self.lock().pause.clone()
    }

    #[must_use]
    pub fn last_run(&self) -> Option<LastRun> {
        self.lock().last_run.clone()
    }

    /// The counts of all finished runs.
    #[must_use]
    pub fn done(&self) -> Tally {
        self.lock().done
    }

    /// This instance's name; empty until it has one.
    #[must_use]
    pub fn name(&self) -> String {
        self.lock().name.clone()
    }

    /// The last day, read once per minute.
    #[must_use]
    pub fn history(&self) -> Arc<[Minute]> {
        Arc::clone(&self.lock().history)
    }

    /// The latest sample of the database, or its error; `None` before the first.
    #[must_use]
    pub fn sample(&self) -> Option<Result<Numbers, StoreError>> {
        self.lock().sample.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn daemon_is_stuck_once_it_has_not_been_polled_for_30_seconds() {
        let board = Board::default();
        let later = |seconds| Instant::now() + Duration::from_secs(seconds);
        assert!(!board.is_stuck(later(60)), "it has not begun");
        let _ = tokio::time::timeout(Duration::ZERO, board.beat()).await;
        assert!(!board.is_stuck(later(29)));
        assert!(board.is_stuck(later(31)));
    }
}
