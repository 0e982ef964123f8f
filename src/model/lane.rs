//! The two lanes in which changes arrive.

use super::closed_set::closed_set;

closed_set! {
    /// A lane; the column `lane` of `sync_window`, and the label `lane` of metrics.
    pub Lane {
        /// New changes, listed on schedule. They take workers first.
        Live = "live",
        /// Everything else: the first sync, catching up, comparisons, and what a person requests.
        Backlog = "backlog",
    }
}
