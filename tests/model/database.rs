//! The database: what is held of each CV, what is parked, the watermark, and who leads.

use super::rules::{Rule, Rules};
use super::source::{CVS, Source, Time, Version};

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
    /// When the request started that could not be read, if it is parked.
    pub parked: Option<Time>,
}

/// All of it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Database {
    pub held: [Held; CVS],
    pub watermark: Time,
    /// Whether `as_of` of any CV ever went back. The real database does not know.
    pub went_back: bool,
}

impl Database {
    /// One answer, in one transaction.
    pub(crate) fn write(&mut self, rules: Rules, source: &Source, cv: usize, answer: Answer) {
        let held = &mut self.held[cv];
        let version = match answer.learnt {
            Learnt::State(version) => version,
            Learnt::Unreadable => {
                held.parked = held.parked.max(Some(answer.as_of));
                return;
            }
        };
        let newer = held.as_of > Some(answer.as_of);
        if newer && rules.keep(Rule::GuardByAsOf) {
            return;
        }
        if held.parked <= Some(answer.as_of) || !rules.keep(Rule::ParkedIsOrderedToo) {
            held.parked = None;
        }
        let unchanged =
            held.as_of.is_some() && source.content(cv, held.version) == source.content(cv, version);
        held.version = version;
        if unchanged && !rules.keep(Rule::UnchangedMovesAsOf) {
            return;
        }
        self.went_back |= newer;
        held.as_of = Some(answer.as_of);
    }

    /// The watermark moves; never back.
    pub(crate) fn settle(&mut self, tot: Time) {
        self.watermark = self.watermark.max(tot);
    }
}
