//! The progress of a run: counts, rate and time left, for the terminal and the status page.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::model::{Tally, Window};

/// Shared by the stages of a run, the terminal and the status page.
#[derive(Debug, Default)]
pub struct Progress(Mutex<State>);

#[derive(Clone, Debug, Default)]
struct State {
    started: Option<Instant>,
    /// The start and the end of the run.
    span: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// The end of the last listed window.
    listed_to: Option<DateTime<Utc>>,
    /// The start of the first window with an id.
    first_ids_at: Option<DateTime<Utc>>,
    windows_listed: u64,
    windows: u64,
    tally: Tally,
}

/// The state of a run under way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Snapshot {
    /// Settled windows.
    pub windows: u64,
    /// Counts so far; `listed` runs ahead of the rest.
    pub tally: Tally,
    /// Average number of processed ids per second.
    pub per_second: f64,
    /// Estimated number of ids in all.
    pub expected: u64,
    /// Estimated number of seconds left.
    pub eta_seconds: Option<u64>,
    /// The end of the last listed window.
    pub listed_to: Option<DateTime<Utc>>,
}

/// Windows that are not settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// Not listed. They may become more, if some are halved.
    pub planned: u64,
    pub listing: u64,
    /// Listed, with ids that are not committed.
    pub applying: u64,
}

#[derive(Debug)]
pub struct Running<'a>(&'a Progress);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.lock().started = None;
    }
}

impl Progress {
    /// Starts a run. It ends when the returned value is dropped.
    #[must_use]
    pub fn start(&self) -> Running<'_> {
        *self.lock() = State {
            started: Some(Instant::now()),
            ..State::default()
        };
        Running(self)
    }

    /// Settled windows, and the counts so far.
    #[must_use]
    pub fn counts(&self) -> (u64, Tally) {
        let state = self.lock();
        (state.windows, state.tally)
    }

    /// The end of the run is known.
    pub fn goal(&self, from: DateTime<Utc>, to: DateTime<Utc>) {
        self.lock().span.get_or_insert((from, to));
    }

    /// These ids are about to be sent to the workers.
    pub fn taken(&self, ids: u64) {
        self.lock().tally.listed += ids;
    }

    pub fn listed(&self, window: Window, ids: u64, skipped: u64) {
        let mut state = self.lock();
        state.listed_to = Some(window.tot());
        state.windows_listed += 1;
        state.tally.skipped += skipped;
        if ids > 0 {
            state.first_ids_at.get_or_insert(window.van());
        }
    }

    /// Ids were committed with these counts.
    pub fn done(&self, tally: Tally) {
        self.lock().tally += tally;
    }

    pub fn settled(&self, windows: u64) {
        self.lock().windows += windows;
    }

    /// Windows of the run under way that are not settled, if each planned one is `width` wide.
    #[must_use]
    pub fn pending(&self, width: Duration) -> Pending {
        let state = self.lock();
        let ahead = match (state.started, state.span, state.listed_to) {
            (Some(_), Some((from, to)), listed_to) => to - listed_to.unwrap_or(from).max(from),
            _ => TimeDelta::zero(),
        };
        let width = i64::try_from(width.as_millis()).unwrap_or(i64::MAX).max(1);
        let ahead = u64::try_from(ahead.num_milliseconds()).unwrap_or(0);
        let ahead = ahead.div_ceil(width.unsigned_abs());
        Pending {
            planned: ahead.saturating_sub(1),
            listing: ahead.min(1),
            applying: match state.started {
                Some(_) => state.windows_listed.saturating_sub(state.windows),
                None => 0,
            },
        }
    }

    /// `None` while no run is under way.
    #[must_use]
    pub fn snapshot(&self) -> Option<Snapshot> {
        let state = self.lock().clone();
        let elapsed = state.started?.elapsed();
        let expected = state.expected();
        let done = state.tally.done();
        Some(Snapshot {
            windows: state.windows,
            tally: state.tally,
            per_second: per_second(done, elapsed),
            expected,
            eta_seconds: eta(done, expected, elapsed).map(|eta| eta.as_secs()),
            listed_to: state.listed_to,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The listed ids, and an estimate of the rest: as many ids per unit of time as so far.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate"
    )]
    fn expected(&self) -> u64 {
        let known = self.tally.listed;
        let (Some((_, to)), Some(listed_to), Some(first)) =
            (self.span, self.listed_to, self.first_ids_at)
        else {
            return known;
        };
        let behind = (listed_to - first).num_milliseconds().max(1);
        let ahead = (to - listed_to).num_milliseconds().max(0);
        known + (known as f64 * ahead as f64 / behind as f64) as u64
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate to look at")]
fn per_second(done: u64, elapsed: Duration) -> f64 {
    let rate = done as f64 / elapsed.as_secs_f64().max(0.001);
    (rate * 10.0).round() / 10.0
}

/// Time left at the average rate so far; `None` without a rate.
fn eta(done: u64, expected: u64, elapsed: Duration) -> Option<Duration> {
    let left = expected.saturating_sub(done);
    let millis = u128::from(left) * elapsed.as_millis() / u128::from(done.max(1));
    (done > 0 || left == 0)
        .then(|| Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(s, 0).unwrap()
    }

    #[test]
    fn the_estimate_leaves_out_the_empty_years_before_the_first_cv() {
        let progress = Progress::default();
        assert!(progress.snapshot().is_none());
        let running = progress.start();
        progress.goal(at(0), at(1_000));
        progress.taken(0);
        progress.listed(Window::new(at(0), at(800)).unwrap(), 0, 0);
        assert_eq!(progress.snapshot().unwrap().expected, 0);
        progress.taken(50);
        progress.listed(Window::new(at(800), at(900)).unwrap(), 50, 0);
        assert_eq!(progress.snapshot().unwrap().expected, 100);
        progress.taken(30);
        progress.listed(Window::new(at(900), at(1_000)).unwrap(), 30, 0);
        assert_eq!(progress.snapshot().unwrap().expected, 80);
        drop(running);
        assert!(progress.snapshot().is_none());
    }

    #[test]
    fn windows_ahead() {
        let progress = Progress::default();
        let width = Duration::from_secs(100);
        assert_eq!(progress.pending(width), Pending::default());
        let _running = progress.start();
        progress.goal(at(0), at(1_000));
        progress.taken(10);
        progress.listed(Window::new(at(0), at(650)).unwrap(), 10, 0);
        progress.taken(10);
        progress.listed(Window::new(at(650), at(700)).unwrap(), 10, 0);
        progress.settled(1);
        let expected = Pending {
            planned: 2,
            listing: 1,
            applying: 1,
        };
        assert_eq!(progress.pending(width), expected);
    }

    #[test]
    fn time_to_go() {
        let elapsed = Duration::from_secs(10);
        assert_eq!(eta(100, 400, elapsed), Some(Duration::from_secs(30)));
        assert_eq!(eta(400, 400, elapsed), Some(Duration::ZERO));
        assert_eq!(eta(0, 400, elapsed), None);
    }
}
