//! A batch of outcomes, split once into upserts, deletes and parked CVs; pure.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::parked_cv::{self, Park};
use crate::model::{Document, Fate, Outcome, ParkClass, Tally};

/// The result of one outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The document was not stored before.
    Inserted,
    /// The content of the document is new.
    Updated,
    /// The same document, or the absence, was stored already.
    Unchanged,
    /// The CV is gone at VDAB.
    Deleted,
    /// VDAB has the CV, and it was deleted because it does not match CVSYNC_KEEP.
    Filtered,
    /// A newer state was stored, or is in the same batch.
    Superseded,
    Parked,
    /// The brake holds the delete.
    Held,
    /// The delete is held, because VDAB gave no proof.
    Unproven,
    /// The CV is suppressed, so nothing about it was stored.
    Skipped,
}

impl Applied {
    pub fn count_in(self, tally: &mut Tally) {
        tally.filtered += u64::from(self == Self::Filtered);
        *match self {
            Self::Inserted => &mut tally.inserted,
            Self::Updated => &mut tally.updated,
            Self::Unchanged => &mut tally.unchanged,
            Self::Deleted | Self::Filtered => &mut tally.deleted,
            Self::Superseded => &mut tally.superseded,
            Self::Parked => &mut tally.parked,
            Self::Held | Self::Unproven => &mut tally.held,
            Self::Skipped => &mut tally.skipped,
        } += 1;
    }
}

/// The newest outcome for each CV, in the order of ids.
pub(super) struct Batch<'a> {
    pub(super) upserts: BTreeMap<Uuid, Upsert<'a>>,
    pub(super) deletes: BTreeMap<Uuid, Delete>,
    /// By the key of `parked_cv`.
    pub(super) parked: BTreeMap<String, Park>,
    /// In the order of the outcomes. A result is `Superseded` until the outcome is applied.
    pub(super) results: Vec<Applied>,
}

pub(super) struct Upsert<'a> {
    /// The index of its result.
    pub(super) at: usize,
    pub(super) as_of: DateTime<Utc>,
    pub(super) document: &'a Document,
}

#[derive(Clone, Copy)]
pub(super) struct Delete {
    /// The index of its result.
    pub(super) at: usize,
    pub(super) as_of: DateTime<Utc>,
    pub(super) proof: Proof,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    Proven,
    /// VDAB has the CV, but it does not match CVSYNC_KEEP.
    Filtered,
    /// VDAB reported the CV as gone, but answered for no live CV.
    Unproven {
        /// Whether the absence contradicts the list.
        listed_live: bool,
    },
}

/// The newest outcome so far for one CV.
struct Newest<'a> {
    at: usize,
    as_of: DateTime<Utc>,
    /// `Err` for an absence.
    state: Result<&'a Document, Proof>,
}

impl<'a> Batch<'a> {
    /// Of two outcomes for a CV that are equally old, the later one counts. Those of suppressed CVs do not count at all.
    pub(super) fn split(outcomes: &[&'a Outcome], suppressed: &HashSet<Uuid>) -> Self {
        let mut newest = BTreeMap::<Uuid, Newest<'a>>::new();
        let mut parked = BTreeMap::new();
        let mut results = Vec::new();
        for (at, outcome) in outcomes.iter().enumerate() {
            let as_of = outcome.as_of;
            if outcome
                .fate
                .id()
                .is_some_and(|id| suppressed.contains(&id.0))
            {
                results.push(Applied::Skipped);
                continue;
            }
            let (id, state) = match &outcome.fate {
                Fate::Parked(id, class, wait) => {
                    let park = Park {
                        class: *class,
                        as_of,
                        wait: *wait,
                    };
                    parked.insert(parked_cv::key(id), park);
                    results.push(Applied::Parked);
                    continue;
                }
                Fate::Live(id, document) => (id.0, Ok(document)),
                Fate::Gone(id) => (id.0, Err(Proof::Proven)),
                Fate::Unproven { id, listed_live } => {
                    let listed_live = *listed_live;
                    (id.0, Err(Proof::Unproven { listed_live }))
                }
            };
            results.push(Applied::Superseded);
            if newest.get(&id).is_none_or(|earlier| earlier.as_of <= as_of) {
                newest.insert(id, Newest { at, as_of, state });
            }
        }
        let (mut upserts, mut deletes) = (BTreeMap::new(), BTreeMap::new());
        for (id, Newest { at, as_of, state }) in newest {
            match state {
                Ok(document) => {
                    let upsert = Upsert {
                        at,
                        as_of,
                        document,
                    };
                    upserts.insert(id, upsert);
                }
                Err(proof) => {
                    deletes.insert(id, Delete { at, as_of, proof });
                }
            }
        }
        Self {
            upserts,
            deletes,
            parked,
            results,
        }
    }

    /// Turns upserts that do not match into deletes.
    pub(super) fn filter(&mut self, matching: &HashSet<Uuid>) {
        let leaving = |id: &Uuid, _: &mut Upsert<'_>| !matching.contains(id);
        for (id, Upsert { at, as_of, .. }) in self.upserts.extract_if(.., leaving) {
            let proof = Proof::Filtered;
            self.deletes.insert(id, Delete { at, as_of, proof });
        }
    }

    /// Takes deletes out of the batch that are held.
    pub(super) fn hold(&mut self, ids: &[Uuid]) -> Vec<(Uuid, DateTime<Utc>)> {
        let held = ids
            .iter()
            .filter_map(|id| self.deletes.remove_entry(id))
            .map(|(id, Delete { at, as_of, proof })| {
                self.results[at] = match proof {
                    Proof::Proven | Proof::Filtered => Applied::Held,
                    Proof::Unproven { .. } => Applied::Unproven,
                };
                (id, as_of)
            });
        held.collect()
    }

    /// Parks a CV whose delete contradicts the list without proof.
    pub(super) fn park_unproven(&mut self, id: Uuid) {
        if let Some(Delete { at, as_of, .. }) = self.deletes.remove(&id) {
            self.results[at] = Applied::Parked;
            let park = Park {
                class: ParkClass::Unproven,
                as_of,
                wait: Duration::ZERO,
            };
            self.parked.insert(id.to_string(), park);
        }
    }

    /// Leaves out the CVs of which a newer state is stored.
    pub(super) fn retain(&mut self, confirmed: &HashSet<Uuid>) {
        self.upserts.retain(|id, _| confirmed.contains(id));
        self.deletes.retain(|id, _| confirmed.contains(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::CvId;

    const A: CvId = CvId(Uuid::from_u128(1));
    const B: CvId = CvId(Uuid::from_u128(2));

    fn outcome(second: i64, fate: Fate) -> Outcome {
        Outcome {
            window: None,
            as_of: DateTime::from_timestamp(second, 0).unwrap(),
            fate,
        }
    }

    fn live(second: i64, id: CvId) -> Outcome {
        let json = format!(r#"{{"cvId":"{id}"}}"#);
        let document = Document::read(json.as_bytes(), &[]).unwrap().1;
        outcome(second, Fate::Live(id, document))
    }

    fn split<'a>(outcomes: &'a [Outcome], suppressed: &[CvId]) -> Batch<'a> {
        let outcomes: Vec<_> = outcomes.iter().collect();
        Batch::split(&outcomes, &suppressed.iter().map(|id| id.0).collect())
    }

    #[test]
    fn outcomes_of_suppressed_cvs_are_skipped() {
        let parked = Fate::Parked(A.to_string(), ParkClass::Refused, Duration::ZERO);
        let outcomes = [
            live(1, A),
            outcome(2, Fate::Gone(A)),
            outcome(3, parked),
            live(1, B),
        ];
        let batch = split(&outcomes, &[A]);
        assert!(batch.upserts.keys().eq([&B.0]));
        assert!(batch.deletes.is_empty() && batch.parked.is_empty());
        assert_eq!(batch.results[..3], [Applied::Skipped; 3]);
    }

    #[test]
    fn the_newest_outcome_of_a_cv_counts_and_of_equals_the_later_one() {
        let outcomes = [
            live(2, A),
            outcome(1, Fate::Gone(A)),
            outcome(5, Fate::Gone(B)),
            live(5, B),
        ];
        let batch = split(&outcomes, &[]);
        assert_eq!(batch.upserts[&A.0].at, 0);
        assert_eq!(batch.upserts[&B.0].at, 3);
        assert!(batch.deletes.is_empty());
        assert_eq!(batch.results, [Applied::Superseded; 4]);
    }

    #[test]
    fn held_and_unproven_deletes_leave_the_batch_with_their_results() {
        let unproven = |id, listed_live| outcome(1, Fate::Unproven { id, listed_live });
        let outcomes = [
            outcome(1, Fate::Gone(A)),
            unproven(B, true),
            outcome(
                1,
                Fate::Parked("x".into(), ParkClass::BadId, Duration::ZERO),
            ),
        ];
        let mut batch = split(&outcomes, &[]);
        assert_eq!(batch.hold(&[A.0]), [(A.0, outcomes[0].as_of)]);
        batch.park_unproven(B.0);
        assert!(batch.deletes.is_empty());
        let parked: Vec<_> = batch.parked.keys().cloned().collect();
        assert_eq!(parked, [B.to_string(), "x".to_owned()]);
        let expected = [Applied::Held, Applied::Parked, Applied::Parked];
        assert_eq!(batch.results, expected);
    }
}
