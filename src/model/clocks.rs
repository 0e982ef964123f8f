//! The time that three clocks agree on; pure.
//!
//! Invariant: a single wrong clock never makes the result later than the source's time. An estimate that is too early costs a
//! call; one that is too late loses a change.

use chrono::TimeDelta;

use super::closed_set::closed_set;

/// The largest difference between clocks that agree.
pub const TOLERANCE: TimeDelta = TimeDelta::seconds(30);

/// How far the source's clock is assumed to be behind the others while it sends no time.
const SILENCE_MARGIN: TimeDelta = TimeDelta::minutes(1);

/// The source's clock, as its responses show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceClock<T> {
    /// There is no response yet.
    NotAsked,
    /// Responses come, but without a time.
    Silent,
    /// Its time according to the responses.
    Reading(T),
}

/// The readings of all clocks at the same moment, each as a distance from one common reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clocks {
    /// VDAB's, from the `Date` headers.
    pub source: SourceClock<TimeDelta>,
    pub local: TimeDelta,
    /// PostgreSQL's, once it has been read.
    pub database: Option<TimeDelta>,
    /// The time in a recent response from VDAB that contradicts its other responses.
    pub stray: Option<TimeDelta>,
}

closed_set! {
    /// A clock that cvsync reads; the label `clock` of metrics.
    pub ClockName {
        Source = "source",
        Local = "local",
        Database = "database",
    }
}

/// A clock compared with the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OddClock {
    pub name: ClockName,
    /// How far it is ahead of the others; negative if it is behind.
    pub ahead: TimeDelta,
}

impl std::fmt::Display for OddClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let whose = match self.name {
            ClockName::Source => "VDAB's clock",
            ClockName::Local => "this machine's clock",
            ClockName::Database => "the database server's clock",
        };
        let seconds = self.ahead.num_seconds();
        let direction = if seconds < 0 { "behind" } else { "ahead of" };
        write!(
            f,
            "{whose} is {} s {direction} the other clocks",
            seconds.abs()
        )
    }
}

impl Clocks {
    /// The source's time: its own estimate, but never later than the median of the three clocks.
    ///
    /// Before the first response it is the later of the two others.
    #[must_use]
    pub fn agreed(&self) -> TimeDelta {
        let database = self.database.unwrap_or(self.local);
        let (early, late) = (self.local.min(database), self.local.max(database));
        match self.source {
            SourceClock::NotAsked => late,
            SourceClock::Silent => early - SILENCE_MARGIN,
            SourceClock::Reading(source) if self.database.is_none() => source,
            // The same as the smaller of the source's estimate and the median of the three.
            SourceClock::Reading(source) => source.min(late),
        }
    }

    /// The latest time that a stored state of the source can have, whichever single clock is wrong.
    #[must_use]
    pub fn latest(&self) -> TimeDelta {
        let mut known = self.witnesses();
        known.sort_unstable();
        match self.source {
            SourceClock::Reading(_) => known[known.len() / 2],
            SourceClock::NotAsked | SourceClock::Silent => known[known.len() - 1],
        }
    }

    /// The time for checks that a date is in the past: the median of three clocks, else the source's or the database's. This
    /// machine's clock decides only if no other is known.
    #[must_use]
    pub fn judge(&self) -> TimeDelta {
        let mut known = self.witnesses();
        if known.len() == 3 {
            known.sort_unstable();
            return known[1];
        }
        self.told().or(self.database).unwrap_or(self.local)
    }

    /// Whether the agreed time may be too late: a clock or a response is earlier by more than [`TOLERANCE`].
    #[must_use]
    pub fn may_be_late(&self) -> bool {
        let agreed = self.agreed();
        let mut earlier = self.witnesses().into_iter().chain(self.stray);
        earlier.any(|clock| agreed - clock > TOLERANCE)
    }

    /// The clock that differs most from the others, if by more than [`TOLERANCE`].
    #[must_use]
    pub fn odd_one(&self) -> Option<OddClock> {
        self.compared()
            .into_iter()
            .filter(|odd| odd.ahead.abs() > TOLERANCE)
            .max_by_key(|odd| odd.ahead.abs())
    }

    /// Each known clock, compared with the median.
    #[must_use]
    pub fn compared(&self) -> Vec<OddClock> {
        let mut known = self.witnesses();
        known.sort_unstable();
        let middle = known[known.len() / 2];
        let compare = |name, time: Option<TimeDelta>| {
            time.map(|time| OddClock {
                name,
                ahead: time - middle,
            })
        };
        [
            compare(ClockName::Source, self.stray.or(self.told())),
            compare(ClockName::Local, Some(self.local)),
            compare(ClockName::Database, self.database),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn witnesses(&self) -> Vec<TimeDelta> {
        let known = [self.told(), Some(self.local), self.database];
        known.into_iter().flatten().collect()
    }

    fn told(&self) -> Option<TimeDelta> {
        match self.source {
            SourceClock::Reading(source) => Some(source),
            SourceClock::NotAsked | SourceClock::Silent => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clocks(source: i64, local: i64, database: i64) -> Clocks {
        Clocks {
            source: SourceClock::Reading(TimeDelta::seconds(source)),
            local: TimeDelta::seconds(local),
            database: Some(TimeDelta::seconds(database)),
            stray: None,
        }
    }

    fn agreed(source: i64, local: i64, database: i64) -> i64 {
        clocks(source, local, database).agreed().num_seconds()
    }

    #[test]
    fn no_single_wrong_clock_moves_the_agreed_time_past_the_source() {
        for wrong in [-86_400, -300, 31, 300, 86_400, 31_536_000] {
            assert!(agreed(wrong, 0, 0) <= 0, "source {wrong}");
            assert_eq!(agreed(0, wrong, 0), 0, "local {wrong}");
            assert_eq!(agreed(0, 0, wrong), 0, "database {wrong}");
        }
    }

    #[test]
    fn a_source_that_is_behind_the_other_clocks_is_believed() {
        assert_eq!(agreed(-300, 0, 0), -300);
        assert!(!clocks(-300, 0, 0).may_be_late());
    }

    #[test]
    fn date_is_judged_by_another_clock_than_the_local_one_alone() {
        let judge = |clocks: Clocks| clocks.judge().num_seconds();
        for wrong in [-1_000_000, 1_000_000] {
            assert_eq!(judge(clocks(wrong, 0, 0)), 0);
            assert_eq!(judge(clocks(0, wrong, 0)), 0);
            assert_eq!(judge(clocks(0, 0, wrong)), 0);
            let not_asked = Clocks {
                source: SourceClock::NotAsked,
                ..clocks(0, wrong, 0)
            };
            assert_eq!(judge(not_asked), 0);
            let no_database = Clocks {
                database: None,
                ..clocks(0, wrong, 0)
            };
            assert_eq!(judge(no_database), 0);
            let alone = Clocks {
                database: None,
                ..not_asked
            };
            assert_eq!(judge(alone), wrong);
        }
    }

    #[test]
    fn two_slow_clocks_delay_and_lose_nothing() {
        assert_eq!(agreed(0, -300, -300), -300);
        assert_eq!(agreed(-300, -300, 0), -300);
        assert_eq!(agreed(-300, 0, -300), -300);
    }

    #[test]
    fn two_fast_clocks_are_believed_but_the_third_tells_that_it_may_be_late() {
        for clocks in [clocks(300, 300, 0), clocks(300, 0, 300)] {
            assert_eq!(clocks.agreed().num_seconds(), 300);
            assert!(clocks.may_be_late());
        }
        assert!(!clocks(0, 300, 300).may_be_late());
        assert!(!clocks(20, 20, 0).may_be_late(), "within tolerance");
        let stray = Some(TimeDelta::seconds(-300));
        assert!(
            Clocks {
                stray,
                ..clocks(0, 0, 0)
            }
            .may_be_late()
        );
    }

    #[test]
    fn before_the_first_answer_the_later_clock_counts_and_without_a_date_the_earlier_one() {
        let not_asked = Clocks {
            source: SourceClock::NotAsked,
            ..clocks(0, -300, 0)
        };
        assert_eq!(not_asked.agreed(), TimeDelta::zero());
        let silent = Clocks {
            source: SourceClock::Silent,
            ..not_asked
        };
        assert_eq!(silent.agreed(), TimeDelta::seconds(-300) - SILENCE_MARGIN);
    }

    #[test]
    fn the_odd_clock_is_named_with_its_distance() {
        let odd = |clocks: Clocks| clocks.odd_one().map(|odd| odd.to_string());
        assert_eq!(odd(clocks(0, 20, -20)), None);
        for (clocks, text) in [
            (
                clocks(300, 0, 1),
                "VDAB's clock is 299 s ahead of the other clocks",
            ),
            (
                clocks(0, -3_600, 0),
                "this machine's clock is 3600 s behind the other clocks",
            ),
            (
                clocks(0, 0, 86_400),
                "the database server's clock is 86400 s ahead of the other clocks",
            ),
        ] {
            assert_eq!(odd(clocks).as_deref(), Some(text));
        }
    }

    #[test]
    fn a_stored_time_is_in_the_future_by_what_most_clocks_say() {
        let latest = |clocks: Clocks| clocks.latest().num_seconds();
        assert_eq!(latest(clocks(300, 0, 0)), 0);
        assert_eq!(latest(clocks(0, 0, -3_600)), 0);
        let not_asked = Clocks {
            source: SourceClock::NotAsked,
            ..clocks(0, 0, -3_600)
        };
        assert_eq!(latest(not_asked), 0);
    }
}
