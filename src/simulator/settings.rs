//! Settings of the simulated source: key, quota and limits.

use chrono::TimeDelta;

/// Settings that can change while the simulator runs.
#[derive(Clone)]
pub struct Settings {
    pub key: String,
    /// The quota of each operation; none if `None` or 0.
    pub rate_per_minute: Option<u32>,
    /// The widest window of bulk calls.
    pub max_window: TimeDelta,
    /// Whether responses have a `Date` header.
    pub send_date: bool,
    /// How far that header is ahead of the clock of the list.
    pub date_ahead: TimeDelta,
}
