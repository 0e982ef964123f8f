//! Responses in flight: those that have cost a call and are not committed. A crash loses them, and the next run fetches them again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Up to this quota per minute, one response for each worker is enough, unless calls or commits take half a second. Then more
/// workers use the rest of the quota.
const QUICK: u32 = 30_000;

/// A run with a larger quota has one slot for each this many responses that it has committed.
///
/// So a crash costs at most half of what the run has gained, even if crashes repeat, and the slots grow within a few batches.
/// Larger batches take a third of PostgreSQL's time for each document (`benches/full_sync.rs`).
const COMMITTED_PER_SLOT: usize = 2;

/// The most calls that a crash costs. More slots make a run hardly faster.
const MOST: usize = 600;

/// The slots of a run.
#[derive(Debug)]
pub(super) struct InFlight {
    slots: Arc<Semaphore>,
    size: AtomicUsize,
    most: usize,
    committed: AtomicUsize,
}

/// The slot of one response, from before its call until it is committed.
#[derive(Debug)]
pub(super) struct Slot(#[expect(dead_code, reason = "it is held, not read")] OwnedSemaphorePermit);

impl InFlight {
    /// One slot for each of `workers`, and many more later if the quota is large.
    pub(super) fn new(workers: usize, per_minute: u32) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(workers)),
            size: AtomicUsize::new(workers),
            most: if per_minute > QUICK {
                MOST.max(workers)
            } else {
                workers
            },
            committed: AtomicUsize::new(0),
        }
    }

    pub(super) fn size(&self) -> usize {
        self.size.load(Ordering::Relaxed)
    }

    /// Slots in use: by calls, and by responses that are not committed.
    pub(super) fn taken(&self) -> usize {
        self.size().saturating_sub(self.slots.available_permits())
    }

    /// Waits for a slot. It never returns `None`, since the semaphore is never closed.
    pub(super) async fn slot(&self) -> Option<Slot> {
        let permit = Arc::clone(&self.slots).acquire_owned().await;
        permit.ok().map(Slot)
    }

    pub(super) fn committed(&self, responses: usize) {
        let committed = self.committed.fetch_add(responses, Ordering::Relaxed) + responses;
        let size = (committed / COMMITTED_PER_SLOT).min(self.most);
        let before = self.size.fetch_max(size, Ordering::Relaxed);
        self.slots.add_permits(size.saturating_sub(before));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn with_vdabs_quota_there_is_always_one_slot_for_each_worker() {
        let in_flight = InFlight::new(2, 2_000);
        let (one, two) = (in_flight.slot().await, in_flight.slot().await);
        assert!(one.is_some() && two.is_some());
        assert_eq!(in_flight.slots.available_permits(), 0);
        in_flight.committed(1_000_000);
        assert_eq!(in_flight.slots.available_permits(), 0);
        drop(one);
        assert_eq!(in_flight.slots.available_permits(), 1);
    }

    #[test]
    fn with_a_large_quota_slots_grow_with_what_is_committed() {
        let in_flight = InFlight::new(16, 1_000_000);
        for (committed, slots) in [
            (33, 16),
            (1, 17),
            (66, 50),
            (1_098, 599),
            (2, 600),
            (9_000, 600),
        ] {
            in_flight.committed(committed);
            assert_eq!(
                (in_flight.size(), in_flight.slots.available_permits()),
                (slots, slots)
            );
        }
    }
}
