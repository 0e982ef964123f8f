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
    known: Mutex<Option<Known>>,
}

/// What the answers so far have shown; in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// The source's time at `anchor` lies between these, since the epoch.
    earliest: i64,
    latest: i64,
    /// How far this machine's clock was ahead of the latest answer that was believed.
    ahead: i64,
    /// Answers in a row that showed a later time and were not believed.
    later_answers: u8,
}

/// So many answers in a row that show a later time are believed.
const BELIEVED: u8 = 3;

/// Clocks that moved apart by less moved together.
const SAME_CLOCK: i64 = 5_000;

impl SourceTime {
    /// Knows nothing yet; until an answer comes it takes `clock` at its word.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            anchor: Instant::now(),
            known: Mutex::new(None),
        }
    }

    /// Learns from an answer with this `Date` header, asked for at `asked` and received at `received`.
    ///
    /// Each answer bounds the distance from both sides. One that contradicts the earlier ones and shows an earlier time is
    /// believed at once. One that shows a later time is believed where this machine's clock says the same (the machine
    /// slept), or once it is not alone: a single wrong node must not move windows into the source's future.
    pub fn learn(&self, date: DateTime<Utc>, asked: Instant, received: Instant) {
        let earliest = date.timestamp_millis() - self.since_anchor(received);
        let latest = date.timestamp_millis() + 1_000 - self.since_anchor(asked);
        let ahead = self.clock.now().timestamp_millis() - date.timestamp_millis();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(before) = *known else {
            *known = Some(Known {
                earliest,
                latest,
                ahead,
                later_answers: 0,
            });
            return;
        };
        let narrowed = (before.earliest.max(earliest), before.latest.min(latest));
        let is_later = earliest > before.latest;
        let doubted = is_later
            && (ahead - before.ahead).abs() > SAME_CLOCK
            && before.later_answers + 1 < BELIEVED;
        *known = Some(if doubted {
            Known {
                later_answers: before.later_answers + 1,
                ..before
            }
        } else {
            let agrees = narrowed.0 <= narrowed.1;
            Known {
                earliest: if agrees { narrowed.0 } else { earliest },
                latest: if agrees { narrowed.1 } else { latest },
                ahead,
                later_answers: 0,
            }
        });
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
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.map(|known| (known.earliest, known.latest))
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
    fn a_clock_that_was_set_back_is_believed_at_once_and_one_that_was_set_forth_when_it_is_not_alone()
     {
        let time = SourceTime::new(Clock::default());
        let at = time.anchor;
        time.learn(second(2_000), at, at);
        time.learn(second(1_000), at, at);
        assert_eq!(time.at(at), second(1_000));
        time.learn(second(9_000), at, at);
        time.learn(second(9_000), at, at);
        assert_eq!(time.at(at), second(1_000), "a node whose clock is wrong");
        time.learn(second(1_000), at, at);
        time.learn(second(9_000), at, at);
        time.learn(second(9_000), at, at);
        assert_eq!(time.at(at), second(1_000));
        time.learn(second(9_000), at, at);
        assert_eq!(time.at(at), second(9_000));
    }

    #[test]
    fn a_machine_that_slept_is_in_step_at_once() {
        let clock = Clock::default();
        let time = SourceTime::new(clock.clone());
        let (at, now) = (time.anchor, clock.now());
        time.learn(now, at, at);
        clock.set_skew(TimeDelta::hours(2));
        time.learn(now + TimeDelta::hours(2), at, at);
        assert!(time.at(at) > now + TimeDelta::minutes(119));
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
