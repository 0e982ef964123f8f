//! Decides when a window is settled: once each of its ids is applied, skipped or parked in a committed transaction. Pure.
//!
//! Invariant: windows settle in the order in which they were listed. So the live edge never passes a window of the live lane whose
//! CVs are still being fetched, and the backlog does not fetch them too.

use std::collections::BTreeMap;
use std::time::Instant;

use super::plan::Planned;
use super::sift::Labels;
use crate::model::Tally;
use crate::store::Applied;

/// A window whose listing has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listed {
    /// Its number in the run, from 0 without gaps.
    pub seq: u64,
    /// Whether some of its ids are left to the backlog. It is not settled then, and the others are counted.
    pub left: bool,
    /// Whether VDAB lets no detail through. Its removals are applied, and the next run lists it again.
    pub held: bool,
    /// Its row in `sync_window`; `None` in a comparison.
    pub row: Option<i64>,
    pub planned: Planned,
    /// Ids that the source listed, without those that are left to the backlog.
    pub ids: u64,
    /// Ids that need no detail call.
    pub skipped: u64,
    pub labels: Labels,
    pub started: Instant,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Settled {
    pub listed: Listed,
    pub tally: Tally,
}

/// The windows of one run that are not settled. Listings and results may arrive in any order.
#[derive(Debug, Default)]
pub(super) struct Settlement {
    next: u64,
    windows: BTreeMap<u64, Unsettled>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Unsettled {
    /// `None` while it is being listed.
    listed: Option<Listed>,
    tally: Tally,
}

impl Settlement {
    /// The listing of a window has ended.
    pub(super) fn listed(&mut self, listed: Listed) {
        let window = self.windows.entry(listed.seq).or_default();
        window.tally.listed = listed.ids;
        window.tally.skipped = listed.skipped;
        window.listed = Some(listed);
    }

    /// An id of window `seq` is committed with this result.
    pub(super) fn applied(&mut self, seq: u64, result: Applied) {
        result.count_in(&mut self.windows.entry(seq).or_default().tally);
    }

    /// Removes and returns the windows that are settled, together with all before them.
    pub(super) fn take_settled(&mut self) -> Vec<Settled> {
        let mut settled = Vec::new();
        while let Some(window) = self.take_next() {
            settled.push(window);
        }
        settled
    }

    fn take_next(&mut self) -> Option<Settled> {
        let Unsettled { listed, tally } = *self.windows.get(&self.next)?;
        let listed = listed.filter(|listed| tally.done() == listed.ids)?;
        self.windows.remove(&self.next);
        self.next += 1;
        Some(Settled { listed, tally })
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::model::{Lane, Window};

    fn listed(seq: u64, ids: u64, skipped: u64) -> Listed {
        let at = |s| DateTime::from_timestamp(s, 0).unwrap();
        Listed {
            seq,
            left: false,
            held: false,
            row: None,
            planned: Planned {
                window: Window::new(at(1), at(2)).unwrap(),
                fresh: true,
                lane: Lane::Live,
            },
            ids,
            skipped,
            labels: Labels::default(),
            started: Instant::now(),
        }
    }

    fn settled(settlement: &mut Settlement) -> Vec<u64> {
        settlement
            .take_settled()
            .iter()
            .map(|s| s.listed.seq)
            .collect()
    }

    #[test]
    fn a_window_is_settled_once_its_last_id_is_applied() {
        let mut settlement = Settlement::default();
        settlement.applied(0, Applied::Inserted);
        assert!(settled(&mut settlement).is_empty(), "not yet listed");
        settlement.listed(listed(0, 3, 1));
        assert!(settled(&mut settlement).is_empty(), "one id is missing");
        settlement.applied(0, Applied::Parked);
        let window = settlement.take_settled().pop().unwrap();
        let Tally {
            listed,
            inserted,
            skipped,
            parked,
            ..
        } = window.tally;
        assert_eq!((listed, inserted, skipped, parked), (3, 1, 1, 1));
        assert!(settled(&mut settlement).is_empty());
    }

    #[test]
    fn a_window_settles_only_after_those_listed_earlier() {
        let mut settlement = Settlement::default();
        settlement.listed(listed(2, 0, 0));
        settlement.listed(listed(1, 0, 0));
        assert!(settled(&mut settlement).is_empty());
        settlement.listed(listed(0, 1, 0));
        assert!(settled(&mut settlement).is_empty());
        settlement.applied(0, Applied::Deleted);
        assert_eq!(settled(&mut settlement), [0, 1, 2]);
    }
}
