//! How VDAB's answers depart from the contract, as far as this process has seen: nothing is lost by it, and people should know.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use crate::model::DriftKind;

/// More of a kind are not remembered: then it is another API.
const MOST: usize = 100;

/// What was seen, by kind: paths of fields, and status words.
pub(crate) type Seen = BTreeMap<DriftKind, BTreeSet<String>>;

#[derive(Debug, Default)]
pub(super) struct Drift(Mutex<Seen>);

impl Drift {
    pub(super) fn note(&self, found: impl IntoIterator<Item = (DriftKind, String)>) {
        for (kind, name) in found {
            let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let names = seen.entry(kind).or_default();
            if names.len() < MOST && !names.contains(&name) {
                tracing::info!(
                    kind = kind.as_str(),
                    name,
                    "VDAB's answers have something new"
                );
                names.insert(name);
            }
        }
    }

    pub(super) fn seen(&self) -> Seen {
        let mut seen = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for kind in DriftKind::ALL {
            seen.entry(kind).or_default();
        }
        seen
    }
}
