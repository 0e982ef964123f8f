//! The jobs that cvsync repeats.

use serde::{Serialize, Serializer};

use super::closed_set::closed_set;

closed_set! {
    /// A job; the column `job` of `job_success`, and the label `job` of metrics.
    pub Job {
        /// An operator approves held deletes.
        ApproveDeletes = "deletes_approved",
        /// Once a day: old tombstones and repeated windows are forgotten.
        Housekeeping = "housekeeping",
        Reconcile = "reconcile",
        /// Stored documents are brought into the shape of changed settings.
        Refit = "refit",
        /// Code lists and diplomas.
        Reference = "reference",
        Relist = "relist",
        /// The search index follows the change feed.
        Search = "search",
        Sync = "sync",
    }
}

impl Job {
    /// Jobs whose last success status shows.
    pub(crate) const SHOWN: [Self; 4] =
        [Self::Reconcile, Self::Reference, Self::Relist, Self::Sync];

    /// The job with this word; `None` for one of another version of cvsync.
    #[must_use]
    pub(crate) fn of(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|job| job.as_str() == word)
    }
}

impl Serialize for Job {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_job_is_found_by_its_word() {
        for job in Job::ALL {
            assert_eq!(Job::of(job.as_str()), Some(*job));
        }
        assert_eq!(Job::of("dance"), None);
    }
}
