//! The source's time, learnt from the `Date` headers of its responses and checked against two other clocks.
//!
//! Invariant: no single wrong clock makes it later than the source's own. A window that ended in the source's future would
//! lose the changes after its listing. [`Clocks`] makes one time of three clocks.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

use crate::clock::Clock;
use crate::model::{Clocks, SourceClock};

/// Source time as an offset from the monotonic clock, so that jumps of the local wall clock do not matter.
#[derive(Debug)]
pub struct SourceTime {
    clock: Clock,
    anchor: Instant,
    readings: Mutex<Readings>,
}

/// The readings so far. Times are milliseconds since the epoch, as of `anchor`.
#[derive(Clone, Copy, Debug)]
struct Readings {
    source: SourceClock<Bounds>,
    /// The lower bound of PostgreSQL's time.
    database: Option<i64>,
    /// Responses in a row that contradicted `source` and were not believed.
    contradictions: u8,
    /// The time in the latest of them, and when it arrived.
    stray: Option<(i64, Instant)>,
    /// The latest agreed time that may have been too late.
    doubted: Option<i64>,
}

#[derive(Clone, Copy, Debug)]
struct Bounds {
    earliest: i64,
    latest: i64,
}

/// This many responses in a row that contradict the estimate are believed, though no other clock supports them. With several
/// gateway nodes and pooled connections, one wrong node often answers several times in a row.
const BELIEVED: u8 = 9;

/// Clocks that differ by less show the same time.
const SAME_TIME: i64 = 5_000;

/// How long a response that contradicted the others is reported.
const STRAY: Duration = Duration::from_mins(10);

impl SourceTime {
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            anchor: Instant::now(),
            readings: Mutex::new(Readings {
                source: SourceClock::NotAsked,
                database: None,
                contradictions: 0,
                stray: None,
                doubted: None,
            }),
        }
    }

    /// Learns from the `Date` header of a response, requested at `asked` and received at `received`. `date` is `None` if the
    /// response has no such header.
    ///
    /// Each response bounds the source's time from both sides. One that contradicts the earlier ones is believed at once if
    /// this machine's or the database's clock shows the same time (the machine slept, or the source's clock was corrected).
    /// Otherwise it takes `BELIEVED` of them in a row: one gateway node with a wrong clock is not enough.
    pub fn learn(&self, date: Option<DateTime<Utc>>, asked: Instant, received: Instant) {
        let local = self.local();
        let mut readings = self.lock();
        let Some(date) = date else {
            if matches!(readings.source, SourceClock::NotAsked) {
                readings.source = SourceClock::Silent;
            }
            return;
        };
        let shown = Bounds {
            earliest: date.timestamp_millis() - self.since_anchor(received),
            latest: date.timestamp_millis() + 1_000 - self.since_anchor(asked),
        };
        let SourceClock::Reading(before) = readings.source else {
            readings.source = SourceClock::Reading(shown);
            return;
        };
        let narrowed = Bounds {
            earliest: before.earliest.max(shown.earliest),
            latest: before.latest.min(shown.latest),
        };
        let supported = [Some(local), readings.database];
        let supported = supported.into_iter().flatten();
        let believed = shown.distance(before) <= SAME_TIME
            || supported
                .into_iter()
                .any(|clock| shown.distance_to(clock) <= SAME_TIME)
            || readings.contradictions + 1 >= BELIEVED;
        if !believed {
            readings.contradictions += 1;
            readings.stray = Some((shown.earliest, received));
            return;
        }
        readings.contradictions = 0;
        let agrees = narrowed.earliest <= narrowed.latest;
        readings.source = SourceClock::Reading(if agrees { narrowed } else { shown });
    }

    /// Learns from a reading of PostgreSQL's clock that arrived at `received`.
    pub fn database_says(&self, reading: DateTime<Utc>, received: Instant) {
        let reading = self.clock.witness(reading).timestamp_millis();
        self.lock().database = Some(reading - self.since_anchor(received));
    }

    /// The source's time at `instant`, too early rather than too late.
    #[must_use]
    pub fn at(&self, instant: Instant) -> DateTime<Utc> {
        self.time(self.clocks().agreed(), instant)
    }

    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.at(Instant::now())
    }

    /// The latest time that a right clock can show now. A stored `as_of` that is later was written under a wrong clock.
    #[must_use]
    pub fn latest_now(&self) -> DateTime<Utc> {
        self.time(self.clocks().latest(), Instant::now())
    }

    /// The time with which a date is compared that must not lie in the future.
    #[must_use]
    pub fn judge(&self) -> DateTime<Utc> {
        self.time(self.clocks().judge(), Instant::now())
    }

    /// The reading of each clock, as of the start of this process.
    #[must_use]
    pub fn clocks(&self) -> Clocks {
        let readings = *self.lock();
        let delta = |ms: i64| TimeDelta::milliseconds(ms);
        let stray = readings.stray.filter(|(_, at)| at.elapsed() < STRAY);
        Clocks {
            source: match readings.source {
                SourceClock::Reading(bounds) => SourceClock::Reading(delta(bounds.earliest)),
                SourceClock::Silent => SourceClock::Silent,
                SourceClock::NotAsked => SourceClock::NotAsked,
            },
            local: delta(self.local()),
            database: readings.database.map(delta),
            stray: stray.map(|(shown, _)| delta(shown)),
        }
    }

    /// How far the local clock is ahead of the source's, to a second; `None` before the first response.
    #[must_use]
    pub fn local_clock_ahead(&self) -> Option<TimeDelta> {
        let SourceClock::Reading(Bounds { earliest, latest }) = self.lock().source else {
            return None;
        };
        Some(TimeDelta::milliseconds(
            self.local() - earliest.midpoint(latest),
        ))
    }

    /// Whether the agreed time may be too late. It remembers the latest time that was in doubt.
    #[must_use]
    pub fn doubt(&self) -> bool {
        let clocks = self.clocks();
        let doubtful = clocks.may_be_late();
        if doubtful {
            let agreed = clocks.agreed().num_milliseconds();
            let mut readings = self.lock();
            readings.doubted = readings.doubted.max(Some(agreed));
        }
        doubtful
    }

    /// Whether time has gone back since it was in doubt: then it was too late indeed. `None` if this process never doubted it.
    #[must_use]
    pub fn was_late(&self) -> Option<bool> {
        let agreed = self.clocks().agreed().num_milliseconds();
        let doubted = self.lock().doubted?;
        Some(doubted - agreed > SAME_TIME)
    }

    /// The local clock's time at `anchor`, if it had never been corrected since.
    fn local(&self) -> i64 {
        self.clock.now().timestamp_millis() - self.since_anchor(Instant::now())
    }

    fn time(&self, at_anchor: TimeDelta, instant: Instant) -> DateTime<Utc> {
        let ms = at_anchor.num_milliseconds() + self.since_anchor(instant);
        DateTime::from_timestamp_millis(ms).unwrap_or_else(|| self.clock.now())
    }

    fn since_anchor(&self, instant: Instant) -> i64 {
        millis_between(self.anchor, instant)
    }

    fn lock(&self) -> MutexGuard<'_, Readings> {
        self.readings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bounds {
    /// How far `instant` lies outside the bounds; 0 within.
    fn distance_to(self, instant: i64) -> i64 {
        (self.earliest - instant).max(instant - self.latest).max(0)
    }

    /// The gap to `other`; 0 if they overlap.
    fn distance(self, other: Self) -> i64 {
        (self.earliest - other.latest)
            .max(other.earliest - self.latest)
            .max(0)
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
    use super::*;

    /// The source's clock is right, and so is the database's.
    struct Scene {
        clock: Clock,
        time: SourceTime,
        at: Instant,
        truth: DateTime<Utc>,
    }

    impl Scene {
        fn new() -> Self {
            let clock = Clock::default();
            let time = SourceTime::new(clock.clone());
            let (at, truth) = (time.anchor, clock.now());
            time.database_says(truth, at);
            Self {
                clock,
                time,
                at,
                truth,
            }
        }

        fn answers(&self, off: i64, times: usize) {
            for _ in 0..times {
                let date = self.truth + TimeDelta::seconds(off);
                self.time.learn(Some(date), self.at, self.at);
            }
        }

        /// How far the result is from the truth, in seconds.
        #[track_caller]
        fn assert_off(&self, seconds: i64) {
            let off = (self.time.at(self.at) - self.truth).as_seconds_f64();
            #[expect(clippy::cast_precision_loss, reason = "small")]
            let wanted = seconds as f64;
            assert!((off - wanted).abs() < 1.5, "{off} instead of {seconds}");
        }
    }

    #[test]
    fn it_is_never_later_than_the_source_and_close_after_a_few_answers() {
        let clock = Clock::default();
        clock.set_skew(TimeDelta::hours(1));
        let time = SourceTime::new(clock);
        let start = time.anchor;
        let second = |s: i64| DateTime::from_timestamp(s, 0);
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
    fn a_source_that_runs_ahead_is_never_believed_however_often_it_answers() {
        let scene = Scene::new();
        scene.answers(300, 100);
        scene.assert_off(0);
        assert_eq!(
            scene.time.clocks().odd_one().unwrap().name.as_str(),
            "source"
        );
        scene.answers(0, 1);
        scene.assert_off(0);
        assert!(!scene.time.doubt());
    }

    #[test]
    fn one_slow_node_among_several_changes_nothing_but_is_told() {
        let scene = Scene::new();
        scene.answers(0, 1);
        for _ in 0..20 {
            scene.answers(-300, usize::from(BELIEVED) - 1);
            scene.assert_off(0);
            assert!(scene.time.doubt());
            scene.answers(0, 1);
        }
        let odd = scene.time.clocks().odd_one().unwrap();
        assert_eq!(
            (odd.name.as_str(), odd.ahead.num_seconds()),
            ("source", -300)
        );
    }

    #[test]
    fn a_source_that_was_set_back_is_believed_after_a_few_answers_and_at_once_where_a_clock_agrees()
    {
        let scene = Scene::new();
        scene.answers(0, 1);
        scene.answers(-300, usize::from(BELIEVED));
        scene.assert_off(-300);
        scene.answers(0, 1);
        scene.assert_off(0);
    }

    #[test]
    fn a_wrong_local_clock_changes_nothing_and_is_named() {
        for hours in [-24, -1, 1, 24] {
            let scene = Scene::new();
            scene.answers(0, 1);
            scene.clock.set_skew(TimeDelta::hours(hours));
            scene.answers(0, 1);
            scene.assert_off(0);
            assert_eq!(
                scene.time.clocks().odd_one().unwrap().name.as_str(),
                "local"
            );
        }
    }

    #[test]
    fn a_wrong_database_clock_changes_nothing_and_is_named() {
        for hours in [-24, -1, 1, 24] {
            let scene = Scene::new();
            scene.answers(0, 1);
            let reading = scene.truth + TimeDelta::hours(hours);
            scene.time.database_says(reading, scene.at);
            scene.assert_off(0);
            assert_eq!(
                scene.time.clocks().odd_one().unwrap().name.as_str(),
                "database"
            );
        }
    }

    #[test]
    fn a_machine_that_slept_is_up_to_date_with_the_first_answer() {
        let scene = Scene::new();
        scene.answers(0, 1);
        scene.clock.set_skew(TimeDelta::hours(2));
        scene.answers(7_200, 1);
        scene.assert_off(7_200);
    }

    #[test]
    fn it_tells_whether_a_doubted_time_was_late() {
        let scene = Scene::new();
        assert_eq!(scene.time.was_late(), None);
        scene.answers(300, 1);
        scene.clock.set_skew(TimeDelta::seconds(300));
        assert!(scene.time.doubt());
        scene.assert_off(300);
        scene.clock.set_skew(TimeDelta::zero());
        assert!(!scene.time.doubt());
        assert_eq!(scene.time.was_late(), Some(true));

        let scene = Scene::new();
        scene.answers(0, 1);
        scene.clock.set_skew(TimeDelta::hours(-1));
        assert!(scene.time.doubt());
        scene.clock.set_skew(TimeDelta::zero());
        assert_eq!(scene.time.was_late(), Some(false));
    }

    #[test]
    fn without_an_answer_the_other_clocks_have_to_do() {
        let scene = Scene::new();
        scene.clock.set_skew(TimeDelta::days(-1));
        scene.assert_off(0);
        assert_eq!(scene.time.local_clock_ahead(), None);
        scene.time.learn(None, scene.at, scene.at);
        scene.assert_off(-86_460);
        scene.answers(0, 1);
        scene.assert_off(0);
    }
}
