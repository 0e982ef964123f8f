//! The values that pass from stage to stage of a run.

use chrono::{DateTime, Utc};
use tracing::Span;

use super::in_flight::Slot;
use super::settle::Listed;
use crate::model::{CvId, Fate, Lane, Outcome};

/// The values that all parts of a run share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) lane: Lane,
    /// When a person had last moved the watermark back, as the run began.
    pub(super) rewound_at: Option<DateTime<Utc>>,
    /// Whether it retries parked CVs. One lane does.
    pub(super) retries: bool,
}

/// A CV whose detail must be fetched.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) id: CvId,
    /// The number of its window in the run; `None` for a CV that no window lists, such as a parked one.
    pub(super) window: Option<u64>,
    /// Whether the source lists it as live; also true if no window lists it.
    pub(super) listed_live: bool,
    pub(super) origin: Origin,
    /// Covers a traced CV from its listing to its commit.
    pub(super) span: Option<Span>,
}

/// The origin of a change, for the measure of its delay.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    pub(super) lane: Lane,
    /// The earliest time at which the source can have shown the change: the start of its window, or the time at which the CV was
    /// parked or its delete was held. `None` if that is unknown.
    pub(super) since: Option<DateTime<Utc>>,
}

/// From `list` and `fetch` through `batch` to `write`.
#[derive(Debug)]
pub(super) enum Done {
    Resolved(Resolved),
    Listed(Listed),
}

/// A CV with its outcome.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) outcome: Outcome,
    pub(super) origin: Origin,
    /// Kept until the commit, if the outcome has cost a call.
    pub(super) slot: Option<Slot>,
    pub(super) span: Option<Span>,
}

impl Done {
    /// A rough number of bytes in memory.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Resolved(Resolved {
                outcome:
                    Outcome {
                        fate: Fate::Live(_, document),
                        ..
                    },
                ..
            }) => document.json().len(),
            Self::Resolved(_) | Self::Listed(_) => 64,
        }
    }
}
