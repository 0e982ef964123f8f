//! The rate of the last half minute: an average since the start of a run would hide that a run has become faster or slower.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The time that the rate covers.
const COVERED: Duration = Duration::from_secs(30);

/// Time between two marks.
const BETWEEN: Duration = Duration::from_secs(1);

/// How many ids were done at some moments, the oldest first.
#[derive(Clone, Debug)]
pub(super) struct Pace(VecDeque<(Instant, u64)>);

impl Pace {
    pub(super) fn begun(now: Instant) -> Self {
        Self(VecDeque::from([(now, 0)]))
    }

    /// So many ids were done by now.
    pub(super) fn mark(&mut self, now: Instant, done: u64) {
        let last = self.0.back().map(|(at, _)| now.duration_since(*at));
        if last.is_none_or(|since| since >= BETWEEN) {
            self.0.push_back((now, done));
        }
        let is_old = |(at, _): &(Instant, u64)| now.duration_since(*at) >= COVERED;
        while self.0.get(1).is_some_and(is_old) {
            self.0.pop_front();
        }
    }

    /// The ids that were done in the covered time, and that time.
    pub(super) fn recent(mut self, now: Instant, done: u64) -> (u64, Duration) {
        self.mark(now, done);
        let (at, before) = self.0.front().copied().unwrap_or((now, done));
        (done.saturating_sub(before), now.duration_since(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_half_minute() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut pace = Pace::begun(start);
        assert_eq!(pace.clone().recent(at(5), 10), (10, Duration::from_secs(5)));
        // Nothing for a minute, then 20 per second.
        for second in 60..=100 {
            pace.mark(at(second), (second - 60) * 20);
        }
        assert_eq!(
            pace.clone().recent(at(100), 800),
            (600, Duration::from_secs(30))
        );
        // It stands still: the time grows, and the ids do not.
        let (done, time) = pace.recent(at(200), 800);
        assert_eq!((done, time), (0, Duration::from_secs(100)));
    }
}
