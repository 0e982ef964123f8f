//! The progress of a run: counts, rate and time left, for the terminal and the status page.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::density::Density;
use super::pace::Pace;
use crate::model::{Lane, Tally, Window};

/// The progress of both lanes.
#[derive(Debug, Default)]
pub struct Lanes {
    live: Progress,
    backlog: Progress,
}

impl Lanes {
    #[must_use]
    pub fn of(&self, lane: Lane) -> &Progress {
        match lane {
            Lane::Live => &self.live,
            Lane::Backlog => &self.backlog,
        }
    }

    /// The run under way that a person waits for: that of the backlog, if there are two.
    #[must_use]
    pub fn shown(&self) -> Option<Snapshot> {
        self.backlog.snapshot().or_else(|| self.live.snapshot())
    }
}

/// Shared by the stages of a run, the terminal and the status page.
#[derive(Debug, Default)]
pub struct Progress(Mutex<State>);

#[derive(Clone, Debug, Default)]
struct State {
    started: Option<Instant>,
    /// The time that was to be listed when the latest window was begun.
    ahead: TimeDelta,
    /// The end of the last listed window.
    listed_to: Option<DateTime<Utc>>,
    pace: Option<Pace>,
    /// Ids per unit of listed time.
    density: Density,
    windows_listed: u64,
    windows: u64,
    tally: Tally,
    /// Calls of the run that have ended.
    calls: u64,
}

/// The state of a run under way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Snapshot {
    /// Settled windows.
    pub windows: u64,
    /// Counts so far; `listed` runs ahead of the rest.
    pub tally: Tally,
    /// Processed ids per second in the last 30 seconds.
    pub per_second: f64,
    /// Estimated number of ids in all.
    pub expected: u64,
    /// Estimated number of seconds left.
    pub eta_seconds: Option<u64>,
    /// The end of the last listed window.
    pub listed_to: Option<DateTime<Utc>>,
}

impl Snapshot {
    /// The handled part of the ids, from 0 to 1.
    #[expect(clippy::cast_precision_loss, reason = "a share to look at")]
    #[must_use]
    pub fn share(&self) -> f64 {
        let done = self.tally.done();
        let share = done as f64 / self.expected.max(done).max(1) as f64;
        (share * 1_000.0).round() / 1_000.0
    }
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
        let now = Instant::now();
        *self.lock() = State {
            started: Some(now),
            pace: Some(Pace::begun(now)),
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

    /// A number that grows with each response, listed id, commit and settled window.
    #[must_use]
    pub fn moves(&self) -> u64 {
        let state = self.lock();
        state.calls + state.windows + state.tally.listed + state.tally.done()
    }

    /// A call has ended, with a response or without.
    pub fn called(&self) {
        self.lock().calls += 1;
    }

    /// This much time is still to be listed.
    pub fn ahead(&self, ahead: TimeDelta) {
        self.lock().ahead = ahead;
    }

    /// These ids are about to be sent to the workers.
    pub fn taken(&self, ids: u64) {
        self.lock().tally.listed += ids;
    }

    pub fn listed(&self, window: Window, ids: u64, skipped: u64) {
        let mut state = self.lock();
        state.listed_to = Some(window.tot());
        state.ahead = (state.ahead - window.width()).max(TimeDelta::zero());
        state.density.add(window.width(), ids);
        state.windows_listed += 1;
        state.tally.skipped += skipped;
    }

    /// Ids were committed with these counts.
    pub fn done(&self, tally: Tally) {
        let mut state = self.lock();
        state.tally += tally;
        let done = state.tally.done();
        if let Some(pace) = &mut state.pace {
            pace.mark(Instant::now(), done);
        }
    }

    pub fn settled(&self, windows: u64) {
        self.lock().windows += windows;
    }

    /// Windows of the run under way that are not settled, if each planned one is `width` wide.
    #[must_use]
    pub fn pending(&self, width: Duration) -> Pending {
        let state = self.lock();
        let ahead = state.started.map_or(TimeDelta::zero(), |_| state.ahead);
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
        state.started?;
        let expected = state.expected();
        let done = state.tally.done();
        let (recent, within) = state.pace?.recent(Instant::now(), done);
        Some(Snapshot {
            windows: state.windows,
            tally: state.tally,
            per_second: per_second(recent, within),
            expected,
            eta_seconds: eta(expected.saturating_sub(done), recent, within)
                .map(|eta| eta.as_secs()),
            listed_to: state.listed_to,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The listed ids, and an estimate of the rest.
    fn expected(&self) -> u64 {
        self.tally.listed + self.density.ids_in(self.ahead)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate to look at")]
fn per_second(done: u64, elapsed: Duration) -> f64 {
    let rate = done as f64 / elapsed.as_secs_f64().max(0.001);
    (rate * 10.0).round() / 10.0
}

/// Time left at the recent rate; `None` without a rate.
fn eta(left: u64, done: u64, within: Duration) -> Option<Duration> {
    let millis = u128::from(left) * within.as_millis() / u128::from(done.max(1));
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
        progress.ahead(TimeDelta::seconds(1_000));
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
    fn the_estimate_follows_the_latest_windows() {
        let progress = Progress::default();
        let _running = progress.start();
        let day = |day: i64| at(day * 86_400);
        for month in 0..24 {
            // A thousand CVs a month in the first year back, and then ten.
            let ids = if month < 12 { 1_000 } else { 10 };
            progress.taken(ids);
            let window = Window::new(day(1_000 - 30 * (month + 1)), day(1_000 - 30 * month));
            progress.listed(window.unwrap(), ids, 0);
        }
        progress.ahead(TimeDelta::days(300));
        let rest = progress.snapshot().unwrap().expected - 12_120;
        assert!((100..500).contains(&rest), "{rest}");
    }

    #[test]
    fn windows_ahead() {
        let progress = Progress::default();
        let width = Duration::from_secs(100);
        assert_eq!(progress.pending(width), Pending::default());
        let _running = progress.start();
        progress.ahead(TimeDelta::seconds(1_000));
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
        assert_eq!(eta(300, 100, elapsed), Some(Duration::from_secs(30)));
        assert_eq!(eta(0, 400, elapsed), Some(Duration::ZERO));
        assert_eq!(eta(400, 0, elapsed), None);
    }
}
