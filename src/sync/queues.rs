//! How full the channels of a run are and how its workers are occupied, for metrics and the status page.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::mpsc::{Sender, WeakSender};

use super::in_flight::InFlight;
use super::work::{Done, Item};
use super::workers::Pool;
use crate::model::Lane;

/// Weak references to the channels of the runs under way.
#[derive(Debug, Default)]
pub struct Queues(Mutex<BTreeMap<Lane, Watched>>);

#[derive(Debug)]
struct Watched {
    ids: WeakSender<Item>,
    outcomes: WeakSender<Done>,
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

impl Queue {
    fn and(self, other: Self) -> Self {
        Self {
            depth: self.depth + other.depth,
            capacity: self.capacity + other.capacity,
            ..self
        }
    }
}

impl Queues {
    pub(super) fn watch(
        &self,
        lane: Lane,
        ids: &Sender<Item>,
        outcomes: &Sender<Done>,
        in_flight: &Arc<InFlight>,
    ) {
        let watched = Watched {
            ids: ids.downgrade(),
            outcomes: outcomes.downgrade(),
            in_flight: Arc::downgrade(in_flight),
        };
        self.lock().insert(lane, watched);
    }

    /// The channels of the runs under way, those of both lanes as one.
    #[must_use]
    pub fn look(&self) -> Vec<Queue> {
        let watched = self.lock();
        let ids = watched.values().filter_map(|run| look("ids", &run.ids));
        let outcomes = watched.values();
        let outcomes = outcomes.filter_map(|run| look("outcomes", &run.outcomes));
        [ids.reduce(Queue::and), outcomes.reduce(Queue::and)]
            .into_iter()
            .flatten()
            .collect()
    }

    /// The occupation of the workers, of whose calls `under_way` are under way.
    #[must_use]
    pub fn workers(&self, pool: &Pool, under_way: usize) -> Workers {
        let (all, busy) = (pool.size(), pool.busy());
        let watched = self.lock();
        let runs = watched.values();
        let slots: usize = runs
            .filter_map(|run| Some(run.in_flight.upgrade()?.taken()))
            .sum();
        let fetching = under_way.min(busy);
        let writing = slots.saturating_sub(busy).min(all - busy);
        Workers {
            idle: all - busy - writing,
            quota: busy - fetching,
            fetching,
            writing,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Lane, Watched>> {
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
