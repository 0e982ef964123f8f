//! Ends a run in which nothing moves, or which crawls, though neither source nor database is known to be away.

use std::time::Duration;

use super::fetch::WAITING;
use super::{Pipeline, SyncError};
use crate::config;

/// How often it looks.
const PERIOD: Duration = Duration::from_secs(5);

/// Nothing of ours is silent for longer, unless a request may take so long: statements have limits far below it.
const SILENCE: Duration = Duration::from_mins(10);

/// What a window may take besides its calls.
const WINDOW: Duration = Duration::from_mins(30);

/// What a run may take besides its calls.
const RUN: Duration = Duration::from_hours(2);

/// So many times what its calls take at the full quota.
const FACTOR: u32 = 4;

/// How long things may take.
#[derive(Clone, Copy, Debug, Default)]
struct Limits {
    silence: Duration,
    /// What one id adds, at worst: its part of the quota, or of the workers when each call takes as long as it may, and of
    /// those who retry until they give up.
    id: Duration,
    /// The last one may be retried until it is parked.
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

/// How far the run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sight {
    /// Whatever moves makes this another number.
    moves: u64,
    /// Windows settled.
    windows: u64,
    /// Ids listed.
    listed: u64,
    /// Ids that met their end.
    done: u64,
}

/// Counts time, but for that in which the source or the database is away: that is waited for without a limit.
#[derive(Debug, Default)]
struct Watchdog {
    limits: Limits,
    last: Sight,
    /// Since anything moved.
    silent: Duration,
    /// Since a window was settled, and the ids that had met their end by then.
    window: (Duration, u64),
    run: Duration,
}

impl Watchdog {
    /// `passed` went by since the last look; why the run should end, if it should.
    fn look(&mut self, passed: Duration, away: bool, now: Sight) -> Option<SyncError> {
        if away || now.moves != self.last.moves {
            self.silent = Duration::ZERO;
        }
        if now.windows != self.last.windows {
            self.window = (Duration::ZERO, now.done);
        }
        self.last = now;
        if away {
            return None;
        }
        self.silent += passed;
        self.window.0 += passed;
        self.run += passed;
        let ahead = now.listed.saturating_sub(self.window.1);
        if self.silent > self.limits.silence {
            Some(SyncError::Stalled(self.silent))
        } else if self.window.0 > self.deadline(WINDOW, ahead) {
            Some(SyncError::Overdue {
                what: "a window",
                after: self.window.0,
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

/// Returns when the run has to end.
pub(super) async fn watch(pipeline: &Pipeline) -> SyncError {
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
        let (windows, tally) = pipeline.progress.counts();
        let sight = Sight {
            moves: pipeline.vdab.answers_received() + windows + tally.listed + tally.done(),
            windows,
            listed: tally.listed,
            done: tally.done(),
        };
        if let Some(error) = watchdog.look(looked.elapsed(), away, sight) {
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

    /// Minutes until it barks.
    fn minutes(mut sight: impl FnMut(u64) -> (bool, Sight)) -> Option<(u64, SyncError)> {
        let mut watchdog = watchdog();
        (1..10_000).find_map(|minute| {
            let (away, sight) = sight(minute);
            Some((minute, watchdog.look(MINUTE, away, sight)?))
        })
    }

    #[test]
    fn an_id_may_take_its_part_of_whatever_is_slowest() {
        let config = config::Config::load(&config::Env::new([
            ("CVSYNC_API_KEY", "k"),
            ("CVSYNC_DATABASE_URL", "postgres://localhost/x"),
        ]))
        .unwrap();
        let limits = |per_minute, timeout| {
            Limits::new(per_minute, Duration::from_secs(timeout), &config.sync)
        };
        // A thousand CVs that wait for two minutes at most.
        let retries = Duration::from_millis(120);
        assert_eq!(limits(2_000, 30).id, Duration::from_millis(1_875) + retries);
        assert_eq!(limits(1, 30).id, Duration::from_mins(4) + retries);
        assert_eq!(limits(1, 600).silence, Duration::from_mins(21));
        assert_eq!(limits(2_000, 30).silence, SILENCE);
    }

    #[test]
    fn silence_ends_it_unless_something_is_known_to_be_away() {
        let (minute, error) = minutes(|_| (false, Sight::default())).unwrap();
        assert_eq!(minute, 11);
        assert!(matches!(error, SyncError::Stalled(_)));
        assert!(minutes(|_| (true, Sight::default())).is_none());
        let (minute, _) = minutes(|minute| (minute < 100, Sight::default())).unwrap();
        assert_eq!(minute, 110);
    }

    #[test]
    fn a_window_that_crawls_is_overdue_and_one_with_much_in_it_is_not() {
        let crawling = |minute| Sight {
            moves: minute,
            ..Sight::default()
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
        let large = |minute| Sight {
            listed: 600,
            ..crawling(minute)
        };
        assert_eq!(
            minutes(|minute| (false, large(minute))).unwrap().0,
            30 + 40 + 1
        );
    }

    #[test]
    fn a_run_whose_windows_all_settle_is_overdue_too_in_the_end() {
        let endless = |minute| Sight {
            moves: minute,
            windows: minute,
            ..Sight::default()
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
        let full = |minute| Sight {
            listed: 60 * minute,
            done: 60 * minute,
            ..endless(minute)
        };
        assert!(minutes(|minute| (false, full(minute))).is_none());
    }
}
