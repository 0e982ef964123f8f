//! The result of a run.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::model::{Difference, Tally};

/// The result of a run.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Summary {
    pub windows: u64,
    /// The results of their ids.
    #[serde(flatten)]
    pub tally: Tally,
    /// The watermark, if it moved.
    pub watermark: Option<DateTime<Utc>>,
    /// The differences that a comparison of the whole source with the database found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<Difference>,
    pub calls: u64,
    /// Whether the run stopped early: the process ends, or the next run is due.
    pub interrupted: bool,
}
