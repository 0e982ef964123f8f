//! Limits log lines of repeated events: the first at once, then at most one per minute, with the total.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The minimum time between two lines of a kind.
const BETWEEN_LINES: Duration = Duration::from_mins(1);

/// After this time without an event, the total starts again.
const QUIET: Duration = Duration::from_mins(10);

/// Decides which events of one place in the code get a log line. It keeps an entry per kind, so kinds must come from a closed
/// set.
#[derive(Debug, Default)]
pub(crate) struct Throttle(Mutex<BTreeMap<&'static str, Events>>);

#[derive(Debug)]
struct Events {
    told_at: Instant,
    latest_at: Instant,
    total: u64,
}

impl Throttle {
    #[must_use]
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    /// Counts `times` events of this kind. If a line is due, returns the total since the trouble began.
    pub(crate) fn due(&self, kind: &'static str, times: u64) -> Option<u64> {
        self.due_at(kind, times, Instant::now())
    }

    fn due_at(&self, kind: &'static str, times: u64, now: Instant) -> Option<u64> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(events) = kinds.get_mut(kind) else {
            let events = Events {
                told_at: now,
                latest_at: now,
                total: times,
            };
            kinds.insert(kind, events);
            return Some(times);
        };
        if now.duration_since(events.latest_at) >= QUIET {
            events.total = 0;
        }
        events.latest_at = now;
        events.total += times;
        let is_due = now.duration_since(events.told_at) >= BETWEEN_LINES;
        if is_due {
            events.told_at = now;
        }
        is_due.then_some(events.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_event_is_told_at_once_and_later_ones_once_a_minute_with_the_total() {
        let throttle = Throttle::new();
        let begun = Instant::now();
        let told: Vec<(u64, u64)> = (0..300)
            .filter_map(|tenths| {
                let now = begun + Duration::from_millis(tenths * 500);
                Some((tenths / 2, throttle.due_at("brake", 2, now)?))
            })
            .collect();
        assert_eq!(told, [(0, 2), (60, 242), (120, 482)]);
    }

    #[test]
    fn each_kind_has_lines_of_its_own_and_the_total_starts_again_after_a_quiet_time() {
        let throttle = Throttle::new();
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        assert_eq!(throttle.due_at("transport", 1, at(0)), Some(1));
        assert_eq!(throttle.due_at("refused", 1, at(1)), Some(1));
        assert_eq!(throttle.due_at("transport", 5, at(2)), None);
        assert_eq!(throttle.due_at("transport", 1, at(300)), Some(7));
        assert_eq!(throttle.due_at("transport", 1, at(900)), Some(1));
    }
}
