//! The schedule of the backlog lane: the backlog first, comparisons on their schedule, a second listing once a day; pure.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::again::{after, is_again, pauses};
use super::schedule::Ticker;
use crate::config;
use crate::model::{Coverage, Job};
use crate::pauses::Pauses;
use crate::sync::{RELIST_EVERY, Request};

/// A comparison or a second listing that failed is tried again after so long.
const AGAIN: TimeDelta = TimeDelta::minutes(20);

/// Between two handfuls of CVs that are asked for again.
const RECHECK_EVERY: TimeDelta = TimeDelta::seconds(15);

/// And once there were none to ask for.
const RECHECK_IDLE: TimeDelta = TimeDelta::minutes(10);

/// When the backlog lane works, and at what.
#[derive(Debug)]
pub(super) struct Agenda {
    reconcile: Option<Ticker>,
    /// A comparison that failed comes again before its schedule.
    reconcile_at: Option<DateTime<Utc>>,
    relist: Option<DateTime<Utc>>,
    recheck: DateTime<Utc>,
    /// When the backlog is tried again after a failure.
    backlog_at: Option<DateTime<Utc>>,
    pauses: Pauses,
}

impl Agenda {
    /// For an instance that begins to lead: each is due when it was last done long enough ago.
    pub(super) fn new(
        settings: &config::Sync,
        now: DateTime<Utc>,
        last_success: &BTreeMap<Job, DateTime<Utc>>,
    ) -> Self {
        let last = |job| last_success.get(&job).copied().filter(|at| *at < now);
        let ticker = |schedule: &config::Schedule, from| Ticker::new(schedule.clone(), from);
        let reconciled = last(Job::Reconcile).unwrap_or(now);
        Self {
            reconcile: settings
                .reconcile_schedule
                .as_ref()
                .map(|schedule| ticker(schedule, reconciled)),
            reconcile_at: None,
            relist: settings
                .relist
                .map(|_| last(Job::Relist).map_or(now, |at| at + RELIST_EVERY)),
            recheck: now + RECHECK_IDLE,
            backlog_at: None,
            pauses: pauses(),
        }
    }

    /// The run that is due now. A backlog goes first, unless it has just failed.
    pub(super) fn due(&mut self, now: DateTime<Utc>, coverage: Covered) -> Option<Request> {
        let waits = self.backlog_at.is_some() && !is_again(self.backlog_at, now);
        match coverage {
            Covered::Nothing => None,
            Covered::WithGaps if !waits => Some(Request::Backlog),
            // A window that fails must not keep the comparison from being made.
            Covered::WithGaps | Covered::All => self.due_beside(now),
        }
    }

    fn due_beside(&mut self, now: DateTime<Utc>) -> Option<Request> {
        let on_schedule = |ticker: &mut Ticker| ticker.is_due(now);
        if is_again(self.reconcile_at, now) || self.reconcile.as_mut().is_some_and(on_schedule) {
            Some(Request::Reconcile)
        } else if self.relist.is_some_and(|at| at <= now) {
            Some(Request::Relist)
        } else {
            None
        }
    }

    pub(super) fn done(&mut self, request: &Request, now: DateTime<Utc>, failed: bool) {
        match request {
            Request::Backlog => self.backlog_at = after(&mut self.pauses, now, failed),
            Request::Reconcile => {
                if let Some(ticker) = &mut self.reconcile {
                    ticker.skip_to(now);
                }
                self.reconcile_at = failed.then(|| now + AGAIN);
            }
            Request::Relist => {
                self.relist = Some(now + if failed { AGAIN } else { RELIST_EVERY });
            }
            _ => {}
        }
    }

    /// Whether there is time for CVs that were confirmed long ago.
    pub(super) fn may_recheck(&self, now: DateTime<Utc>) -> bool {
        self.recheck <= now
    }

    /// A handful was fetched again, or there was none to fetch.
    pub(super) fn rechecked(&mut self, now: DateTime<Utc>, any: bool) {
        self.recheck = now + if any { RECHECK_EVERY } else { RECHECK_IDLE };
    }
}

/// How much of the source's time up to the live edge is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Covered {
    /// Before the first sync.
    Nothing,
    WithGaps,
    All,
}

impl Covered {
    pub(super) fn of(coverage: &Coverage, from: DateTime<Utc>) -> Self {
        match coverage.live_edge() {
            None => Self::Nothing,
            Some(_) if coverage.gaps(from).is_empty() => Self::All,
            Some(_) => Self::WithGaps,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Env};

    fn settings() -> config::Sync {
        let config = Config::load(&Env::new([
            ("CVSYNC_API_KEY", "k"),
            ("CVSYNC_DATABASE_URL", "postgres://localhost/x"),
        ]));
        config.unwrap().sync
    }

    fn agenda(now: DateTime<Utc>) -> Agenda {
        let reconciled = (Job::Reconcile, at("2026-11-23T02:31:00Z"));
        let relisted = (Job::Relist, at("2026-11-23T02:01:00Z"));
        Agenda::new(&settings(), now, &BTreeMap::from([reconciled, relisted]))
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_run_that_failed_comes_again_sooner() {
        let mut agenda = agenda(at("2026-11-23T12:01:00Z"));
        agenda.done(&Request::Backlog, at("2026-11-23T12:01:00Z"), true);
        let due = |agenda: &mut Agenda, now, covered| agenda.due(at(now), covered);
        let gaps = Covered::WithGaps;
        agenda.done(&Request::Reconcile, at("2026-11-23T12:01:00Z"), false);
        agenda.done(&Request::Relist, at("2026-11-23T12:01:00Z"), false);
        assert_eq!(due(&mut agenda, "2026-11-23T12:01:01Z", gaps), None);
        assert_eq!(
            due(&mut agenda, "2026-11-23T12:01:09Z", gaps),
            Some(Request::Backlog)
        );
        agenda.done(&Request::Reconcile, at("2026-11-23T12:02:00Z"), true);
        assert_eq!(due(&mut agenda, "2026-11-23T12:21:59Z", Covered::All), None);
        assert_eq!(
            due(&mut agenda, "2026-11-23T12:22:01Z", Covered::All),
            Some(Request::Reconcile)
        );
    }

    #[test]
    fn a_backlog_goes_before_a_comparison_unless_it_fails() {
        let now = at("2026-11-25T12:00:00Z");
        let mut agenda = agenda(now);
        assert_eq!(agenda.due(now, Covered::Nothing), None);
        assert_eq!(agenda.due(now, Covered::WithGaps), Some(Request::Backlog));
        agenda.done(&Request::Backlog, now, true);
        assert_eq!(agenda.due(now, Covered::WithGaps), Some(Request::Reconcile));
        assert_eq!(agenda.due(now, Covered::All), Some(Request::Reconcile));
    }

    #[test]
    fn the_comparison_comes_at_night_and_the_second_listing_once_a_day_whichever_instance_leads() {
        // Both were last done the day before, by the instance that led then.
        let mut agenda = agenda(at("2026-11-24T01:58:00Z"));
        let due = |agenda: &mut Agenda, now| agenda.due(at(now), Covered::All);
        assert_eq!(due(&mut agenda, "2026-11-24T01:59:01Z"), None);
        assert_eq!(
            due(&mut agenda, "2026-11-24T02:01:01Z"),
            Some(Request::Relist)
        );
        agenda.done(&Request::Relist, at("2026-11-24T02:02:00Z"), false);
        assert_eq!(due(&mut agenda, "2026-11-24T02:03:00Z"), None);
        assert_eq!(
            due(&mut agenda, "2026-11-24T02:30:01Z"),
            Some(Request::Reconcile)
        );
        agenda.done(&Request::Reconcile, at("2026-11-24T02:33:00Z"), false);
        assert_eq!(due(&mut agenda, "2026-11-24T02:33:01Z"), None);
    }

    #[test]
    fn the_second_listing_does_not_wait_for_a_process_that_runs_for_a_day() {
        let now = at("2026-11-24T09:00:00Z");
        // Never, days ago, and by a clock that was wrong: it is due as soon as the backlog is settled.
        for last in [
            None,
            Some("2026-11-20T02:00:00Z"),
            Some("2031-01-01T00:00:00Z"),
        ] {
            let last = last.map(|last| (Job::Relist, at(last)));
            let mut agenda = Agenda::new(&settings(), now, &last.into_iter().collect());
            assert_eq!(agenda.due(now, Covered::All), Some(Request::Relist));
        }
    }

    #[test]
    fn an_instance_that_takes_over_late_does_what_was_missed() {
        let mut agenda = agenda(at("2026-11-24T09:00:00Z"));
        assert_eq!(
            agenda.due(at("2026-11-24T09:01:01Z"), Covered::All),
            Some(Request::Reconcile)
        );
    }
}
