//! The values that pass from stage to stage of a run.

use std::time::Instant;

use tracing::Span;

use super::in_flight::Slot;
use super::settle::Listed;
use crate::model::{CvId, Fate, Outcome};

/// A CV whose detail must be fetched.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) id: CvId,
    /// The number of its window in the run; `None` for a CV that no window lists, such as a parked one.
    pub(super) window: Option<u64>,
    /// Whether the source lists it as live; also true if no window lists it.
    pub(super) listed_live: bool,
    /// Before this run, if the CV was parked or its delete was held.
    pub(super) first_listed: Instant,
    /// Covers a traced CV from its listing to its commit.
    pub(super) span: Option<Span>,
}

/// From `list` to `fetch`.
#[derive(Debug)]
pub(super) enum Work {
    Fetch(Item),
    /// Its outcome is known without a call.
    Resolved(Resolved),
    Listed(Listed),
}

/// From `fetch` through `batch` to `write`.
#[derive(Debug)]
pub(super) enum Done {
    Resolved(Resolved),
    Listed(Listed),
}

/// A CV with its outcome.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) outcome: Outcome,
    pub(super) first_listed: Instant,
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
