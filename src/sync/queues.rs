//! How full the channels of a run are and how its workers are occupied, for metrics and the status page.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Semaphore;
use tokio::sync::mpsc::{Sender, WeakSender};

use super::in_flight::InFlight;
use super::work::{Done, Work};

/// Weak references to the channels and workers of the run under way.
#[derive(Debug, Default)]
pub struct Queues(Mutex<Option<Watched>>);

#[derive(Debug)]
struct Watched {
    ids: WeakSender<Work>,
    outcomes: WeakSender<Done>,
    workers: Weak<Semaphore>,
    in_flight: Weak<InFlight>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// `ids` between lister and workers, `outcomes` between workers and writer.
    pub name: &'static str,
    pub depth: usize,
    pub capacity: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Workers {
    pub idle: usize,
    /// Waiting for the quota or a closed gate.
    pub quota: usize,
    pub fetching: usize,
    /// Their response waits to be committed.
    pub writing: usize,
}

impl Queues {
    pub(super) fn watch(
        &self,
        ids: &Sender<Work>,
        outcomes: &Sender<Done>,
        workers: &Arc<Semaphore>,
        in_flight: &Arc<InFlight>,
    ) {
        *self.lock() = Some(Watched {
            ids: ids.downgrade(),
            outcomes: outcomes.downgrade(),
            workers: Arc::downgrade(workers),
            in_flight: Arc::downgrade(in_flight),
        });
    }

    /// The channels of the run under way.
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

    /// The occupation of `all` workers, of whose calls `under_way` are under way.
    #[must_use]
    pub fn workers(&self, all: usize, under_way: usize) -> Workers {
        let watched = self.lock();
        let of_run = watched.as_ref().and_then(|watched| {
            let busy = all - watched.workers.upgrade()?.available_permits().min(all);
            Some((busy, watched.in_flight.upgrade()?.taken()))
        });
        let Some((busy, slots)) = of_run else {
            return Workers {
                idle: all,
                ..Workers::default()
            };
        };
        let fetching = under_way.min(busy);
        let writing = slots.saturating_sub(busy).min(all - busy);
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
