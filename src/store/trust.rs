//! Which connections of the pool are used again: none that was there when the database last took no writes.
//!
//! After a fail-over an old connection may lead to what is a read-only replica by now, for as long as it lives.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Since when connections are trusted. Clones are the same.
#[derive(Clone, Debug)]
pub struct Trust(Arc<Mutex<Instant>>);

impl Trust {
    /// Every connection is trusted.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    /// From now on only new connections are.
    pub fn withdraw(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Whether one of this age is.
    pub fn holds(&self, age: Duration) -> bool {
        age <= self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_when_it_was_withdrawn_is_not_trusted() {
        let trust = Trust::new();
        trust.withdraw();
        assert!(trust.holds(Duration::ZERO));
        assert!(!trust.holds(Duration::from_mins(1)));
    }
}
