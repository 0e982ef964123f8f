//! The source's own settings: its key, its quota and its limits.

use chrono::TimeDelta;

/// What can be changed while the simulator runs.
#[derive(Clone)]
pub struct Settings {
    /// The API key that is accepted.
    pub key: String,
    /// The quota of each operation; none if `None` or 0.
    pub rate_per_minute: Option<u32>,
    /// The widest window that bulk answers.
    pub max_window: TimeDelta,
    /// Whether answers carry a `Date` header.
    pub send_date: bool,
    /// How far that header is ahead of the clock by which changes are listed.
    pub date_ahead: TimeDelta,
}
