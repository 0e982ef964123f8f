//! The source's time, learnt from the `Date` headers of its answers.
//!
//! Invariant: what it tells is never later than the source's own clock, as far as its answers can show. A window that
//! ended in the source's future would lose what changes there after the listing (design, "Time is the source's").

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};

use crate::clock::Clock;

/// Source time as a distance from the monotonic clock, so that jumps of the local wall clock do not matter.
#[derive(Debug)]
pub struct SourceTime {
    clock: Clock,
    anchor: Instant,
    /// The source's time at `anchor` lies between these, in milliseconds since the epoch.
    bounds: Mutex<Option<(i64, i64)>>,
}

impl SourceTime {
    /// Knows nothing yet; until an answer comes it takes `clock` at its word.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            anchor: Instant::now(),
            bounds: Mutex::new(None),
        }
    }

    /// Learns from an answer with this `Date` header, asked for at `asked` and received at `received`.
    ///
    /// Each answer bounds the distance from both sides; bounds that contradict the earlier ones (a clock was set, this
    /// machine slept) replace them.
    pub fn learn(&self, date: DateTime<Utc>, asked: Instant, received: Instant) {
        let earliest = date.timestamp_millis() - self.since_anchor(received);
        let latest = date.timestamp_millis() + 1_000 - self.since_anchor(asked);
        let mut bounds = self.bounds.lock().unwrap_or_else(PoisonError::into_inner);
        let narrowed = bounds.map(|(known_earliest, known_latest)| {
            (known_earliest.max(earliest), known_latest.min(latest))
        });
        *bounds = Some(
            narrowed
                .filter(|(earliest, latest)| earliest <= latest)
                .unwrap_or((earliest, latest)),
        );
    }

    /// The source's time at `instant`: its lower bound, or the local clock's while no answer has come.
    #[must_use]
    pub fn at(&self, instant: Instant) -> DateTime<Utc> {
        self.known()
            .and_then(|(earliest, _)| {
                DateTime::from_timestamp_millis(earliest + self.since_anchor(instant))
            })
            .unwrap_or_else(|| {
                self.clock.now() - TimeDelta::milliseconds(millis_between(instant, Instant::now()))
            })
    }

    /// The source's time now.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.at(Instant::now())
    }

    /// How far the local clock is ahead of the source's; `None` while no answer has come. Good to a second.
    #[must_use]
    pub fn local_clock_ahead(&self) -> Option<TimeDelta> {
        let (earliest, latest) = self.known()?;
        let middle = earliest.midpoint(latest) + self.since_anchor(Instant::now());
        Some(self.clock.now() - DateTime::from_timestamp_millis(middle)?)
    }

    fn known(&self) -> Option<(i64, i64)> {
        *self.bounds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn since_anchor(&self, instant: Instant) -> i64 {
        millis_between(self.anchor, instant)
    }
}

/// Signed milliseconds from `from` to `to`.
fn millis_between(from: Instant, to: Instant) -> i64 {
    let whole = |later: Instant, earlier: Instant| {
        i64::try_from(later.saturating_duration_since(earlier).as_millis()).unwrap_or(i64::MAX)
    };
    whole(to, from) - whole(from, to)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn second(s: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(s, 0).unwrap()
    }

    #[test]
    fn never_later_than_the_source_and_close_after_a_few_answers() {
        let clock = Clock::default();
        clock.set_skew(TimeDelta::hours(1));
        let time = SourceTime::new(clock);
        let start = time.anchor;
        let source_epoch_ms = 1_700_000_000_300_i64;
        for k in 0..40_u64 {
            let asked = start + Duration::from_millis(k * 137);
            let received = asked + Duration::from_millis(20);
            let source_ms = source_epoch_ms + i64::try_from(k * 137 + 10).unwrap();
            time.learn(second(source_ms.div_euclid(1_000)), asked, received);
            let truth = source_epoch_ms + i64::try_from(k * 137).unwrap();
            assert!(time.at(asked).timestamp_millis() <= truth);
        }
        let truth = source_epoch_ms + 5_000;
        let told = time.at(start + Duration::from_secs(5)).timestamp_millis();
        assert!(truth - told < 200, "{} ms behind", truth - told);
        assert!(time.local_clock_ahead().is_some());
    }

    #[test]
    fn a_clock_that_was_set_is_believed_at_once() {
        let time = SourceTime::new(Clock::default());
        let at = time.anchor;
        time.learn(second(2_000), at, at);
        time.learn(second(1_000), at, at);
        assert_eq!(time.at(at), second(1_000));
        time.learn(second(9_000), at, at);
        assert_eq!(time.at(at), second(9_000));
    }

    #[test]
    fn without_an_answer_the_local_clock_has_to_do() {
        let clock = Clock::default();
        clock.set_skew(TimeDelta::days(-1));
        let time = SourceTime::new(clock.clone());
        assert!((clock.now() - time.now()).abs() < TimeDelta::seconds(1));
        assert_eq!(time.local_clock_ahead(), None);
    }
}
