//! What a run has in hand: answers that cost a call and are not written yet. A crash loses them, and asks again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Up to this quota a minute one answer for each worker is room enough, unless calls or commits take half a second: then more
/// workers use what is left of the quota.
const QUICK: u32 = 30_000;

/// A run without such a quota has little in hand until it has written so much: then a crash, even one after another, costs
/// little of what it gained, and larger batches take a third of PostgreSQL's time for each document (`benches/full_sync.rs`).
const YOUNG: usize = 1_000;

/// More makes it no faster.
const MOST: usize = 1_500;

/// Room for what is in hand.
#[derive(Debug)]
pub(super) struct Hand {
    room: Arc<Semaphore>,
    size: AtomicUsize,
    most: usize,
    written: AtomicUsize,
}

/// The place of one answer, from before the call until it is written.
#[derive(Debug)]
pub(super) struct Place(#[expect(dead_code, reason = "it is held, not read")] OwnedSemaphorePermit);

impl Hand {
    /// Room for one answer for each of `workers`; for many, later, where the quota lets them be used.
    pub(super) fn new(workers: usize, per_minute: u32) -> Self {
        Self {
            room: Arc::new(Semaphore::new(workers)),
            size: AtomicUsize::new(workers),
            most: if per_minute > QUICK {
                MOST.max(workers)
            } else {
                workers
            },
            written: AtomicUsize::new(0),
        }
    }

    /// Answers that there is room for.
    pub(super) fn size(&self) -> usize {
        self.size.load(Ordering::Relaxed)
    }

    /// Answers that are in hand, and calls whose answers have a place already.
    pub(super) fn taken(&self) -> usize {
        self.size().saturating_sub(self.room.available_permits())
    }

    /// Waits for a place; `None` never comes, since the room is never closed.
    pub(super) async fn place(&self) -> Option<Place> {
        let permit = Arc::clone(&self.room).acquire_owned().await;
        permit.ok().map(Place)
    }

    /// So many more are written.
    pub(super) fn written(&self, answers: usize) {
        let written = self.written.fetch_add(answers, Ordering::Relaxed) + answers;
        if written >= YOUNG {
            let before = self.size.swap(self.most, Ordering::Relaxed);
            self.room.add_permits(self.most - before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn with_vdabs_quota_there_is_one_place_for_each_worker_for_ever() {
        let hand = Hand::new(2, 2_000);
        let (one, two) = (hand.place().await, hand.place().await);
        assert!(one.is_some() && two.is_some());
        assert_eq!(hand.room.available_permits(), 0);
        hand.written(1_000_000);
        assert_eq!(hand.room.available_permits(), 0);
        drop(one);
        assert_eq!(hand.room.available_permits(), 1);
    }

    #[test]
    fn without_a_quota_there_is_more_room_once_much_is_written() {
        let hand = Hand::new(16, 1_000_000);
        hand.written(YOUNG - 1);
        assert_eq!((hand.size(), hand.room.available_permits()), (16, 16));
        hand.written(1);
        hand.written(1);
        assert_eq!((hand.size(), hand.room.available_permits()), (1_500, 1_500));
    }
}
