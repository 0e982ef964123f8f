//! How full the channels of a run are and what its workers are at, for those who watch from outside.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Semaphore;
use tokio::sync::mpsc::{Sender, WeakSender};

use super::hand::Hand;
use super::{Done, Work};

/// Looks at the channels and workers of the run under way without keeping them.
#[derive(Debug, Default)]
pub struct Queues(Mutex<Option<Watched>>);

#[derive(Debug)]
struct Watched {
    ids: WeakSender<Work>,
    outcomes: WeakSender<Done>,
    workers: Weak<Semaphore>,
    hand: Weak<Hand>,
}

/// One channel: its name, what waits in it, and the most that can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// `ids` between lister and workers, `outcomes` between workers and writer.
    pub name: &'static str,
    /// Items that wait.
    pub depth: usize,
    /// The bound.
    pub capacity: usize,
}

/// Workers by what they are at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Workers {
    /// Nothing.
    pub idle: usize,
    /// They wait for the quota, or before a closed gate.
    pub quota: usize,
    /// A call is under way.
    pub fetching: usize,
    /// What they fetched waits to be written.
    pub writing: usize,
}

impl Queues {
    pub(super) fn watch(
        &self,
        ids: &Sender<Work>,
        outcomes: &Sender<Done>,
        workers: &Arc<Semaphore>,
        hand: &Arc<Hand>,
    ) {
        *self.lock() = Some(Watched {
            ids: ids.downgrade(),
            outcomes: outcomes.downgrade(),
            workers: Arc::downgrade(workers),
            hand: Arc::downgrade(hand),
        });
    }

    /// The channels as they are now; none while no run is under way.
    #[must_use]
    pub fn look(&self) -> Vec<Queue> {
        let watched = self.lock();
        let Some(watched) = watched.as_ref() else {
            return Vec::new();
        };
        [
            look("ids", &watched.ids),
            look("outcomes", &watched.outcomes),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// What `all` workers are at, while so many calls are under way.
    #[must_use]
    pub fn workers(&self, all: usize, under_way: usize) -> Workers {
        let watched = self.lock();
        let under_way_of_run = watched.as_ref().and_then(|watched| {
            let busy = all - watched.workers.upgrade()?.available_permits().min(all);
            Some((busy, watched.hand.upgrade()?.taken()))
        });
        let Some((busy, in_hand)) = under_way_of_run else {
            return Workers {
                idle: all,
                ..Workers::default()
            };
        };
        let fetching = under_way.min(busy);
        let writing = in_hand.saturating_sub(busy).min(all - busy);
        Workers {
            idle: all - busy - writing,
            quota: busy - fetching,
            fetching,
            writing,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Watched>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn look<T>(name: &'static str, channel: &WeakSender<T>) -> Option<Queue> {
    let channel = channel.upgrade()?;
    Some(Queue {
        name,
        depth: channel.max_capacity() - channel.capacity(),
        capacity: channel.max_capacity(),
    })
}
