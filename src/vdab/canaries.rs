//! CVs that are known to be there: their details tell whether the source answers.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::model::CvId;

/// So many are remembered: any one of them may fail by itself, and many may be gone after a mass of removals.
const MOST: usize = 10;

/// The latest answer first.
#[derive(Debug, Default)]
pub(super) struct Canaries(Mutex<Vec<CvId>>);

impl Canaries {
    /// The one to ask for.
    pub(super) fn first(&self) -> Option<CvId> {
        self.lock().first().copied()
    }

    /// The one to ask for where `id` itself proves nothing.
    pub(super) fn other_than(&self, id: CvId) -> Option<CvId> {
        self.lock().iter().copied().find(|canary| *canary != id)
    }

    /// It is there: an answer has just said so.
    pub(super) fn answered(&self, id: CvId) {
        let mut known = self.lock();
        known.retain(|canary| *canary != id);
        known.insert(0, id);
        known.truncate(MOST);
    }

    /// Those that somebody else knows of, as far as there is room for them.
    pub(super) fn suggest(&self, ids: impl IntoIterator<Item = CvId>) {
        let mut known = self.lock();
        for id in ids {
            if known.len() < MOST && !known.contains(&id) {
                known.push(id);
            }
        }
    }

    /// It is gone, or may fail by itself: the next one is asked for from now on.
    pub(super) fn drop(&self, id: CvId) {
        self.lock().retain(|canary| *canary != id);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<CvId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
