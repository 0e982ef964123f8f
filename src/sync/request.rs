//! What a run may be asked for, and what that means for its first stage; pure.

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use uuid::Uuid;

use super::delta;
use super::plan::Plan;
use crate::config;
use crate::model::{CvId, Job, Window};
use crate::telemetry::Horizon;

/// From one second listing to the next.
pub(crate) const RELIST_EVERY: TimeDelta = TimeDelta::days(1);

/// A second listing costs a call for each piece that a sync listed: a month of them is some minutes of quota. The comparison at night
/// covers what is older.
const MOST_RELISTED: TimeDelta = TimeDelta::days(31);

/// A comparison lists the last days one by one.
const DAYS_APART: i64 = 5;

/// What a run is to do. Only [`UpToNow`](Self::UpToNow) moves the watermark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// From the watermark to where the source is settled: the incremental sync.
    UpToNow,
    /// What lies behind the overlap, once more, to catch what became visible late.
    Relist,
    /// A span of the source's time.
    Range(Window),
    /// These CVs, whatever is known of them.
    These(Vec<CvId>),
    /// The held deletes that a person approved.
    Approved,
    /// The whole source against the database.
    Reconcile,
}

/// What a run begins with.
#[derive(Debug)]
pub(super) enum Task {
    /// List these windows and fetch what is needed. What windows that were settled before still show as new became
    /// visible late, and is counted under this horizon.
    List(Plan, Option<Horizon>),
    /// Fetch these.
    Fetch(Vec<CvId>),
    /// List the whole source, then fetch what differs.
    Compare(Compare),
}

impl Task {
    /// Whether the CVs that it writes differed, and will not be brought by the next sync.
    pub(super) fn is_difference(&self) -> bool {
        matches!(self, Self::Compare(compare) if !compare.is_pending())
    }
}

/// How far a comparison is.
#[derive(Debug)]
pub(super) struct Compare {
    pub comparison: Comparison,
    pub stage: Stage,
    /// The end of the first window that held anything: the source may tell nothing of what lies before it.
    pub horizon: Option<DateTime<Utc>>,
    /// Ids that the source listed, as far as they were compared.
    pub listed: u64,
    /// Ids that differ and were not fetched yet.
    pub left: Vec<CvId>,
}

impl Compare {
    /// Whether it has come to what is no difference.
    pub(super) fn is_pending(&self) -> bool {
        matches!(self.stage, Stage::Pending(_))
    }
}

/// The stages of a comparison, in order.
#[derive(Debug)]
pub(super) enum Stage {
    /// List everything.
    Whole(Plan),
    /// List what changed meanwhile, and has left the windows that were listed last.
    Since(Plan),
    /// Fetch what the source lists otherwise than it is here, behind this id.
    Listed(Option<Uuid>),
    /// Fetch what is here and was not listed, behind this id.
    Unlisted(Option<Uuid>),
    /// Fetch what changed behind the watermark, behind this id: no difference, since the next sync brings it.
    Pending(Option<Uuid>),
}

/// A comparison of the whole source with the database.
#[derive(Clone, Copy, Debug)]
pub(super) struct Comparison {
    /// When it began, in the source's time: tells comparisons apart.
    pub began: DateTime<Utc>,
    /// What changed behind it is the next sync's, and no difference.
    pub watermark: Option<DateTime<Utc>>,
}

/// What the database knows of earlier runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks {
    /// Where the watermark stands.
    pub watermark: Option<DateTime<Utc>>,
    /// Where the last second listing ended.
    pub relisted: Option<DateTime<Utc>>,
    /// Where earlier windows ended, in order.
    pub ends: Vec<DateTime<Utc>>,
    /// CVs that should be there.
    pub canaries: Vec<CvId>,
    /// For [`Request::Approved`].
    pub approved: Vec<CvId>,
}

impl Comparison {
    /// Its number in the database.
    pub(super) fn run(self) -> i64 {
        self.began.timestamp_millis()
    }
}

impl Request {
    /// A word for it, for people.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::UpToNow => Job::Sync.as_str(),
            Self::Relist => Job::Relist.as_str(),
            Self::Reconcile => Job::Reconcile.as_str(),
            Self::Range(_) => "backfill",
            Self::These(_) => "resync",
            Self::Approved => "approved deletes",
        }
    }

    /// The job that has succeeded once this has; none for what only a person asks for.
    pub(super) fn job(&self) -> Option<Job> {
        match self {
            Self::UpToNow => Some(Job::Sync),
            Self::Relist => Some(Job::Relist),
            Self::Reconcile => Some(Job::Reconcile),
            Self::Range(_) | Self::These(_) | Self::Approved => None,
        }
    }

    /// From where on it has to know where earlier windows ended.
    pub(super) fn looks_back_to(
        &self,
        settings: &config::Sync,
        watermark: Option<DateTime<Utc>>,
        relisted: Option<DateTime<Utc>>,
    ) -> Option<DateTime<Utc>> {
        match self {
            Self::UpToNow | Self::Reconcile => {
                Some(watermark.unwrap_or(settings.from) - delta(settings.window_overlap))
            }
            Self::Relist => Some(to_relist(settings, watermark?, relisted).0),
            Self::Range(_) | Self::These(_) | Self::Approved => None,
        }
    }

    /// The first stage of the run, in windows of at most `width`.
    pub(super) fn task(
        self,
        settings: &config::Sync,
        width: TimeDelta,
        marks: &Marks,
        now: DateTime<Utc>,
    ) -> Task {
        let overlap = delta(settings.window_overlap);
        let again = |van, tot| Plan::again(van, tot, overlap, &marks.ends, width);
        match self {
            Self::UpToNow => {
                let from = settings.from;
                let plan = Plan::new(marks.watermark, from, overlap, &marks.ends, width);
                Task::List(plan, Some(Horizon::Overlap))
            }
            Self::Relist => {
                let span = marks
                    .watermark
                    .map(|watermark| to_relist(settings, watermark, marks.relisted));
                let (van, tot) = span.unwrap_or((now, now));
                Task::List(again(van, tot), Some(Horizon::Relist))
            }
            Self::Range(window) => Task::List(again(window.van(), window.tot()), None),
            Self::These(ids) => Task::Fetch(ids),
            Self::Approved => Task::Fetch(marks.approved.clone()),
            Self::Reconcile => {
                // Up to now: what the source does not list although it has it would be asked for in vain.
                let cut = cuts(marks, overlap, now);
                let plan = Plan::again(settings.from.min(now), now, overlap, &cut, width);
                let comparison = Comparison {
                    began: now,
                    watermark: marks.watermark,
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

/// What a second listing covers: CVSYNC_RELIST back from the watermark, and all since the last one, but no more than
/// [`MOST_RELISTED`]. A mark ahead of the watermark proves nothing: a clock was wrong, or the watermark was moved back.
pub(super) fn to_relist(
    settings: &config::Sync,
    watermark: DateTime<Utc>,
    mark: Option<DateTime<Utc>>,
) -> (DateTime<Utc>, DateTime<Utc>) {
    let overlap = delta(settings.window_overlap);
    let tot = watermark - overlap;
    let reach = watermark - settings.relist.map_or(overlap, delta);
    let furthest = reach.min(watermark - MOST_RELISTED);
    let since = match mark {
        None => reach,
        Some(mark) if mark > watermark => furthest,
        Some(mark) => mark.clamp(furthest, reach.max(furthest)),
    };
    (since.max(settings.from).min(tot), tot)
}

/// Where the windows of a comparison are cut: at the watermark, since what lies behind it is the next sync's; where syncs ended lately
/// and at the last days' midnights, so that more of them lie before what is known of a CV.
fn cuts(marks: &Marks, overlap: TimeDelta, now: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let Some(watermark) = marks.watermark else {
        return Vec::new();
    };
    let midnight = now.date_naive().and_time(NaiveTime::MIN).and_utc();
    let days = (0..DAYS_APART).map(|days| midnight - TimeDelta::days(days));
    // Ends that are closer together than this are one: it must not be the watermark that is left out.
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

    fn relists(mark: Option<&str>, relist: &str) -> (DateTime<Utc>, DateTime<Utc>) {
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
            // The first one, and those of each day: as far back as is set.
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
            assert_eq!(relists(mark, "25h"), (at(van), tot), "{mark:?}");
        }
        let far = relists(Some("2026-11-23T00:58:00Z"), "60d");
        assert_eq!(far.0, at("2026-09-25T02:00:00Z"), "as far back as is set");
        let all = relists(None, "3650d");
        assert_eq!(
            all.0,
            at("2026-01-01T00:00:00Z"),
            "where the first sync began"
        );
    }
}
