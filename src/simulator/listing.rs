//! The list of `/kandidaten/bulk`: each CV once, at its latest change, in the order of changes.
//!
//! It can lag behind the CVs, as VDAB's may: a change is listed some time after its timestamp.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use crate::contract::BulkItem;

/// Milliseconds since 1970.
pub(super) type Millis = i64;

/// A listed change of a CV.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Change {
    pub(super) at: Millis,
    pub(super) index: u32,
    pub(super) live: bool,
}

#[derive(Default)]
pub(super) struct Listing {
    listed: BTreeSet<Change>,
    /// The entry of each CV in `listed`, by its number.
    current: Vec<Option<(Millis, bool)>>,
    /// Hidden changes, by the time at which they become visible.
    hidden: BTreeSet<(Millis, Change)>,
    pub(super) delay: TimeDelta,
    /// Additional items: garbage, duplicates.
    pub(super) extras: Vec<(DateTime<Utc>, BulkItem)>,
}

impl Listing {
    /// A listing of these changes: one per CV, ordered by number.
    pub(super) fn of(changes: &[Change]) -> Self {
        Self {
            listed: changes.iter().copied().collect(),
            current: changes
                .iter()
                .map(|change| Some((change.at, change.live)))
                .collect(),
            ..Self::default()
        }
    }

    /// Notes a change that becomes visible after the delay, by [`Listing::reveal`].
    pub(super) fn record(&mut self, change: Change) {
        self.hidden
            .insert((change.at + self.delay.num_milliseconds(), change));
    }

    /// Shows the changes that are visible by `now`.
    pub(super) fn reveal(&mut self, now: Millis) {
        while let Some((visible, change)) = self.hidden.first().copied() {
            if visible > now {
                break;
            }
            self.hidden.pop_first();
            self.show(change);
        }
    }

    /// Removes a CV from the list, as if its changes had never been reported.
    pub(super) fn forget(&mut self, index: u32) {
        self.hidden.retain(|(_, change)| change.index != index);
        if let Some((at, live)) = self.current.get_mut(index as usize).and_then(Option::take) {
            self.listed.remove(&Change { at, index, live });
        }
    }

    /// The number of items in `van <= t < tot`, and at most `aantal` of them from `vanaf` on.
    pub(super) fn page(
        &self,
        van: Millis,
        tot: Millis,
        vanaf: usize,
        aantal: usize,
    ) -> (usize, Vec<Change>) {
        let first = |at| Change {
            at,
            index: 0,
            live: false,
        };
        let mut total = 0;
        let mut page = Vec::new();
        for change in self.listed.range(first(van)..first(tot)) {
            if total >= vanaf && page.len() < aantal {
                page.push(*change);
            }
            total += 1;
        }
        (total, page)
    }

    fn show(&mut self, change: Change) {
        let place = change.index as usize;
        if self.current.len() <= place {
            self.current.resize(place + 1, None);
        }
        if let Some((at, live)) = self.current[place].replace((change.at, change.live)) {
            self.listed.remove(&Change { at, live, ..change });
        }
        self.listed.insert(change);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(at: Millis, index: u32) -> Change {
        Change {
            at,
            index,
            live: true,
        }
    }

    #[test]
    fn a_window_holds_its_beginning_and_not_its_end() {
        let listing = Listing::of(&[change(10, 0), change(20, 1), change(30, 2)]);
        assert_eq!(
            listing.page(10, 30, 0, 9),
            (2, vec![change(10, 0), change(20, 1)])
        );
        assert_eq!(listing.page(10, 30, 1, 9), (2, vec![change(20, 1)]));
        assert_eq!(listing.page(0, 99, 0, 1), (3, vec![change(10, 0)]));
        assert_eq!(listing.page(11, 11, 0, 9), (0, vec![]));
    }

    #[test]
    fn a_cv_stands_at_its_latest_change_only() {
        let mut listing = Listing::of(&[change(10, 0), change(20, 1)]);
        listing.record(change(30, 0));
        listing.reveal(30);
        assert_eq!(
            listing.page(0, 99, 0, 9),
            (2, vec![change(20, 1), change(30, 0)])
        );
    }

    #[test]
    fn a_late_change_shows_after_its_delay() {
        let mut listing = Listing::of(&[change(10, 0)]);
        listing.delay = TimeDelta::milliseconds(5);
        listing.record(change(30, 0));
        listing.reveal(34);
        assert_eq!(listing.page(0, 99, 0, 9).1, [change(10, 0)]);
        listing.reveal(35);
        assert_eq!(listing.page(0, 99, 0, 9).1, [change(30, 0)]);
        listing.forget(0);
        assert_eq!(listing.page(0, 99, 0, 9).0, 0);
    }
}
