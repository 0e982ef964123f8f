//! When a window is settled: each of its ids has met its end, durably; pure.
//!
//! Invariant: windows come out in the order in which they were listed, so the watermark moves over a settled prefix only.

use std::collections::BTreeMap;
use std::time::Instant;

use super::plan::Planned;
use super::sift::Labels;
use crate::model::Tally;
use crate::store::Applied;

/// A window whose listing has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listed {
    /// Its place in the run, from 0 without gaps.
    pub seq: u64,
    /// Its row in `sync_window`; none for what is only compared.
    pub row: Option<i64>,
    /// The span, and whether the watermark moves.
    pub planned: Planned,
    /// Ids that the source listed.
    pub ids: u64,
    /// Those among them that need no detail call.
    pub skipped: u64,
    /// The ids by what they say about themselves.
    pub labels: Labels,
    /// When its listing began.
    pub started: Instant,
}

/// A window all of whose ids have met their end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settled {
    /// The window.
    pub listed: Listed,
    /// What became of its ids.
    pub tally: Tally,
}

/// The windows of one run that are not settled yet. Listings and ends may be told in any order.
#[derive(Debug, Default)]
pub(super) struct Settlement {
    next: u64,
    windows: BTreeMap<u64, (Option<Listed>, Tally)>,
}

impl Settlement {
    /// The listing of a window has ended.
    pub(super) fn listed(&mut self, listed: Listed) {
        let (slot, tally) = self.windows.entry(listed.seq).or_default();
        tally.listed = listed.ids;
        tally.skipped = listed.skipped;
        *slot = Some(listed);
    }

    /// One id of window `seq` has met its end.
    pub(super) fn done(&mut self, seq: u64, end: Applied) {
        end.count_in(&mut self.windows.entry(seq).or_default().1);
    }

    /// Takes out the windows that are settled, with all before them.
    pub(super) fn take_settled(&mut self) -> Vec<Settled> {
        let mut settled = Vec::new();
        while let Some(window) = self.take_next() {
            settled.push(window);
        }
        settled
    }

    fn take_next(&mut self) -> Option<Settled> {
        let (listed, tally) = *self.windows.get(&self.next)?;
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
    use crate::model::Window;

    fn listed(seq: u64, ids: u64, skipped: u64) -> Listed {
        let at = |s| DateTime::from_timestamp(s, 0).unwrap();
        Listed {
            seq,
            row: None,
            planned: Planned {
                window: Window::new(at(1), at(2)).unwrap(),
                fresh: true,
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
    fn a_window_is_settled_when_its_last_id_is() {
        let mut settlement = Settlement::default();
        settlement.done(0, Applied::Inserted);
        assert!(settled(&mut settlement).is_empty(), "not yet listed");
        settlement.listed(listed(0, 3, 1));
        assert!(settled(&mut settlement).is_empty(), "one id is missing");
        settlement.done(0, Applied::Parked);
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
    fn none_comes_out_before_those_listed_earlier() {
        let mut settlement = Settlement::default();
        settlement.listed(listed(2, 0, 0));
        settlement.listed(listed(1, 0, 0));
        assert!(settled(&mut settlement).is_empty());
        settlement.listed(listed(0, 1, 0));
        assert!(settled(&mut settlement).is_empty());
        settlement.done(0, Applied::Deleted);
        assert_eq!(settled(&mut settlement), [0, 1, 2]);
    }
}
