//! How VDAB's responses differ from the contract, as far as this process has seen. Nothing is lost, but people should know.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use crate::model::DriftKind;

/// The most names of a kind that are remembered: with more, it is another API.
const MOST: usize = 100;

/// By kind, the paths of fields and the status words that the contract does not have.
pub(crate) type Drifts = BTreeMap<DriftKind, BTreeSet<String>>;

#[derive(Debug, Default)]
pub(super) struct DriftLog(Mutex<Drifts>);

impl DriftLog {
    pub(super) fn note(&self, found: impl IntoIterator<Item = (DriftKind, String)>) {
        for (kind, name) in found {
            let mut drifts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let names = drifts.entry(kind).or_default();
            if names.len() < MOST && !names.contains(&name) {
                tracing::info!(
                    kind = kind.as_str(),
                    name,
                    "VDAB's responses have something new"
                );
                names.insert(name);
            }
        }
    }

    pub(super) fn all(&self) -> Drifts {
        let mut drifts = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for kind in DriftKind::ALL {
            drifts.entry(kind).or_default();
        }
        drifts
    }
}
