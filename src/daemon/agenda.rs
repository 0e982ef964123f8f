//! The schedule of the leader: syncs and comparisons on their schedules, a second listing once a day; pure.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::schedule::Ticker;
use crate::config;
use crate::model::Job;
use crate::pauses::Pauses;
use crate::sync::{RELIST_EVERY, Request};

/// A sync that failed is tried again after so long, and then more, unless its schedule has it earlier.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// A comparison or a second listing that failed is tried again after so long.
const AGAIN: TimeDelta = TimeDelta::minutes(20);

/// Between two handfuls of CVs that are asked for again.
const RECHECK_EVERY: TimeDelta = TimeDelta::seconds(15);

/// And once there were none to ask for.
const RECHECK_IDLE: TimeDelta = TimeDelta::minutes(10);

/// The runs that were made, as far as they decide which run is next.
#[derive(Debug)]
pub(super) struct Agenda {
    sync: Ticker,
    reconcile: Option<Ticker>,
    /// A comparison that failed comes again before its schedule.
    reconcile_at: Option<DateTime<Utc>>,
    relist: Option<DateTime<Utc>>,
    recheck: DateTime<Utc>,
    /// A sync is due whatever the schedule says: the first one, or one that failed.
    sync_at: Option<DateTime<Utc>>,
    pauses: Pauses,
}

impl Agenda {
    /// For an instance that begins to lead: a sync is due at once, the rest when it was last done long enough ago.
    pub(super) fn new(
        settings: &config::Sync,
        now: DateTime<Utc>,
        last_success: &BTreeMap<Job, DateTime<Utc>>,
    ) -> Self {
        let last = |job| last_success.get(&job).copied().filter(|at| *at < now);
        let ticker = |schedule: &config::Schedule, from| Ticker::new(schedule.clone(), from);
        let reconciled = last(Job::Reconcile).unwrap_or(now);
        Self {
            sync: ticker(&settings.schedule, now),
            reconcile: settings
                .reconcile_schedule
                .as_ref()
                .map(|schedule| ticker(schedule, reconciled)),
            reconcile_at: None,
            relist: settings
                .relist
                .map(|_| last(Job::Relist).map_or(now, |at| at + RELIST_EVERY)),
            recheck: now + RECHECK_IDLE,
            sync_at: Some(now),
            pauses: Pauses::new(FIRST_PAUSE, LONGEST_PAUSE),
        }
    }

    /// The run that is due now. A sync goes first.
    pub(super) fn due(&mut self, now: DateTime<Utc>) -> Option<Request> {
        // A clock that was set back would let what failed wait for as long as it was set back.
        let again = |at: Option<DateTime<Utc>>| {
            at.is_some_and(|at| at <= now || at > now + TimeDelta::hours(1))
        };
        let on_schedule = |ticker: &mut Ticker| ticker.is_due(now);
        if again(self.sync_at) || self.sync.is_due(now) {
            Some(Request::UpToNow)
        } else if again(self.reconcile_at) || self.reconcile.as_mut().is_some_and(on_schedule) {
            Some(Request::Reconcile)
        } else if self.sync_at.is_none() && self.relist.is_some_and(|at| at <= now) {
            // It has nothing to list before the first sync has succeeded.
            Some(Request::Relist)
        } else {
            None
        }
    }

    /// Whether a sync is due by now.
    pub(super) fn sync_is_due(&self, now: DateTime<Utc>) -> bool {
        self.next_sync().is_some_and(|at| at <= now)
    }

    /// When the next sync starts.
    pub(super) fn next_sync(&self) -> Option<DateTime<Utc>> {
        [self.sync.next_tick(), self.sync_at]
            .into_iter()
            .flatten()
            .min()
    }

    /// Ticks that came while a run was under way are one, and it has just been served.
    pub(super) fn done(&mut self, request: &Request, now: DateTime<Utc>, failed: bool) {
        match request {
            Request::UpToNow => {
                self.sync.skip_to(now);
                self.sync_at = if failed {
                    let pause = TimeDelta::from_std(self.pauses.next_pause()).unwrap_or_default();
                    Some(now + pause)
                } else {
                    self.pauses = Pauses::new(FIRST_PAUSE, LONGEST_PAUSE);
                    None
                };
            }
            Request::Reconcile => {
                if let Some(ticker) = &mut self.reconcile {
                    ticker.skip_to(now);
                }
                self.reconcile_at = failed.then(|| now + AGAIN);
            }
            Request::Relist => {
                self.relist = Some(now + if failed { AGAIN } else { RELIST_EVERY });
            }
            Request::Range(_) | Request::These(_) | Request::Approved => {}
        }
    }

    /// Whether there is time for CVs that were confirmed long ago.
    pub(super) fn may_recheck(&self, now: DateTime<Utc>) -> bool {
        self.recheck <= now
    }

    /// A handful was asked for, or there was none to ask for.
    pub(super) fn rechecked(&mut self, now: DateTime<Utc>, any: bool) {
        self.recheck = now + if any { RECHECK_EVERY } else { RECHECK_IDLE };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Env};

    fn agenda(now: DateTime<Utc>) -> Agenda {
        let config = Config::load(&Env::new([
            ("CVSYNC_API_KEY", "k"),
            ("CVSYNC_DATABASE_URL", "postgres://localhost/x"),
        ]))
        .unwrap();
        let reconciled = (Job::Reconcile, at("2026-11-23T02:31:00Z"));
        let relisted = (Job::Relist, at("2026-11-23T02:01:00Z"));
        Agenda::new(&config.sync, now, &BTreeMap::from([reconciled, relisted]))
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_sync_at_start_and_then_by_schedule() {
        let mut agenda = agenda(at("2026-11-23T12:01:00Z"));
        assert_eq!(
            agenda.due(at("2026-11-23T12:01:00Z")),
            Some(Request::UpToNow)
        );
        agenda.done(&Request::UpToNow, at("2026-11-23T12:06:00Z"), false);
        let early = agenda.due(at("2026-11-23T12:09:59Z"));
        assert_eq!(early, None, "the tick at five past is served");
        assert_eq!(
            agenda.due(at("2026-11-23T12:10:00Z")),
            Some(Request::UpToNow)
        );
    }

    #[test]
    fn what_failed_comes_again_sooner() {
        let mut agenda = agenda(at("2026-11-23T12:01:00Z"));
        agenda.done(&Request::UpToNow, at("2026-11-23T12:01:00Z"), true);
        assert_eq!(agenda.due(at("2026-11-23T12:01:01Z")), None);
        assert_eq!(
            agenda.due(at("2026-11-23T12:01:09Z")),
            Some(Request::UpToNow)
        );
        agenda.done(&Request::UpToNow, at("2026-11-23T12:02:00Z"), false);
        agenda.done(&Request::Reconcile, at("2026-11-23T12:02:00Z"), true);
        agenda.done(&Request::UpToNow, at("2026-11-23T12:21:00Z"), false);
        assert_eq!(agenda.due(at("2026-11-23T12:21:59Z")), None);
        assert_eq!(
            agenda.due(at("2026-11-23T12:22:01Z")),
            Some(Request::Reconcile)
        );
    }

    #[test]
    fn the_comparison_comes_at_night_and_the_second_listing_once_a_day_whoever_leads() {
        // Both were last done the day before, by whoever led then.
        let mut agenda = agenda(at("2026-11-24T01:58:00Z"));
        agenda.done(&Request::UpToNow, at("2026-11-24T01:59:00Z"), false);
        assert_eq!(agenda.due(at("2026-11-24T01:59:01Z")), None);
        agenda.done(&Request::UpToNow, at("2026-11-24T02:01:00Z"), false);
        assert_eq!(
            agenda.due(at("2026-11-24T02:01:01Z")),
            Some(Request::Relist)
        );
        agenda.done(&Request::Relist, at("2026-11-24T02:02:00Z"), false);
        assert_eq!(agenda.due(at("2026-11-24T02:03:00Z")), None);
        agenda.done(&Request::UpToNow, at("2026-11-24T02:30:00Z"), false);
        assert_eq!(
            agenda.due(at("2026-11-24T02:30:01Z")),
            Some(Request::Reconcile)
        );
        agenda.done(&Request::Reconcile, at("2026-11-24T02:33:00Z"), false);
        assert_eq!(agenda.due(at("2026-11-24T02:33:01Z")), None);
    }

    #[test]
    fn the_second_listing_does_not_wait_for_a_process_that_runs_for_a_day() {
        let config = Config::load(&Env::new([
            ("CVSYNC_API_KEY", "k"),
            ("CVSYNC_DATABASE_URL", "postgres://localhost/x"),
        ]))
        .unwrap();
        let now = at("2026-11-24T09:00:00Z");
        // Never, days ago, and by a clock that was wrong: it is due as soon as the sync is done.
        for last in [
            None,
            Some("2026-11-20T02:00:00Z"),
            Some("2031-01-01T00:00:00Z"),
        ] {
            let last = last.map(|last| (Job::Relist, at(last)));
            let mut agenda = Agenda::new(&config.sync, now, &last.into_iter().collect());
            assert_eq!(agenda.due(now), Some(Request::UpToNow));
            agenda.done(&Request::UpToNow, now, false);
            assert_eq!(agenda.due(now), Some(Request::Relist));
        }
    }

    #[test]
    fn one_that_takes_over_late_does_what_was_missed() {
        let mut agenda = agenda(at("2026-11-24T09:00:00Z"));
        agenda.done(&Request::UpToNow, at("2026-11-24T09:01:00Z"), false);
        assert_eq!(
            agenda.due(at("2026-11-24T09:01:01Z")),
            Some(Request::Reconcile)
        );
    }
}
