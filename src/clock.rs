//! The time of day as a value that tests can set; the only caller of "now".

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};

/// This machine's wall clock, with a skew that tests can set. Clones share the skew.
///
/// Nothing that decides about windows may rest on it alone: windows are cut in the source's time.
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

    /// Lets this clock and its clones run ahead (or, if negative, behind) by `skew`: it is wrong by that.
    pub fn set_skew(&self, skew: TimeDelta) {
        self.skew_ms
            .store(skew.num_milliseconds(), Ordering::Relaxed);
    }

    /// Lets `time` pass for all clocks that this one and its clones speak for.
    pub fn pass(&self, time: TimeDelta) {
        self.passed_ms
            .fetch_add(time.num_milliseconds(), Ordering::Relaxed);
    }
}
