//! The pace of calls to one operation: no sliding minute holds more calls than the quota.
//!
//! Two rules hold together:
//! - Calls are spread evenly: a pace with a small burst, a little below the quota. A governor with period T and burst B grants at
//!   most `B - 1 + ceil(W / T)` calls in any window W. `per_minute(n)` has B = n and so would grant almost 2n in some minutes.
//! - A call counts from its permit until a minute after its end. The source may count it at any instant between the permit and
//!   the end, so calls that a stalled network, a token renewal or a slow worker delivers late never add up to more than the
//!   quota. In other words: at the permit of the latest call in a sliding minute, all others in that minute still counted.
//!
//! Calls that are lent to a tool are taken ahead of the workers, in slices. A tool has at most a slice of borrowed calls under
//! way, and the pace leaves room for two slices that arrive late.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex as State, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota as Pace, RateLimiter};
use tokio::sync::{Mutex, Notify, mpsc};

use super::loan::{Ask, Borrowed};
use super::operation::Operation;

/// The most calls that are lent at once.
pub(crate) const LARGEST_LOAN: u32 = 50;

/// The time over which the source counts calls.
const MINUTE: Duration = Duration::from_mins(1);

/// A tool starts its borrowed calls within this time.
const LENT: Duration = Duration::from_secs(5);

/// Ends of calls are rounded up to this, so that few of them must be remembered.
const TICK_MS: u64 = 100;

/// Grants permits, one for each attempt, in the order in which callers asked for them.
#[derive(Debug)]
pub(super) struct Quota {
    operation: Operation,
    calls: State<Calls>,
    /// Notified when a call ends, which may make room for another.
    ended: Notify,
    /// How long an abandoned call may take to arrive at the source.
    timeout: Duration,
    turn: Mutex<Borrowed>,
    /// Its holder gets the next permits. Of all workers, only the one whose turn it is waits for it. So a loan waits for one
    /// permit at most, however many workers there are.
    next: Mutex<()>,
    /// Callers that wait for a permit.
    waiting: AtomicU32,
    /// The most calls that are borrowed at once.
    slice: u32,
    /// Lends calls, if another process uses the same key.
    lender: Option<mpsc::Sender<Ask>>,
}

/// Permission to make one call. It must be kept until the call has ended.
#[derive(Debug)]
pub(super) struct Permit<'a> {
    quota: &'a Quota,
    granted: Instant,
    is_over: bool,
}

impl Quota {
    /// A pace for `per_minute` calls in any sliding minute, each of which takes at most `timeout`.
    #[must_use]
    pub(super) fn new(operation: Operation, per_minute: NonZeroU32, timeout: Duration) -> Self {
        Self {
            operation,
            calls: State::new(Calls::new(
                per_minute,
                Instant::now(),
                DefaultClock::default(),
            )),
            ended: Notify::new(),
            timeout,
            turn: Mutex::default(),
            next: Mutex::new(()),
            waiting: AtomicU32::new(0),
            slice: slice(per_minute),
            lender: None,
        }
    }

    /// From now on, calls are borrowed from `lender` while it lends.
    pub(super) fn borrow_from(&mut self, lender: mpsc::Sender<Ask>) {
        self.lender = Some(lender);
    }

    pub(super) async fn permit(&self) -> Permit<'_> {
        let waits = Waits::new(&self.waiting);
        let mut borrowed = self.turn.lock().await;
        if let Some(lender) = &self.lender {
            let room = self.room_for_borrowed().await;
            let wanted = waits.all().min(room);
            if borrowed.take(lender, self.operation, wanted).await {
                self.lock().under_way += 1;
                return Permit::new(self);
            }
        }
        let _next = self.next.lock().await;
        self.ready().await;
        Permit::new(self)
    }

    /// A permit before all callers that wait, for a call that decides whether the gate stays open.
    pub(super) async fn urgent_permit(&self) -> Permit<'_> {
        if self.lender.is_some() {
            return self.permit().await;
        }
        let _next = self.next.lock().await;
        self.ready().await;
        Permit::new(self)
    }

    /// Takes permits before all callers that wait, for a tool to use at once.
    pub(super) async fn lend(&self, calls: u32) {
        let _next = self.next.lock().await;
        for _ in 0..calls {
            self.ready().await;
            self.lock().end(Instant::now() + LENT);
        }
    }

    /// Waits until pace and minute allow one more call, and counts it.
    async fn ready(&self) {
        loop {
            let Err(wake) = self.lock().take(Instant::now()) else {
                return;
            };
            tokio::select! {
                () = tokio::time::sleep_until(wake.into()) => {}
                () = self.ended.notified() => {}
            }
        }
    }

    /// Waits until there is room for a borrowed call, and returns how many more may be under way.
    async fn room_for_borrowed(&self) -> u32 {
        loop {
            let room = self.slice.saturating_sub(self.lock().under_way);
            if room > 0 {
                return room;
            }
            self.ended.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> Permit<'a> {
    fn new(quota: &'a Quota) -> Self {
        Self {
            quota,
            granted: Instant::now(),
            is_over: false,
        }
    }

    pub(super) fn end(mut self) {
        self.over(|calls| calls.end(Instant::now()));
    }

    /// Ends the call, and waits for the permit of another one.
    pub(super) async fn renew(&mut self) {
        self.over(|calls| calls.end(Instant::now()));
        *self = self.quota.permit().await;
    }

    /// Returns the permit of a call that was not made.
    pub(super) fn give_back(mut self) {
        self.over(Calls::give_back);
    }

    fn over(&mut self, change: impl FnOnce(&mut Calls)) {
        self.is_over = true;
        change(&mut self.quota.lock());
        self.quota.ended.notify_one();
    }
}

/// An abandoned call may still arrive at the source.
impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            let arrives = self.granted + self.quota.timeout;
            self.over(|calls| calls.end(arrives.max(Instant::now())));
        }
    }
}

/// The calls of the last minute, and the pace of the next ones.
#[derive(Debug)]
struct Calls<C: Clock = DefaultClock> {
    quota: u32,
    pace: RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<C::Instant>>,
    /// Calls with a permit that have not ended.
    under_way: u32,
    /// Calls that have ended and still count, by the tick at which they no longer count.
    ended: BTreeMap<u64, u32>,
    counted: u32,
    /// The time of tick 0.
    origin: Instant,
}

impl<C: Clock> Calls<C> {
    /// All of the burst but one call is spent at the start, so that a restart cannot add a burst to the calls of the process
    /// before. The burst makes up for late timers, whose delay would otherwise be lost.
    fn new(per_minute: NonZeroU32, now: Instant, clock: C) -> Self {
        let (steady, burst) = split(per_minute);
        let pace = Pace::with_period(MINUTE / steady.get())
            .unwrap_or(Pace::per_minute(NonZeroU32::MIN))
            .allow_burst(burst);
        let pace = RateLimiter::direct_with_clock(pace, clock);
        if let Some(spent) = NonZeroU32::new(burst.get() - 1) {
            // Cannot fail: a fresh limiter holds a whole burst.
            let _ = pace.check_n(spent);
        }
        Self {
            quota: per_minute.get(),
            pace,
            under_way: 0,
            ended: BTreeMap::new(),
            counted: 0,
            origin: now,
        }
    }

    /// Counts a call that begins now. The error is the latest time to try again.
    fn take(&mut self, now: Instant) -> Result<(), Instant> {
        let tick = self.tick(now);
        while let Some(first) = self.ended.first_entry()
            && *first.key() <= tick
        {
            self.counted -= first.remove();
        }
        if self.counted + self.under_way >= self.quota {
            let first = self.ended.first_key_value();
            let first = first.map(|(tick, _)| Duration::from_millis((tick + 1) * TICK_MS));
            return Err(first.map_or(now + MINUTE, |first| self.origin + first));
        }
        self.pace
            .check()
            .map_err(|until| now + until.wait_time_from(self.pace.clock().now()))?;
        self.under_way += 1;
        Ok(())
    }

    /// Ends a call that arrives at the source no later than `by`.
    fn end(&mut self, by: Instant) {
        self.give_back();
        let tick = self.tick(by + MINUTE) + 1;
        *self.ended.entry(tick).or_default() += 1;
        self.counted += 1;
    }

    fn give_back(&mut self) {
        self.under_way -= 1;
    }

    fn tick(&self, at: Instant) -> u64 {
        let ms = at.saturating_duration_since(self.origin).as_millis();
        u64::try_from(ms).unwrap_or(u64::MAX) / TICK_MS
    }
}

/// A caller that waits for a permit. It stops waiting when this is dropped.
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

/// Half of the room that [`split`] leaves for late calls of tools, so that two tools can borrow at once.
fn slice(per_minute: NonZeroU32) -> u32 {
    (per_minute.get() / 400).clamp(1, LARGEST_LOAN)
}

/// Splits the quota into a steady rate and a burst with `steady + burst - 1 < per_minute`, if that is possible.
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
    use proptest::prelude::*;

    use super::*;

    const TIMEOUT: u64 = 30_000;

    /// A network that stalls, seen from a number of workers.
    #[derive(Clone, Debug)]
    struct Network {
        per_minute: u32,
        workers: usize,
        /// From one end of a call to the other, in milliseconds.
        latency: u64,
        /// When no call gets through, from and to in milliseconds. Calls under way arrive at the end.
        stalls: Vec<(u64, u64)>,
        /// One in this many calls is abandoned halfway. It arrives all the same, as late as a call may.
        abandoned: usize,
    }

    impl Network {
        /// When each call arrived at the source within five minutes, in milliseconds.
        fn arrivals(&self) -> Vec<u64> {
            let origin = Instant::now();
            let at = |ms| origin + Duration::from_millis(ms);
            let clock = FakeRelativeClock::default();
            let quota = NonZeroU32::new(self.per_minute).unwrap();
            let mut calls = Calls::new(quota, origin, clock.clone());
            let mut ends: BTreeMap<u64, Vec<Instant>> = BTreeMap::new();
            let (mut free, mut now, mut made) = (self.workers, 0, 0_usize);
            let mut arrivals = Vec::new();
            while now < 300_000 {
                while let Some(end) = ends.first_entry()
                    && *end.key() <= now
                {
                    for arrives in end.remove() {
                        free += 1;
                        calls.end(arrives.max(at(now)));
                    }
                }
                let wake = if free == 0 {
                    u64::MAX
                } else if let Err(wake) = calls.take(at(now)) {
                    u64::try_from((wake - origin).as_millis()).unwrap() + 1
                } else {
                    free -= 1;
                    made += 1;
                    let stalled = |at: u64| {
                        let stall = self
                            .stalls
                            .iter()
                            .find(|(from, to)| (*from..*to).contains(&at));
                        stall.map_or(at, |(_, to)| *to).min(now + TIMEOUT)
                    };
                    if self.abandoned > 0 && made.is_multiple_of(self.abandoned) {
                        arrivals.push(now + TIMEOUT);
                        let end = ends.entry(now + self.latency / 2).or_default();
                        end.push(at(now + TIMEOUT));
                    } else {
                        let arrives = stalled(now + self.latency / 2);
                        arrivals.push(arrives);
                        let end = stalled(arrives + self.latency / 2);
                        ends.entry(end).or_default().push(at(arrives));
                    }
                    continue;
                };
                let next_end = ends.first_key_value().map_or(u64::MAX, |(end, _)| *end);
                let next = wake.min(next_end).max(now + 1);
                clock.advance(Duration::from_millis(next - now));
                now = next;
            }
            arrivals.sort_unstable();
            arrivals
        }

        fn busiest_minute(&self) -> usize {
            let arrivals = self.arrivals();
            let mut from = 0;
            let busiest = arrivals.iter().enumerate().map(|(to, at)| {
                while arrivals[from] + 60_000 <= *at {
                    from += 1;
                }
                to + 1 - from
            });
            busiest.max().unwrap_or(0)
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn no_sliding_minute_exceeds_the_quota_however_the_network_stalls(
            per_minute in prop_oneof![1_u32..100, 100_u32..3_000],
            workers in 1_usize..200,
            latency in 0_u64..3_000,
            stalls in prop::collection::vec((0_u64..300_000, 0_u64..40_000), 0..6),
            abandoned in 0_usize..20,
        ) {
            let stalls = stalls.into_iter().map(|(from, length)| (from, from + length)).collect();
            let network = Network { per_minute, workers, latency, stalls, abandoned };
            let busiest = network.busiest_minute();
            prop_assert!(busiest <= per_minute as usize, "{busiest} of {per_minute}");
        }
    }

    #[test]
    fn a_stall_of_four_seconds_does_not_push_any_minute_over_the_quota() {
        for workers in [16, 64] {
            let network = Network {
                per_minute: 2_000,
                workers,
                latency: 100,
                stalls: vec![(100_000, 104_000)],
                abandoned: 0,
            };
            let busiest = network.busiest_minute();
            assert!(busiest <= 2_000, "{workers} workers: {busiest}");
        }
    }

    #[test]
    fn little_of_the_quota_is_wasted_however_many_workers_there_are() {
        for per_minute in [60, 600, 2_000, 6_000] {
            for (workers, latency) in [(16, 50), (64, 200), (200, 500)] {
                let network = Network {
                    per_minute,
                    workers,
                    latency,
                    stalls: Vec::new(),
                    abandoned: 0,
                };
                let (made, quota) = (network.arrivals().len(), per_minute as usize * 5);
                assert!(
                    made * 100 >= quota * 97,
                    "{made} of {quota}, {workers} workers"
                );
            }
        }
    }

    #[test]
    fn idle_time_saves_up_no_more_than_a_burst() {
        let origin = Instant::now();
        let clock = FakeRelativeClock::default();
        let mut calls = Calls::new(NonZeroU32::new(2_000).unwrap(), origin, clock.clone());
        clock.advance(Duration::from_mins(10));
        let later = origin + Duration::from_mins(10);
        let burst = (0..100).take_while(|_| calls.take(later).is_ok()).count();
        assert_eq!(burst, 10);
    }

    fn quota(per_minute: u32) -> Quota {
        let timeout = Duration::from_millis(TIMEOUT);
        Quota::new(
            Operation::Detail,
            NonZeroU32::new(per_minute).unwrap(),
            timeout,
        )
    }

    #[tokio::test]
    async fn a_restart_adds_no_burst() {
        let quota = quota(240);
        let _permit = quota.permit().await;
        assert!(quota.lock().take(Instant::now()).is_err());
    }

    #[tokio::test]
    async fn a_permit_counts_until_its_call_has_ended_and_a_minute_longer_unless_it_is_given_back()
    {
        let quota = quota(6_000);
        let counted = || {
            let calls = quota.lock();
            (calls.under_way, calls.counted)
        };
        let (one, two, three) = (
            quota.permit().await,
            quota.permit().await,
            quota.permit().await,
        );
        assert_eq!(counted(), (3, 0));
        one.end();
        two.give_back();
        assert_eq!(counted(), (1, 1));
        drop(three);
        assert_eq!(counted(), (0, 2));
        let last = *quota.lock().ended.last_key_value().unwrap().0 * TICK_MS;
        assert!(
            last >= 60_000 + TIMEOUT,
            "an abandoned call may still arrive"
        );
    }

    #[tokio::test]
    async fn a_tool_has_at_most_a_slice_of_borrowed_calls_under_way() {
        let mut quota = quota(1_200);
        let (asks, mut asked) = mpsc::channel::<Ask>(1);
        quota.borrow_from(asks);
        let lender = tokio::spawn(async move {
            let mut lent = 0;
            while let Some(ask) = asked.recv().await {
                lent += ask.calls;
                let _ = ask.answer.send(super::super::Loan::Granted);
            }
            lent
        });
        let mut permits = Vec::new();
        for _ in 0..slice(NonZeroU32::new(1_200).unwrap()) {
            permits.push(quota.permit().await);
        }
        let one_more = tokio::time::timeout(Duration::from_millis(50), quota.permit());
        assert!(one_more.await.is_err());
        permits.pop().unwrap().end();
        permits.push(quota.permit().await);
        assert_eq!(permits.len(), 3);
        drop(permits);
        drop(quota);
        assert_eq!(lender.await.unwrap(), 4);
    }

    #[tokio::test]
    async fn a_loan_goes_before_all_workers_but_one() {
        let quota = quota(6_000);
        let served = AtomicU32::new(0);
        let workers = join_all((0..200).map(|_| async {
            quota.permit().await.end();
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
