//! How VDAB's responses differ from the contract, as far as this process has seen. Nothing is lost, but people should know.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::model::{CvId, DriftKind};

/// The CVs that must have an unknown name before it is shown: a name on fewer CVs may be about a person.
const CVS: usize = 20;

/// The most names of a kind that are shown: with more, it is another API.
const MOST: usize = 100;

/// The most names that are counted at a time. With more, counting begins anew, so that names of single CVs cannot fill the memory.
const MOST_COUNTED: usize = 1_000;

/// By kind, the paths of fields and the status words that the contract does not have. A name that few CVs have is `?`.
pub(crate) type Drifts = BTreeMap<DriftKind, BTreeSet<String>>;

#[derive(Debug, Default)]
pub(super) struct DriftLog(Mutex<Log>);

#[derive(Debug, Default)]
struct Log {
    shown: Drifts,
    /// Hashes of the names that are not shown, each with hashes of CVs that have it.
    counted: HashMap<u64, HashSet<u64>>,
    hasher: RandomState,
}

impl DriftLog {
    /// Notes differences of one CV.
    pub(super) fn note(&self, cv: CvId, found: impl IntoIterator<Item = (DriftKind, String)>) {
        for (kind, name) in found {
            self.log().note(cv, kind, name);
        }
    }

    pub(super) fn all(&self) -> Drifts {
        let mut drifts = self.log().shown.clone();
        for kind in DriftKind::ALL {
            drifts.entry(kind).or_default();
        }
        drifts
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    fn note(&mut self, cv: CvId, kind: DriftKind, name: String) {
        if self.is_shown(kind, &name) {
            return;
        }
        let masked = masked(kind, &name);
        if masked != name && self.is_on_many(cv, kind, &name) {
            self.shown.entry(kind).or_default().remove(&masked);
            self.show(kind, name);
        } else if !self.is_shown(kind, &masked) {
            self.show(kind, masked);
        }
    }

    fn is_shown(&self, kind: DriftKind, name: &str) -> bool {
        self.shown
            .get(&kind)
            .is_some_and(|names| names.contains(name))
    }

    /// Counts the CV. Whether enough CVs have the name.
    fn is_on_many(&mut self, cv: CvId, kind: DriftKind, name: &str) -> bool {
        let key = self.hasher.hash_one((kind, name));
        if self.counted.len() >= MOST_COUNTED && !self.counted.contains_key(&key) {
            self.counted.clear();
        }
        let cv = self.hasher.hash_one(cv);
        let cvs = self.counted.entry(key).or_default();
        cvs.insert(cv);
        let is_on_many = cvs.len() >= CVS;
        if is_on_many {
            self.counted.remove(&key);
        }
        is_on_many
    }

    fn show(&mut self, kind: DriftKind, name: String) {
        let names = self.shown.entry(kind).or_default();
        if names.len() < MOST {
            tracing::info!(
                kind = kind.as_str(),
                name,
                "VDAB's responses have something new"
            );
            names.insert(name);
        }
    }
}

/// A path without the name that the contract does not have, such as `ervaringen[].?`.
fn masked(kind: DriftKind, name: &str) -> String {
    match kind {
        // All names in the path are the contract's.
        DriftKind::Type => name.to_owned(),
        DriftKind::NewStatus => "?".to_owned(),
        DriftKind::NewField => match name.rsplit_once('.') {
            Some((parent, _)) => format!("{parent}.?"),
            None => "?".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn cv(number: usize) -> CvId {
        CvId(Uuid::from_u128(number as u128))
    }

    fn shown(log: &DriftLog, kind: DriftKind) -> Vec<String> {
        log.all()[&kind].iter().cloned().collect()
    }

    #[test]
    fn a_name_is_shown_once_many_cvs_have_it() {
        let log = DriftLog::default();
        for (kind, name, masked) in [
            (DriftKind::NewField, "ervaringen[].loon", "ervaringen[].?"),
            (DriftKind::NewField, "loon", "?"),
            (DriftKind::NewStatus, "GEPAUZEERD", "?"),
        ] {
            let log = DriftLog::default();
            for _ in 0..3 {
                for number in 1..CVS {
                    log.note(cv(number), [(kind, name.to_owned())]);
                    assert_eq!(shown(&log, kind), [masked], "{number}");
                }
            }
            log.note(cv(CVS), [(kind, name.to_owned())]);
            assert_eq!(shown(&log, kind), [name]);
        }
        log.note(cv(1), [(DriftKind::Type, "ervaringen[]".to_owned())]);
        assert_eq!(shown(&log, DriftKind::Type), ["ervaringen[]"]);
    }

    #[test]
    fn names_of_single_cvs_stay_hidden_and_hide_no_other_name() {
        let log = DriftLog::default();
        for number in 0..5_000 {
            log.note(
                cv(number),
                [(DriftKind::NewField, format!("Peeters{number}"))],
            );
        }
        assert_eq!(shown(&log, DriftKind::NewField), ["?"]);
        assert!(log.log().counted.len() <= MOST_COUNTED);
        for number in 0..CVS {
            log.note(cv(number), [(DriftKind::NewField, "loon".to_owned())]);
        }
        assert!(shown(&log, DriftKind::NewField).contains(&"loon".to_owned()));
    }
}
