//! Ends a run that stands still or crawls, while neither VDAB nor the database is known to be down.

use std::time::Duration;

use super::retry::WAITING;
use super::{Pipeline, SyncError};
use crate::config;
use crate::model::Lane;

/// How often it checks the run.
const PERIOD: Duration = Duration::from_secs(5);

/// How long a run may stand still, unless a request may take longer. Statements have limits far below this.
const SILENCE: Duration = Duration::from_mins(10);

/// How long a window may take besides its calls.
const WINDOW: Duration = Duration::from_mins(30);

/// How long a run may take besides its calls.
const RUN: Duration = Duration::from_hours(2);

/// Calls may take this many times as long as at the full quota.
const FACTOR: u32 = 4;

#[derive(Clone, Copy, Debug, Default)]
struct Limits {
    silence: Duration,
    /// The time for one id, at worst: its share of the quota, or of the workers if each call takes as long as it may, and its share
    /// of the CVs that are retried until they are parked.
    id: Duration,
    /// The last CV may be retried until it is parked.
    retries: Duration,
}

impl Limits {
    fn new(per_minute: u32, timeout: Duration, settings: &config::Sync) -> Self {
        let workers = u32::try_from(settings.workers).unwrap_or(u32::MAX).max(1);
        let waiting = u32::try_from(WAITING).unwrap_or(1);
        let quota = Duration::from_mins(1) * FACTOR / per_minute.max(1);
        let retries = settings.retry_max_elapsed;
        Self {
            silence: SILENCE.max(timeout * 2 + Duration::from_mins(1)),
            id: quota.max(timeout / workers) + retries / waiting,
            retries,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    /// Changes with every response, commit and settled window of this lane.
    moves: u64,
    windows: u64,
    listed: u64,
    done: u64,
}

/// Counts the time in which neither VDAB nor the database is down. Outages are waited for without a limit.
#[derive(Debug, Default)]
struct Watchdog {
    limits: Limits,
    last: Counts,
    /// Time without any change.
    silent: Duration,
    /// Time since a window was settled.
    window: Duration,
    /// Ids that had been processed by then.
    done_before: u64,
    run: Duration,
}

impl Watchdog {
    /// Checks the run again after `passed`; returns the error that must end it, if any.
    fn look(&mut self, passed: Duration, away: bool, now: Counts) -> Option<SyncError> {
        if away || now.moves != self.last.moves {
            self.silent = Duration::ZERO;
        }
        if now.windows != self.last.windows {
            self.window = Duration::ZERO;
            self.done_before = now.done;
        }
        self.last = now;
        if away {
            return None;
        }
        self.silent += passed;
        self.window += passed;
        self.run += passed;
        let ahead = now.listed.saturating_sub(self.done_before);
        if self.silent > self.limits.silence {
            Some(SyncError::Stalled(self.silent))
        } else if self.window > self.deadline(WINDOW, ahead) {
            Some(SyncError::Overdue {
                what: "a window",
                after: self.window,
            })
        } else if self.run > self.deadline(RUN, now.listed + now.windows) {
            Some(SyncError::Overdue {
                what: "the run",
                after: self.run,
            })
        } else {
            None
        }
    }

    fn deadline(&self, base: Duration, ids: u64) -> Duration {
        let ids = u32::try_from(ids).unwrap_or(u32::MAX);
        base + self.limits.retries + self.limits.id.saturating_mul(ids)
    }
}

/// Returns once the run must end.
pub(super) async fn watch(pipeline: &Pipeline, lane: Lane) -> SyncError {
    let mut watchdog = Watchdog {
        limits: Limits::new(
            pipeline.vdab.per_minute(),
            pipeline.vdab.timeout(),
            &pipeline.settings,
        ),
        ..Watchdog::default()
    };
    let mut looked = tokio::time::Instant::now();
    loop {
        tokio::time::sleep(PERIOD).await;
        let trouble = pipeline.trouble.borrow().clone();
        let away = !pipeline.vdab.closed_gates().is_empty()
            || trouble.is_some_and(|error| error.is_outage());
        let progress = pipeline.progress.of(lane);
        let (windows, tally) = progress.counts();
        let counts = Counts {
            moves: progress.moves(),
            windows,
            listed: tally.listed,
            done: tally.done(),
        };
        if let Some(error) = watchdog.look(looked.elapsed(), away, counts) {
            return error;
        }
        looked = tokio::time::Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn watchdog() -> Watchdog {
        Watchdog {
            limits: Limits {
                silence: 10 * MINUTE,
                // As at a quota of 60.
                id: Duration::from_secs(4),
                retries: Duration::ZERO,
            },
            ..Watchdog::default()
        }
    }

    /// Minutes until it ends the run.
    fn minutes(mut counts: impl FnMut(u64) -> (bool, Counts)) -> Option<(u64, SyncError)> {
        let mut watchdog = watchdog();
        (1..10_000).find_map(|minute| {
            let (away, counts) = counts(minute);
            Some((minute, watchdog.look(MINUTE, away, counts)?))
        })
    }

    #[test]
    fn an_id_may_take_its_share_of_the_slowest_part() {
        let config = config::Config::load(&config::Env::new([
            ("CVSYNC_API_KEY", "k"),
            ("CVSYNC_DATABASE_URL", "postgres://localhost/x"),
        ]))
        .unwrap();
        let limits = |per_minute, timeout| {
            Limits::new(per_minute, Duration::from_secs(timeout), &config.sync)
        };
        // A thousand CVs that wait for at most two minutes.
        let retries = Duration::from_millis(120);
        assert_eq!(limits(2_000, 30).id, Duration::from_millis(1_875) + retries);
        assert_eq!(limits(1, 30).id, Duration::from_mins(4) + retries);
        assert_eq!(limits(1, 600).silence, Duration::from_mins(21));
        assert_eq!(limits(2_000, 30).silence, SILENCE);
    }

    #[test]
    fn silence_ends_a_run_unless_an_outage_is_known() {
        let (minute, error) = minutes(|_| (false, Counts::default())).unwrap();
        assert_eq!(minute, 11);
        assert!(matches!(error, SyncError::Stalled(_)));
        assert!(minutes(|_| (true, Counts::default())).is_none());
        let (minute, _) = minutes(|minute| (minute < 100, Counts::default())).unwrap();
        assert_eq!(minute, 110);
    }

    #[test]
    fn a_window_that_crawls_is_overdue_and_one_with_many_ids_is_not() {
        let crawling = |minute| Counts {
            moves: minute,
            ..Counts::default()
        };
        let (minute, error) = minutes(|minute| (false, crawling(minute))).unwrap();
        assert_eq!(minute, 31);
        assert!(matches!(
            error,
            SyncError::Overdue {
                what: "a window",
                ..
            }
        ));
        // 600 ids take ten minutes at this quota.
        let large = |minute| Counts {
            listed: 600,
            ..crawling(minute)
        };
        assert_eq!(
            minutes(|minute| (false, large(minute))).unwrap().0,
            30 + 40 + 1
        );
    }

    #[test]
    fn a_run_whose_windows_all_settle_becomes_overdue_too() {
        let endless = |minute| Counts {
            moves: minute,
            windows: minute,
            ..Counts::default()
        };
        let (minute, error) = minutes(|minute| (false, endless(minute))).unwrap();
        assert_eq!(minute, 129, "each window is a call as well");
        assert!(matches!(
            error,
            SyncError::Overdue {
                what: "the run",
                ..
            }
        ));
        // At the pace of the quota it may go on for days.
        let full = |minute| Counts {
            listed: 60 * minute,
            done: 60 * minute,
            ..endless(minute)
        };
        assert!(minutes(|minute| (false, full(minute))).is_none());
    }
}
