//! The pace of calls to one operation, such that no sliding minute holds more of them than the quota.
//!
//! A governor with period T and burst B grants at most `B - 1 + ceil(W / T)` calls in any window W. `per_minute(n)` has
//! B = n and so grants almost 2n in some minutes. Here B is small, and T leaves room for it and for the calls that a
//! stalled network delivers late.
//!
//! What is lent to a tool is taken in the same way, ahead of the workers, and in slices that fit into that room: the tool
//! makes its calls a moment after they were granted, and in no minute is that moment worth more than a slice.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use governor::clock::DefaultClock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota as Pace, RateLimiter};
use tokio::sync::{Mutex, mpsc};

use super::loan::{Ask, Borrowed};

/// The most calls that are lent at once.
pub const LARGEST_LOAN: u32 = 50;

/// Hands out permits, one for every attempt, in the order in which they were asked for.
#[derive(Debug)]
pub struct Quota {
    operation: &'static str,
    limiter: RateLimiter<NotKeyed, InMemoryState, DefaultClock, NoOpMiddleware>,
    /// governor is not fair to its waiters; a fair lock in front of it is.
    turn: Mutex<Borrowed>,
    /// Whoever holds it gets the next permits. Of all workers only the one whose turn it is waits for it, so that a loan
    /// waits for one permit at most, however many workers there are.
    next: Mutex<()>,
    /// Callers without a permit as yet.
    waiting: AtomicU32,
    /// The most that is borrowed at once.
    slice: u32,
    /// Who is asked for calls, where this quota is not the only one for this key.
    lender: Option<mpsc::Sender<Ask>>,
}

impl Quota {
    /// A pace for `per_minute` calls in any sliding minute.
    ///
    /// All of the burst but one call is spent at the start, so that a restart cannot add a burst to the calls that the
    /// process before it made.
    #[must_use]
    pub fn new(operation: &'static str, per_minute: NonZeroU32) -> Self {
        let (steady, burst) = split(per_minute);
        let period = Duration::from_mins(1) / steady.get();
        let pace = Pace::with_period(period)
            .unwrap_or(Pace::per_minute(NonZeroU32::MIN))
            .allow_burst(burst);
        let limiter = RateLimiter::direct(pace);
        if let Some(spent) = NonZeroU32::new(burst.get() - 1) {
            // Cannot fail: a fresh limiter holds a whole burst.
            let _ = limiter.check_n(spent);
        }
        Self {
            operation,
            limiter,
            turn: Mutex::default(),
            next: Mutex::new(()),
            waiting: AtomicU32::new(0),
            slice: slice(per_minute),
            lender: None,
        }
    }

    /// From now on calls are borrowed, as long as there is somebody who lends.
    pub fn borrow_from(&mut self, lender: mpsc::Sender<Ask>) {
        self.lender = Some(lender);
    }

    /// Waits for this caller's turn.
    pub async fn permit(&self) {
        let waits = Waits::new(&self.waiting);
        let mut borrowed = self.turn.lock().await;
        if let Some(lender) = &self.lender {
            let wanted = waits.all().min(self.slice);
            if borrowed.take(lender, self.operation, wanted).await {
                return;
            }
        }
        let _next = self.next.lock().await;
        self.limiter.until_ready().await;
    }

    /// Takes so many permits before all callers that wait for theirs, for somebody else to use at once.
    pub async fn lend(&self, calls: u32) {
        let _next = self.next.lock().await;
        for _ in 0..calls {
            self.limiter.until_ready().await;
        }
    }
}

/// A caller that waits, until it is served or dropped.
struct Waits<'a>(&'a AtomicU32);

impl<'a> Waits<'a> {
    fn new(waiting: &'a AtomicU32) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }

    fn all(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Half of the room that [`split`] leaves for late calls: so two tools can be served at once.
fn slice(per_minute: NonZeroU32) -> u32 {
    (per_minute.get() / 400).clamp(1, LARGEST_LOAN)
}

/// Cuts the quota into a steady rate and a burst with `steady + burst - 1 < per_minute`, where that is possible.
///
/// The burst makes up for late timers: without one, a timer's lateness is lost for good.
fn split(per_minute: NonZeroU32) -> (NonZeroU32, NonZeroU32) {
    let burst = (per_minute.get() / 120).clamp(1, 10);
    let late = (per_minute.get() / 200).max(1);
    let steady = per_minute.get().saturating_sub(burst - 1 + late).max(1);
    let or_one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
    (or_one(steady), or_one(burst))
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use governor::clock::FakeRelativeClock;

    use super::*;

    /// Grants taken as soon as they are there, on a clock that moves by a millisecond.
    fn busiest_minute(per_minute: u32, idle_first: Duration) -> (usize, usize) {
        let (steady, burst) = split(NonZeroU32::new(per_minute).unwrap());
        let clock = FakeRelativeClock::default();
        let pace = Pace::with_period(Duration::from_mins(1) / steady.get())
            .unwrap()
            .allow_burst(burst);
        let limiter = RateLimiter::direct_with_clock(pace, clock.clone());
        clock.advance(idle_first);
        let mut grants: Vec<u64> = Vec::new();
        for ms in 0..300_000_u64 {
            while limiter.check().is_ok() {
                grants.push(ms);
            }
            clock.advance(Duration::from_millis(1));
        }
        let busiest = (0..grants.len())
            .map(|first| {
                grants[first..]
                    .iter()
                    .take_while(|at| **at < grants[first] + 60_000)
                    .count()
            })
            .max()
            .unwrap();
        (busiest, grants.len() / 5)
    }

    #[test]
    fn no_sliding_minute_holds_more_than_the_quota_and_little_is_wasted() {
        for per_minute in [1, 5, 60, 600, 2_000, 6_000] {
            for idle in [Duration::ZERO, Duration::from_mins(10)] {
                let (busiest, average) = busiest_minute(per_minute, idle);
                let quota = usize::try_from(per_minute).unwrap();
                assert!(busiest <= quota, "{busiest} of {quota}");
                assert!(
                    per_minute < 60 || average * 100 >= quota * 98,
                    "{average} of {quota}"
                );
            }
        }
    }

    #[tokio::test]
    async fn a_restart_adds_no_burst() {
        let quota = Quota::new("detail", NonZeroU32::new(240).unwrap());
        quota.permit().await;
        assert!(quota.limiter.check().is_err());
    }

    #[tokio::test]
    async fn a_loan_goes_before_all_workers_but_one() {
        let quota = Quota::new("detail", NonZeroU32::new(6_000).unwrap());
        let served = AtomicU32::new(0);
        let workers = join_all((0..200).map(|_| async {
            quota.permit().await;
            served.fetch_add(1, Ordering::Relaxed);
        }));
        let loan = async {
            let before = served.load(Ordering::Relaxed);
            quota.lend(5).await;
            served.load(Ordering::Relaxed) - before
        };
        let between = tokio::select! {
            biased;
            _ = workers => 200,
            between = loan => between,
        };
        assert!(between <= 1, "{between} were served before it");
    }
}
