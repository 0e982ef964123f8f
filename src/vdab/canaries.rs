//! CVs that are known to be live: their details show whether VDAB answers.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::model::CvId;

/// The most canaries. Any one of them may fail by itself, and many may be gone after a mass of removals.
const MOST: usize = 10;

/// The latest answer first.
#[derive(Debug, Default)]
pub(super) struct Canaries(Mutex<Vec<CvId>>);

impl Canaries {
    pub(super) fn first(&self) -> Option<CvId> {
        self.lock().first().copied()
    }

    /// A canary that is not `id` itself.
    pub(super) fn other_than(&self, id: CvId) -> Option<CvId> {
        self.lock().iter().copied().find(|canary| *canary != id)
    }

    /// A response has just shown that this CV is live.
    pub(super) fn answered(&self, id: CvId) {
        let mut canaries = self.lock();
        canaries.retain(|canary| *canary != id);
        canaries.insert(0, id);
        canaries.truncate(MOST);
    }

    /// Adds CVs that are probably live, while there is room.
    pub(super) fn suggest(&self, ids: impl IntoIterator<Item = CvId>) {
        let mut canaries = self.lock();
        for id in ids {
            if canaries.len() < MOST && !canaries.contains(&id) {
                canaries.push(id);
            }
        }
    }

    /// Removes a CV that is gone, or that may fail by itself.
    pub(super) fn drop(&self, id: CvId) {
        self.lock().retain(|canary| *canary != id);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<CvId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
