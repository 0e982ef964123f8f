//! What the daemon writes down for those who look.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::sync::Notify;

use super::sample::Numbers;
use crate::model::Tally;
use crate::store::StoreError;
use crate::store::history::Minute;
use crate::store::pause::Pause;
use crate::sync::{Summary, SyncError};

/// How often the daemon shows that it is not stuck.
const BEAT: Duration = Duration::from_secs(1);

/// A daemon that has not shown it for longer is stuck.
const STUCK: Duration = Duration::from_secs(30);

/// What the daemon is at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Waits for the database, or migrates it.
    #[default]
    Starting,
    /// Another instance leads.
    Standby,
    /// Runs syncs as they are due.
    Leading,
    /// Finishes what is in hand.
    Stopping,
}

/// How the latest run ended.
#[derive(Clone, Debug, Serialize)]
pub struct LastRun {
    pub finished_at: DateTime<Utc>,
    /// What it did, if it came to its end.
    pub summary: Option<Summary>,
    /// Why it did not.
    pub error: Option<String>,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Board {
    state: Mutex<State>,
    /// The numbers are worth a look before their time.
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
    /// What all runs of any kind did, whatever their end.
    done: Tally,
    history: Arc<[Minute]>,
    sample: Option<Result<Numbers, StoreError>>,
    /// The watermark as the run under way knew it before the sample was taken.
    watermark_of_run: Option<DateTime<Utc>>,
    /// The latest one that is no error.
    numbers: Option<Numbers>,
    /// Since when it has been an error.
    sample_fails_since: Option<Instant>,
    /// Why this instance cannot take or keep the lease.
    lease_trouble: Option<StoreError>,
    /// CVs that were handled, and when their number last changed.
    handled: Option<(u64, Instant)>,
    beat: Option<Instant>,
    webhook: Option<String>,
}

impl Board {
    /// Has the database's numbers read at once, not when it is time.
    pub fn look_now(&self) {
        self.early.notify_one();
    }

    /// Shows each second that whoever polls this is not stuck.
    pub async fn beat(&self) -> Infallible {
        loop {
            self.lock().beat = Some(Instant::now());
            tokio::time::sleep(BEAT).await;
        }
    }

    /// Whether the daemon began and has not shown for 30 seconds that it goes on.
    pub(super) fn is_stuck(&self, now: Instant) -> bool {
        let beat = self.lock().beat;
        beat.is_some_and(|beat| now.saturating_duration_since(beat) > STUCK)
    }

    /// Tells what the daemon is at.
    pub fn set_phase(&self, phase: Phase) {
        let mut state = self.lock();
        if phase != state.phase {
            state.leads_since = (phase == Phase::Leading).then(Instant::now);
        }
        state.phase = phase;
    }

    /// Tells when the next run starts.
    pub fn set_next_run(&self, at: Option<DateTime<Utc>>) {
        self.lock().next_run_at = at;
    }

    /// Tells that no runs are made for now, or that they are again.
    pub fn set_pause(&self, pause: Option<Pause>) {
        self.lock().pause = pause;
    }

    /// Tells how a run ended.
    pub fn ran(&self, finished_at: DateTime<Utc>, result: &Result<Summary, SyncError>) {
        self.lock().last_run = Some(LastRun {
            finished_at,
            summary: result.as_ref().ok().copied(),
            error: result.as_ref().err().map(ToString::to_string),
        });
    }

    /// Tells what became of the ids of a run of any kind that is over.
    pub fn did(&self, tally: Tally) {
        self.lock().done += tally;
    }

    /// Tells this instance's name.
    pub fn set_name(&self, name: &str) {
        name.clone_into(&mut self.lock().name);
    }

    /// Tells what is wrong with the webhook's receiver, if anything is.
    pub fn set_webhook(&self, trouble: Option<String>) {
        self.lock().webhook = trouble;
    }

    pub(super) fn set_history(&self, history: Vec<Minute>) {
        self.lock().history = history.into();
    }

    pub(super) fn set_sample(
        &self,
        sample: Result<Numbers, StoreError>,
        watermark_of_run: Option<DateTime<Utc>>,
    ) {
        let mut state = self.lock();
        state.watermark_of_run = watermark_of_run;
        let since = state.sample_fails_since.unwrap_or_else(Instant::now);
        state.sample_fails_since = sample.is_err().then_some(since);
        if let Ok(numbers) = &sample {
            state.numbers = Some(numbers.clone());
        }
        state.sample = Some(sample);
    }

    /// The numbers of the latest sample that is no error.
    pub(super) fn numbers(&self) -> Option<Numbers> {
        self.lock().numbers.clone()
    }

    /// Tells why this instance cannot take or keep the lease; `None` where it can, or where another one has it.
    pub fn set_lease_trouble(&self, trouble: Option<StoreError>) {
        self.lock().lease_trouble = trouble;
    }

    pub(super) fn lease_trouble(&self) -> Option<StoreError> {
        self.lock().lease_trouble.clone()
    }

    /// The watermark as the run under way knew it before the latest sample was taken.
    pub(super) fn watermark_of_run(&self) -> Option<DateTime<Utc>> {
        self.lock().watermark_of_run
    }

    /// For how long the database has not answered.
    pub(super) fn sample_fails_for(&self) -> Option<Duration> {
        self.lock().sample_fails_since.map(|since| since.elapsed())
    }

    /// Notes how many CVs were handled.
    pub(super) fn handled(&self, cvs: u64) {
        let mut state = self.lock();
        if state.handled.is_none_or(|(known, _)| known != cvs) {
            state.handled = Some((cvs, Instant::now()));
        }
    }

    /// For how many seconds no CV has been handled, and this instance has led.
    pub(super) fn idle_seconds(&self) -> Option<u64> {
        let state = self.lock();
        let since = state.handled?.1.max(state.leads_since?);
        Some(since.elapsed().as_secs())
    }

    /// The trouble with the webhook's receiver; `None` on an instance that does not lead.
    pub(super) fn webhook(&self) -> Option<String> {
        let state = self.lock();
        let leads = state.phase == Phase::Leading;
        state.webhook.clone().filter(|_| leads)
    }

    /// What the daemon is at.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.lock().phase
    }

    /// For how many seconds this instance has led; `None` where it does not.
    pub(super) fn leads_for_seconds(&self) -> Option<u64> {
        self.lock()
            .leads_since
            .map(|since| since.elapsed().as_secs())
    }

    /// When the next run starts.
    #[must_use]
    pub fn next_run_at(&self) -> Option<DateTime<Utc>> {
        self.lock().next_run_at
    }

    /// The pause that holds.
    #[must_use]
    pub fn pause(&self) -> Option<Pause> {
        self.lock().pause.clone()
    }

    /// How the latest run ended.
    #[must_use]
    pub fn last_run(&self) -> Option<LastRun> {
        self.lock().last_run.clone()
    }

    /// What all runs of any kind that are over did, together.
    #[must_use]
    pub fn done(&self) -> Tally {
        self.lock().done
    }

    /// This instance's name; empty until it has one.
    #[must_use]
    pub fn name(&self) -> String {
        self.lock().name.clone()
    }

    /// The last day, as it was last read.
    #[must_use]
    pub fn history(&self) -> Arc<[Minute]> {
        Arc::clone(&self.lock().history)
    }

    /// What the database said when it was last asked, if it was.
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
