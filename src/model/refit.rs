//! The shape of stored documents, and the work that a change of it needs; pure.

use super::{JsonPointer, Keep, closed_set};

closed_set! {
    /// A part of the work after a change of the shape, in order.
    pub(crate) RefitStage {
        /// Count the stored CVs that do not match the filter, since the delete brake decides about all of them.
        Counting = "counting",
        /// Delete CVs that do not match the filter, and fields that are excluded.
        Pruning = "pruning",
        /// Fetch the CVs that did not match the filter.
        FetchingFiltered = "fetching_filtered",
        /// Fetch the stored CVs, whose documents lack fields.
        FetchingStored = "fetching_stored",
    }
}

/// The settings that decide which CVs are stored, and with which fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StoredShape {
    /// Fields that are left out.
    pub exclude: Vec<JsonPointer>,
    pub keep: Keep,
}

impl StoredShape {
    /// The pointers and the terms, sorted.
    #[must_use]
    pub(crate) fn row(&self) -> (Vec<String>, Vec<String>) {
        let mut exclude: Vec<_> = self.exclude.iter().map(JsonPointer::path).collect();
        exclude.sort_unstable();
        exclude.dedup();
        (exclude, self.keep.terms())
    }

    /// The shape that was recorded as a row. Leaves out what this version does not know.
    #[must_use]
    pub(crate) fn of_row((exclude, keep): &(Vec<String>, Vec<String>)) -> Self {
        let exclude = exclude.iter();
        Self {
            exclude: exclude
                .filter_map(|text| JsonPointer::parse(text))
                .collect(),
            keep: keep.iter().collect(),
        }
    }
}

/// The work after a change of the shape.
#[expect(clippy::struct_excessive_bools, reason = "a row of independent facts")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RefitWork {
    /// Stored CVs may not match the filter.
    pub keep_fewer: bool,
    /// Stored documents may have fields that can be removed in place.
    pub prune: bool,
    /// CVs that were left out may match the filter.
    pub keep_more: bool,
    /// Stored documents may lack fields, or have fields that cannot be removed in place.
    pub refetch: bool,
}

impl RefitWork {
    /// The work that brings documents of shape `from` into this shape.
    #[must_use]
    pub(crate) fn between(from: &StoredShape, to: &StoredShape) -> Self {
        let covered = |pointer: &JsonPointer, by: &[JsonPointer]| {
            by.iter().any(|other| other.contains(pointer))
        };
        let new = to.exclude.iter();
        let new = new.filter(|it| !covered(it, &from.exclude));
        let (positional, named): (Vec<_>, Vec<_>) = new.partition(|it| it.is_positional());
        let mut old = from.exclude.iter();
        Self {
            keep_fewer: !to.keep.covers(&from.keep),
            prune: !named.is_empty(),
            keep_more: !from.keep.covers(&to.keep),
            refetch: !positional.is_empty() || old.any(|it| !covered(it, &to.exclude)),
        }
    }

    /// The next stage after `done` that this work needs.
    #[must_use]
    pub(crate) fn next(self, done: Option<RefitStage>) -> Option<RefitStage> {
        let needed = |stage: &RefitStage| match stage {
            RefitStage::Counting => self.filters_in_place(),
            RefitStage::Pruning => self.filters_in_place() || self.prune,
            RefitStage::FetchingFiltered => self.keep_more,
            RefitStage::FetchingStored => self.refetch,
        };
        let mut stages = RefitStage::ALL.iter().copied();
        stages.find(|stage| done.is_none_or(|done| *stage > done) && needed(stage))
    }

    /// Whether the stored documents show which CVs do not match. Not if they lack fields: then each is fetched first.
    #[must_use]
    pub(crate) fn filters_in_place(self) -> bool {
        self.keep_fewer && !self.refetch
    }

    #[must_use]
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            keep_fewer: self.keep_fewer || other.keep_fewer,
            prune: self.prune || other.prune,
            keep_more: self.keep_more || other.keep_more,
            refetch: self.refetch || other.refetch,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_that_lacks_fields_is_fetched_before_it_is_filtered() {
        let both = RefitWork {
            keep_fewer: true,
            refetch: true,
            ..RefitWork::default()
        };
        assert_eq!(both.next(None), Some(RefitStage::FetchingStored));
        let alone = RefitWork {
            refetch: false,
            ..both
        };
        assert_eq!(alone.next(None), Some(RefitStage::Counting));
    }

    fn shape(exclude: &[&str], keep: &[&str]) -> StoredShape {
        let pointers = exclude.iter().map(|text| JsonPointer::parse(text).unwrap());
        StoredShape {
            exclude: pointers.collect(),
            keep: keep
                .iter()
                .map(|term| Keep::parse_term(term).unwrap())
                .collect(),
        }
    }

    #[test]
    fn stages_follow_each_other_and_those_without_work_are_left_out() {
        let work = RefitWork {
            keep_fewer: true,
            keep_more: true,
            ..RefitWork::default()
        };
        let stages = std::iter::successors(work.next(None), |stage| work.next(Some(*stage)));
        let words: Vec<_> = stages.map(RefitStage::as_str).collect();
        assert_eq!(words, ["counting", "pruning", "fetching_filtered"]);
        assert_eq!(RefitWork::default().next(None), None);
    }

    fn work(from: &StoredShape, to: &StoredShape) -> [bool; 4] {
        let work = RefitWork::between(from, to);
        [work.keep_fewer, work.prune, work.keep_more, work.refetch]
    }

    #[test]
    fn a_change_of_the_excluded_fields_is_pruned_in_place_or_refetched() {
        let plain = shape(&[], &[]);
        let email = shape(&["/natuurlijkPersoon/email"], &[]);
        let person = shape(&["/natuurlijkPersoon"], &[]);
        let first = shape(&["/ervaringen/0"], &[]);
        assert_eq!(work(&plain, &plain), [false; 4]);
        assert_eq!(work(&plain, &email), [false, true, false, false]);
        assert_eq!(work(&email, &person), [false, true, false, false]);
        assert_eq!(work(&person, &email), [false, false, false, true]);
        assert_eq!(work(&email, &plain), [false, false, false, true]);
        // The stored list has lost its first element, and it cannot be told which ones.
        assert_eq!(work(&plain, &first), [false, false, false, true]);
    }

    #[test]
    fn a_change_of_the_filter_prunes_or_refetches_those_that_were_left_out() {
        let plain = shape(&[], &[]);
        let one = shape(&[], &["regio:A"]);
        let two = shape(&[], &["regio:A", "regio:B"]);
        let other = shape(&[], &["studie:X"]);
        assert_eq!(work(&plain, &one), [true, false, false, false]);
        assert_eq!(work(&one, &plain), [false, false, true, false]);
        assert_eq!(work(&one, &two), [false, false, true, false]);
        assert_eq!(work(&two, &one), [true, false, false, false]);
        assert_eq!(work(&one, &other), [true, false, true, false]);
    }
}
