//! How many changes the webhook sends at once; pure.

use std::time::{Duration, Instant};

/// Events in a request at most: some 120 kB.
const LARGEST: i64 = 500;

/// For how long a size that was refused is not tried again.
const REMEMBERED: Duration = Duration::from_hours(1);

/// The receiver may have dealt with a request that it did not answer in time, so it gets the same one again before a smaller one.
const TIMEOUTS: u32 = 3;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct BatchSize {
    now: i64,
    /// The most that the receiver takes, as far as is known, and since when.
    limit: Option<(i64, Instant)>,
    timeouts: u32,
}

impl BatchSize {
    pub(super) fn new() -> Self {
        Self {
            now: LARGEST,
            limit: None,
            timeouts: 0,
        }
    }

    pub(super) fn get(&self) -> i64 {
        self.now
    }

    /// A request was taken.
    pub(super) fn taken(&mut self, at: Instant) {
        self.limit = self.limit.filter(|(_, since)| at - *since < REMEMBERED);
        let limit = self.limit.map_or(LARGEST, |(limit, _)| limit);
        self.now = (self.now * 2).min(limit).max(1);
        self.timeouts = 0;
    }

    /// A request with so many events was refused with this status, or not answered in time (`None`). True if the next one is
    /// smaller.
    pub(super) fn refused(&mut self, status: Option<u16>, events: i64, at: Instant) -> bool {
        self.timeouts = if status.is_none() {
            self.timeouts + 1
        } else {
            0
        };
        let half = events / 2;
        match status {
            // Too large, or no room for it. A single event is not too large: something else is wrong.
            Some(413 | 507) => self.limit = (half > 0).then_some((half, at)),
            // One of the events may be why.
            Some(400 | 422) => {}
            None if self.timeouts >= TIMEOUTS => self.timeouts = 0,
            _ => return false,
        }
        self.now = half.max(1);
        half > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes of the requests until the receiver, which takes so many events with this status, has taken a hundred requests.
    fn sizes(most: i64, status: Option<u16>) -> Vec<i64> {
        let mut size = BatchSize::new();
        let mut sizes = Vec::new();
        let mut taken = 0;
        while taken < 100 && sizes.len() < 1_000 {
            let events = size.get();
            sizes.push(events);
            if events <= most {
                size.taken(Instant::now());
                taken += 1;
            } else {
                size.refused(status, events, Instant::now());
            }
        }
        sizes
    }

    #[test]
    fn size_that_is_too_large_is_halved_and_the_working_one_remembered() {
        for status in [413, 507] {
            let sizes = sizes(100, Some(status));
            assert_eq!(sizes[..4], [500, 250, 125, 62]);
            assert!(sizes[4..].iter().all(|size| *size == 62), "{sizes:?}");
        }
        assert_eq!(sizes(1, Some(413))[8..12], [1, 1, 1, 1]);
    }

    #[test]
    fn larger_size_is_tried_again_after_an_hour() {
        let mut size = BatchSize::new();
        let at = Instant::now();
        assert!(size.refused(Some(413), 500, at));
        size.taken(at + REMEMBERED / 2);
        assert_eq!(size.get(), 250);
        size.taken(at + REMEMBERED);
        assert_eq!(size.get(), 500);
    }

    #[test]
    fn timeouts_make_it_smaller_only_in_a_row() {
        let mut size = BatchSize::new();
        let at = Instant::now();
        for status in [None, None, Some(500), None, None] {
            assert!(!size.refused(status, 500, at));
        }
        assert_eq!(size.get(), 500);
        assert!(size.refused(None, 500, at));
        assert_eq!(size.get(), 250);
        size.taken(at);
        assert_eq!(size.get(), 500);
    }

    #[test]
    fn event_that_is_refused_by_itself_is_found_and_other_refusals_change_nothing() {
        let mut size = BatchSize::new();
        let at = Instant::now();
        for status in [401, 404, 408, 414, 429, 431, 500, 503] {
            assert!(!size.refused(Some(status), 500, at), "{status}");
        }
        let mut halved = 0;
        while size.refused(Some(422), size.get(), at) {
            halved += 1;
        }
        assert_eq!((size.get(), halved), (1, 8));
        assert!(!size.refused(Some(413), 1, at));
        size.taken(at);
        assert_eq!(size.get(), 2, "it grows again at once");
    }
}
