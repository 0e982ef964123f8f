//! The two lanes as status shows them.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::model::{Coverage, Window};
use crate::sync::Snapshot;

/// The live lane.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Live {
    /// Every change since then is here.
    pub since: DateTime<Utc>,
    pub up_to: DateTime<Utc>,
    /// VDAB's time now minus `up_to`.
    pub lag_seconds: i64,
}

impl Live {
    /// `None` before the first sync.
    #[must_use]
    pub(crate) fn of(coverage: &Coverage, from: DateTime<Utc>, now: DateTime<Utc>) -> Option<Self> {
        let up_to = coverage.live_edge()?;
        Some(Self {
            since: coverage.gaps(from).first().map_or(from, Window::tot),
            up_to,
            lag_seconds: (now - up_to).num_seconds(),
        })
    }
}

/// Older changes that are missing.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Backlog {
    /// Earliest time of a change that is missing.
    pub oldest: DateTime<Utc>,
    /// Latest time of a change that is missing.
    pub newest: DateTime<Utc>,
    /// VDAB's time that is not settled.
    pub seconds: i64,
    /// The part of its CVs that the current run has handled, from 0 to 1.
    pub share: Option<f64>,
    pub eta_seconds: Option<u64>,
}

impl Backlog {
    #[must_use]
    pub(crate) fn of(
        coverage: &Coverage,
        from: DateTime<Utc>,
        run: Option<&Snapshot>,
    ) -> Option<Self> {
        let gaps = coverage.gaps(from);
        let seconds: TimeDelta = gaps.iter().map(Window::width).sum();
        Some(Self {
            oldest: gaps.last()?.van(),
            newest: gaps.first()?.tot(),
            seconds: seconds.num_seconds(),
            share: run.map(Snapshot::share),
            eta_seconds: run.and_then(|run| run.eta_seconds),
        })
    }
}
