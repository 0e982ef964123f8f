//! The current time, which tests can set; the only caller of "now".

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};

/// This machine's wall clock, with a skew that tests can set. Clones share the skew.
///
/// Decisions about windows must not depend on it alone, because windows follow VDAB's time.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    skew_ms: Arc<AtomicI64>,
    passed_ms: Arc<AtomicI64>,
}

impl Clock {
    /// The machine's time, plus the skew.
    #[must_use]
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place that asks the machine for its time"
    )]
    pub fn now(&self) -> DateTime<Utc> {
        self.witness(Utc::now()) + TimeDelta::milliseconds(self.skew_ms.load(Ordering::Relaxed))
    }

    /// A reading of a clock that tests cannot set, such as PostgreSQL's, plus the time that tests let pass.
    #[must_use]
    pub fn witness(&self, reading: DateTime<Utc>) -> DateTime<Utc> {
        reading + TimeDelta::milliseconds(self.passed_ms.load(Ordering::Relaxed))
    }

    /// Sets this clock and its clones wrong by `skew`: ahead, or behind if it is negative.
    pub fn set_skew(&self, skew: TimeDelta) {
        self.skew_ms
            .store(skew.num_milliseconds(), Ordering::Relaxed);
    }

    /// Lets `time` pass for this clock, its clones and the clocks that they witness.
    pub fn pass(&self, time: TimeDelta) {
        self.passed_ms
            .fetch_add(time.num_milliseconds(), Ordering::Relaxed);
    }
}
