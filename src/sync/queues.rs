//! How full the channels of a run are, for those who watch from outside.

use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc::{Sender, WeakSender};

use super::{Done, Work};

/// Looks at the channels of the run under way without keeping them open.
#[derive(Debug, Default)]
pub struct Queues(Mutex<Option<(WeakSender<Work>, WeakSender<Done>)>>);

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

impl Queues {
    pub(super) fn watch(&self, ids: &Sender<Work>, outcomes: &Sender<Done>) {
        let watched = (ids.downgrade(), outcomes.downgrade());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(watched);
    }

    /// The channels as they are now; none while no run is under way.
    #[must_use]
    pub fn look(&self) -> Vec<Queue> {
        let watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((ids, outcomes)) = watched.as_ref() else {
            return Vec::new();
        };
        [look("ids", ids), look("outcomes", outcomes)]
            .into_iter()
            .flatten()
            .collect()
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
