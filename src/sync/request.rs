//! What a run may be asked for, and what that means for its first stage; pure.

use chrono::{DateTime, TimeDelta, Utc};

use super::delta;
use super::plan::Plan;
use crate::config;
use crate::model::{CvId, Window};

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
    /// The whole source against the database.
    Reconcile,
}

/// What a run begins with.
#[derive(Debug)]
pub(super) enum Task {
    /// List these windows and fetch what is needed. What windows that were settled before still show as new became
    /// visible late, and is counted under this word.
    List(Plan, Option<&'static str>),
    /// Fetch these.
    Fetch(Vec<CvId>),
    /// List these windows, then fetch what differs.
    Compare(Plan, Comparison),
    /// Fetch what the comparison saw and left to the next sync.
    Rest(Comparison),
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
    /// Where earlier windows ended, in order.
    pub ends: Vec<DateTime<Utc>>,
    /// CVs that should be there.
    pub canaries: Vec<CvId>,
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
            Self::UpToNow => "sync",
            Self::Relist => "relist",
            Self::Range(_) => "backfill",
            Self::These(_) => "resync",
            Self::Reconcile => "reconcile",
        }
    }

    /// The name of the job in `job_success`, for those whose silence is worth an alarm.
    pub(super) fn job(&self) -> Option<&'static str> {
        match self {
            Self::UpToNow => Some("sync"),
            Self::Relist => Some("relist"),
            Self::Reconcile => Some("reconcile"),
            Self::Range(_) | Self::These(_) => None,
        }
    }

    /// How far back it has to know where earlier windows ended.
    pub(super) fn reach(&self, settings: &config::Sync) -> Option<TimeDelta> {
        match self {
            Self::UpToNow => Some(delta(settings.window_overlap)),
            Self::Relist => settings.relist.map(delta),
            Self::Range(_) | Self::These(_) | Self::Reconcile => None,
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
                Task::List(plan, Some("overlap"))
            }
            Self::Relist => {
                let tot = marks.watermark.unwrap_or(settings.from) - overlap;
                let reach = settings.relist.map_or(overlap, delta);
                let plan = again((tot + overlap - reach).min(tot), tot);
                Task::List(plan, Some("relist"))
            }
            Self::Range(window) => Task::List(again(window.van(), window.tot()), None),
            Self::These(ids) => Task::Fetch(ids),
            Self::Reconcile => {
                // Up to now: what the source does not list although it has it would be asked for in vain.
                let cut = marks.watermark.as_slice();
                let plan = Plan::again(settings.from.min(now), now, overlap, cut, width);
                let comparison = Comparison {
                    began: now,
                    watermark: marks.watermark,
                };
                Task::Compare(plan, comparison)
            }
        }
    }
}
