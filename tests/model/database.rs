//! The database: what is held of each CV, what is parked, what is settled, and what was lost. And a reader of its changes.

use super::rules::{Rule, Rules};
use super::source::{CVS, Content, Source, Time, Version};

/// The content of a response about a CV: its state in this version, or an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Learnt {
    State(Version),
    Unreadable,
}

/// An answer, and when its request started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Answer {
    pub as_of: Time,
    pub learnt: Learnt,
}

/// The stored state of one CV.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Held {
    /// When the request started whose answer this is; `None` if there was none.
    pub as_of: Option<Time>,
    /// Which state of the source it is. The real table does not know.
    pub version: Version,
    /// Whether it is known and not stored, since it does not match the filter.
    pub filtered: bool,
    /// When the request started that could not be read, if it is parked.
    pub parked: Option<Time>,
}

impl Held {
    /// The state that is stored; version 0 if nothing is.
    pub(crate) fn stored(self) -> Version {
        if self.filtered { 0 } else { self.version }
    }
}

/// All of it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Database {
    pub held: [Held; CVS],
    /// Which ticks are settled, a bit each.
    covered: u8,
    /// The tick from which the live lane continues. Ticks before it that are not settled are the backlog.
    edge: Time,
    /// The server whose commits these are, as far as a run has noticed.
    pub home: u8,
    /// Which CVs must not be stored.
    pub suppressed: [bool; CVS],
    /// Whether document B is not stored.
    pub filters: bool,
    /// When the last loss was noticed. A CV that was last confirmed before is announced when it is confirmed next.
    pub lost: Option<Time>,
    /// Whether `as_of` of any CV ever went back. The real database does not know.
    pub went_back: bool,
}

/// One who reads each change as soon as it is committed, and keeps the number of the last.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Reader {
    /// Which state it has of each CV.
    pub has: [Version; CVS],
    /// How many changes it has seen of those that a failover would take back now.
    pub ahead: u8,
    /// How many changes have a number that it has passed already, since numbers come back.
    pub deaf: u8,
}

impl Reader {
    fn hear(&mut self, cv: usize, version: Version) {
        if self.deaf > 0 {
            self.deaf -= 1;
        } else {
            self.has[cv] = version;
        }
    }
}

impl Database {
    /// One answer, in one transaction; true if it leaves a row in the feed.
    pub(crate) fn write(
        &mut self,
        rules: Rules,
        source: &Source,
        reader: &mut Reader,
        cv: usize,
        answer: Answer,
        filters: bool,
    ) -> bool {
        if self.suppressed[cv] && rules.keep(Rule::SuppressionIsCheckedByTheWriter) {
            return false;
        }
        let held = &mut self.held[cv];
        let version = match answer.learnt {
            Learnt::State(version) => version,
            Learnt::Unreadable => {
                held.parked = held.parked.max(Some(answer.as_of));
                return false;
            }
        };
        let newer = held.as_of > Some(answer.as_of);
        if newer && rules.keep(Rule::GuardByAsOf) {
            return false;
        }
        if held.parked <= Some(answer.as_of) || !rules.keep(Rule::ParkedIsOrderedToo) {
            held.parked = None;
        }
        let before = source.content(cv, held.stored());
        held.version = version;
        held.filtered = filters && source.content(cv, version) == Content::B;
        let same = before == source.content(cv, held.stored());
        let unchanged = held.as_of.is_some() && same;
        if unchanged && !rules.keep(Rule::UnchangedMovesAsOf) {
            return false;
        }
        self.went_back |= newer;
        let before_loss = self.lost.is_some() && held.as_of <= self.lost;
        held.as_of = Some(answer.as_of);
        let announced = !same || (before_loss && rules.keep(Rule::AnnouncedAfterALoss));
        if announced {
            reader.hear(cv, held.stored());
        }
        announced
    }

    /// A CV must not be stored from now on: what is known of it is deleted.
    pub(crate) fn suppress(&mut self, source: &Source, reader: &mut Reader, cv: usize) {
        let was = source.content(cv, self.held[cv].stored());
        self.suppressed[cv] = true;
        self.held[cv] = Held::default();
        if was != Content::Gone {
            reader.hear(cv, 0);
        }
    }

    /// A CV may be stored again, and is fetched.
    pub(crate) fn lift(&mut self, rules: Rules, cv: usize, now: Time) {
        self.suppressed[cv] = false;
        if rules.keep(Rule::LiftedIsFetched) {
            self.held[cv].parked = Some(now);
        }
    }

    /// The filter is set, and what does not match leaves; or it is dropped, and what did not match is fetched.
    pub(crate) fn change_filter(
        &mut self,
        rules: Rules,
        source: &Source,
        reader: &mut Reader,
        now: Time,
    ) {
        self.filters = !self.filters;
        for (cv, held) in self.held.iter_mut().enumerate() {
            if self.filters && source.content(cv, held.stored()) == Content::B {
                held.filtered = true;
                reader.hear(cv, 0);
            } else if !self.filters && held.filtered && rules.keep(Rule::FilteredIsFetched) {
                held.parked = Some(now);
            }
        }
    }

    /// Whether every change at this tick is applied or parked.
    pub(crate) fn is_settled(&self, rules: Rules, tick: Time) -> bool {
        tick < self.watermark(rules) || self.covered & (1 << tick) != 0
    }

    /// The first tick that is not settled.
    pub(crate) fn watermark(&self, rules: Rules) -> Time {
        let ticks = if rules.keep(Rule::WatermarkIsThePrefix) {
            self.covered.trailing_ones()
        } else {
            u8::BITS - self.covered.leading_zeros()
        };
        ticks.try_into().unwrap_or(Time::MAX)
    }

    pub(crate) fn edge(&self) -> Time {
        self.edge
    }

    /// The newest span before the live edge that is not settled.
    pub(crate) fn gap(&self, rules: Rules) -> Option<(Time, Time)> {
        let open = |tick: &Time| !self.is_settled(rules, *tick);
        let last = (0..self.edge).rev().find(open)?;
        let first = (0..=last).rev().take_while(open).last()?;
        Some((first, last + 1))
    }

    /// The live lane leaves a window to the backlog.
    pub(crate) fn leave(&mut self, tot: Time) {
        self.edge = self.edge.max(tot);
    }

    /// A window is settled.
    pub(crate) fn settle(&mut self, rules: Rules, van: Time, tot: Time) {
        for tick in van..tot {
            self.covered |= 1 << tick;
        }
        self.edge = self.edge.max(tot);
        if self.lost < Some(self.watermark(rules)) && !rules.keep(Rule::AnnouncedHoweverLate) {
            self.lost = None;
        }
    }

    /// A run finds that another server's commits are here than before.
    pub(crate) fn notice(&mut self, server: u8, now: Time) {
        if self.home != server {
            self.home = server;
            self.lost = Some(now);
        }
    }
}
