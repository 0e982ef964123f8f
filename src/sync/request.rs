//! The kinds of runs, and the task of each; pure.

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use uuid::Uuid;

use super::delta;
use super::plan::{Part, Plan};
use crate::config;
use crate::model::{Coverage, CvId, Job, Lane, Window};
use crate::telemetry::Horizon;

/// The time from one second listing to the next.
pub(crate) const RELIST_EVERY: TimeDelta = TimeDelta::days(1);

/// A second listing costs a call for each window that a sync listed: a month of them takes some minutes of quota. The
/// nightly comparison covers older changes.
const MOST_RELISTED: TimeDelta = TimeDelta::days(31);

/// The number of days that a comparison lists one by one.
const DAYS_APART: i64 = 5;

/// A request for a run. Only the first three move the watermark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// The incremental sync, up to the time up to which the source is settled: what is new, then the backlog.
    UpToNow,
    /// New changes, on schedule. A window with more changes than the workers can take at once is left to the backlog.
    Live,
    /// The spans before the live edge that are not settled.
    Backlog,
    /// A second listing of the time before the overlap, for changes that became visible late.
    Relist,
    /// A span of VDAB's time.
    Range(Window),
    /// These CVs, even if they are known to be up to date.
    These(Vec<CvId>),
    /// CVs that were confirmed long ago.
    Recheck(Vec<CvId>),
    /// The held deletes that a person approved.
    Approved,
    /// The whole source against the database.
    Reconcile,
}

/// The work of a run.
#[derive(Debug)]
pub(super) enum Task {
    /// List windows, and fetch the CVs that need it. Changes that became visible late are counted under the horizon.
    List(Plan, Option<Horizon>),
    Fetch(Vec<CvId>),
    /// List the whole source, then fetch the CVs that differ.
    Compare(Compare),
}

impl Task {
    /// Whether a run that leaves it for later has done what it was for.
    pub(super) fn is_enough(&self) -> bool {
        match self {
            Self::List(plan, _) => plan.has_listed_the_new(),
            Self::Fetch(_) | Self::Compare(_) => false,
        }
    }

    /// Whether the CVs that it writes are differences that no sync would have fixed.
    pub(super) fn is_difference(&self) -> bool {
        matches!(self, Self::Compare(compare) if !compare.is_pending())
    }
}

/// A span of VDAB's time, which may be empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub van: DateTime<Utc>,
    pub tot: DateTime<Utc>,
}

/// The progress of a comparison.
#[derive(Debug)]
pub(super) struct Compare {
    pub comparison: Comparison,
    pub stage: Stage,
    /// The end of the first window that listed any id: the source may not list older changes.
    pub horizon: Option<DateTime<Utc>>,
    /// Listed ids that have been compared.
    pub listed: u64,
    /// Ids that differ and are still to be fetched.
    pub left: Vec<CvId>,
}

impl Compare {
    /// Whether only pending changes are left, which are not differences.
    pub(super) fn is_pending(&self) -> bool {
        matches!(self.stage, Stage::Pending(_))
    }
}

/// The stages of a comparison, in order.
#[derive(Debug)]
pub(super) enum Stage {
    Whole(Plan),
    /// List the CVs that changed meanwhile, and may have left windows before these were listed.
    Since(Plan),
    /// Fetch the listed CVs after this id that are missing or outdated here.
    Listed(Option<Uuid>),
    /// Fetch the stored CVs after this id that were not listed.
    Unlisted(Option<Uuid>),
    /// Fetch the CVs after this id that did not match CVSYNC_KEEP and were not listed: they may be gone. At most so many more.
    Filtered(Option<Uuid>, usize),
    /// Fetch the CVs after this id that changed after the watermark. The next sync would fetch them too.
    Pending(Option<Uuid>),
}

/// A comparison of the whole source with the database.
#[derive(Clone, Copy, Debug)]
pub(super) struct Comparison {
    /// When it began, in VDAB's time. It also identifies the comparison.
    pub began: DateTime<Utc>,
    /// Later changes are left to the next sync, and are not differences.
    pub watermark: Option<DateTime<Utc>>,
}

/// The marks of earlier runs in the database.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks {
    pub coverage: Coverage,
    /// When a person last moved the watermark back.
    pub rewound_at: Option<DateTime<Utc>>,
    /// The end of the last second listing.
    pub relisted: Option<DateTime<Utc>>,
    /// The ends of earlier windows, in order.
    pub ends: Vec<DateTime<Utc>>,
    /// Since when every confirmed CV is announced, because commits may have been lost.
    pub announcing_since: Option<DateTime<Utc>>,
    /// Stored CVs.
    pub canaries: Vec<CvId>,
    pub approved: Vec<CvId>,
}

impl Comparison {
    /// The number of the comparison in the database.
    pub(super) fn run(self) -> i64 {
        self.began.timestamp_millis()
    }
}

impl Request {
    /// For logs and the status page.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::UpToNow | Self::Live => Job::Sync.as_str(),
            Self::Backlog => "backlog",
            Self::Relist => Job::Relist.as_str(),
            Self::Reconcile => Job::Reconcile.as_str(),
            Self::Range(_) => "backfill",
            Self::These(_) => "resync",
            Self::Recheck(_) => "recheck",
            Self::Approved => "approved deletes",
        }
    }

    /// The job that succeeds with it; `None` for a run that only a person requests.
    pub(super) fn job(&self) -> Option<Job> {
        match self {
            Self::UpToNow | Self::Live => Some(Job::Sync),
            Self::Relist => Some(Job::Relist),
            Self::Reconcile => Some(Job::Reconcile),
            Self::Backlog | Self::Range(_) | Self::These(_) | Self::Recheck(_) | Self::Approved => {
                None
            }
        }
    }

    /// The lane whose place among the workers it takes. A person waits for some.
    #[must_use]
    pub fn lane(&self) -> Lane {
        match self {
            Self::Live | Self::These(_) | Self::Approved => Lane::Live,
            Self::UpToNow
            | Self::Backlog
            | Self::Relist
            | Self::Range(_)
            | Self::Recheck(_)
            | Self::Reconcile => Lane::Backlog,
        }
    }

    /// The time from which it needs the ends of earlier windows.
    pub(super) fn looks_back_to(
        &self,
        settings: &config::Sync,
        coverage: &Coverage,
        relisted: Option<DateTime<Utc>>,
    ) -> Option<DateTime<Utc>> {
        let watermark = coverage.watermark;
        match self {
            Self::UpToNow | Self::Live | Self::Backlog | Self::Reconcile => {
                let before = watermark.unwrap_or(settings.from);
                Some(before - delta(settings.window_overlap))
            }
            Self::Relist => Some(to_relist(settings, watermark?, relisted).van),
            Self::Range(_) | Self::These(_) | Self::Recheck(_) | Self::Approved => None,
        }
    }

    /// The task of the run, in windows of at most `width`. The source is settled up to about `settled`.
    pub(super) fn task(
        self,
        settings: &config::Sync,
        width: TimeDelta,
        marks: &Marks,
        now: DateTime<Utc>,
        settled: DateTime<Utc>,
    ) -> Task {
        let overlap = delta(settings.window_overlap);
        let again = |van, tot| Plan::again(van, tot, overlap, &marks.ends, width);
        let plan = |part| {
            let times = (settings.from, settled);
            let plan = Plan::new(part, &marks.coverage, times, overlap, &marks.ends, width);
            Task::List(plan, Some(Horizon::Overlap))
        };
        match self {
            Self::UpToNow => plan(Part::Both),
            Self::Live => plan(Part::Live),
            Self::Backlog => plan(Part::Backlog),
            Self::Relist => {
                let nothing = Span { van: now, tot: now };
                let span = marks.coverage.watermark.map_or(nothing, |watermark| {
                    to_relist(settings, watermark, marks.relisted)
                });
                Task::List(again(span.van, span.tot), Some(Horizon::Relist))
            }
            Self::Range(window) => Task::List(again(window.van(), window.tot()), None),
            Self::These(ids) | Self::Recheck(ids) => Task::Fetch(ids),
            Self::Approved => Task::Fetch(marks.approved.clone()),
            Self::Reconcile => {
                // Up to now: a stored CV that is not listed, although VDAB has it, would cost a useless call.
                let cut = cuts(marks, overlap, now);
                let plan = Plan::again(settings.from.min(now), now, overlap, &cut, width);
                let comparison = Comparison {
                    began: now,
                    watermark: marks.coverage.watermark,
                };
                Task::Compare(Compare {
                    comparison,
                    stage: Stage::Whole(plan),
                    horizon: None,
                    listed: 0,
                    left: Vec::new(),
                })
            }
        }
    }
}

/// The span of a second listing: CVSYNC_RELIST back from the watermark, and all the time since the last one, but at most
/// [`MOST_RELISTED`].
///
/// A mark after the watermark proves nothing: a clock was wrong, or the watermark was moved back.
pub(super) fn to_relist(
    settings: &config::Sync,
    watermark: DateTime<Utc>,
    mark: Option<DateTime<Utc>>,
) -> Span {
    let overlap = delta(settings.window_overlap);
    let tot = watermark - overlap;
    let reach = watermark - settings.relist.map_or(overlap, delta);
    let furthest = reach.min(watermark - MOST_RELISTED);
    let since = match mark {
        None => reach,
        Some(mark) if mark > watermark => furthest,
        Some(mark) => mark.clamp(furthest, reach.max(furthest)),
    };
    Span {
        van: since.max(settings.from).min(tot),
        tot,
    }
}

/// The times at which the windows of a comparison are cut: at the watermark, since later changes are left to the next sync; at
/// the ends of recent syncs and at the last midnights, so that more windows end before the `as_of` of a CV.
fn cuts(marks: &Marks, overlap: TimeDelta, now: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let Some(watermark) = marks.coverage.watermark else {
        return Vec::new();
    };
    let midnight = now.date_naive().and_time(NaiveTime::MIN).and_utc();
    let days = (0..DAYS_APART).map(|days| midnight - TimeDelta::days(days));
    // Of ends that are closer together than this, one is left out. It must not be the watermark.
    let before = watermark - overlap / 15;
    let ends = marks.ends.iter().copied().chain(days);
    let mut cuts: Vec<_> = ends
        .filter(|end| *end < before)
        .chain([watermark])
        .collect();
    cuts.sort_unstable();
    cuts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Env};

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn relists(mark: Option<&str>, relist: &str) -> Span {
        let config = Config::load(&Env::new([
            ("CVSYNC_API_KEY", "k"),
            ("CVSYNC_DATABASE_URL", "postgres://localhost/x"),
            ("CVSYNC_RELIST", relist),
            ("CVSYNC_SYNC_FROM", "2026-01-01"),
        ]))
        .unwrap();
        to_relist(&config.sync, at("2026-11-24T02:00:00Z"), mark.map(at))
    }

    #[test]
    fn a_second_listing_starts_where_the_last_one_ended() {
        let tot = at("2026-11-24T01:00:00Z");
        for (mark, van) in [
            // The first one, and the daily ones: as far back as is set.
            (None, "2026-11-23T01:00:00Z"),
            (Some("2026-11-23T00:58:00Z"), "2026-11-23T00:58:00Z"),
            (Some("2026-11-23T05:00:00Z"), "2026-11-23T01:00:00Z"),
            // Days of outage.
            (Some("2026-11-14T01:00:00Z"), "2026-11-14T01:00:00Z"),
            // It was off for half a year.
            (Some("2026-05-14T01:00:00Z"), "2026-10-24T02:00:00Z"),
            // A clock was wrong, or the watermark was moved back.
            (Some("2026-11-24T02:00:01Z"), "2026-10-24T02:00:00Z"),
            (Some("2031-01-01T00:00:00Z"), "2026-10-24T02:00:00Z"),
        ] {
            let span = Span { van: at(van), tot };
            assert_eq!(relists(mark, "25h"), span, "{mark:?}");
        }
        let far = relists(Some("2026-11-23T00:58:00Z"), "60d");
        assert_eq!(far.van, at("2026-09-25T02:00:00Z"), "as far back as is set");
        let all = relists(None, "3650d");
        assert_eq!(
            all.van,
            at("2026-01-01T00:00:00Z"),
            "where the first sync began"
        );
    }
}
