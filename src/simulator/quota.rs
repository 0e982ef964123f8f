//! The quota: a strict limit of calls per operation in any 60 seconds.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::call::Operation;

const MINUTE: Duration = Duration::from_mins(1);

/// The calls of the last minute per operation. Refused calls do not count.
#[derive(Default)]
pub(super) struct Quota(HashMap<Operation, VecDeque<Instant>>);

/// The values of the gateway's headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct QuotaState {
    pub(super) granted: bool,
    pub(super) limit: usize,
    pub(super) remaining: usize,
    /// Seconds until the oldest call of the minute no longer counts, rounded up.
    pub(super) reset: u64,
}

impl Quota {
    /// Grants or refuses a call now.
    pub(super) fn take(&mut self, operation: Operation, limit: usize, now: Instant) -> QuotaState {
        let calls = self.0.entry(operation).or_default();
        while calls
            .front()
            .is_some_and(|call| now.duration_since(*call) >= MINUTE)
        {
            calls.pop_front();
        }
        let granted = calls.len() < limit;
        if granted {
            calls.push_back(now);
        }
        let oldest = calls.front().map_or(MINUTE, |call| {
            MINUTE.saturating_sub(now.duration_since(*call))
        });
        let reset = oldest.as_secs() + u64::from(oldest.subsec_nanos() > 0);
        QuotaState {
            granted,
            limit,
            remaining: limit.saturating_sub(calls.len()),
            reset,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_sixty_seconds_hold_more_than_the_limit() {
        let start = Instant::now();
        let mut quota = Quota::default();
        let mut at = |ms| quota.take(Operation::Detail, 2, start + Duration::from_millis(ms));
        assert_eq!(
            at(0),
            QuotaState {
                granted: true,
                limit: 2,
                remaining: 1,
                reset: 60
            }
        );
        assert_eq!(
            at(30_500),
            QuotaState {
                granted: true,
                limit: 2,
                remaining: 0,
                reset: 30
            }
        );
        assert_eq!(
            at(59_999),
            QuotaState {
                granted: false,
                limit: 2,
                remaining: 0,
                reset: 1
            }
        );
        assert!(at(60_000).granted);
        assert!(!at(90_499).granted);
        assert!(at(90_500).granted);
    }

    #[test]
    fn operations_are_counted_separately() {
        let now = Instant::now();
        let mut quota = Quota::default();
        assert!(quota.take(Operation::Detail, 1, now).granted);
        assert!(!quota.take(Operation::Detail, 1, now).granted);
        assert!(quota.take(Operation::Bulk, 1, now).granted);
    }
}
