//! The workers that fetch details, shared by both lanes: the live lane takes them first.

use tokio::sync::{Semaphore, SemaphorePermit, watch};

use crate::model::Lane;

#[derive(Debug)]
pub struct Pool {
    size: usize,
    free: Semaphore,
    /// CVs of the live lane that wait for a worker.
    live: watch::Sender<usize>,
}

/// A CV of the live lane waits for a worker.
struct Waits<'a>(&'a watch::Sender<usize>);

impl<'a> Waits<'a> {
    fn new(live: &'a watch::Sender<usize>) -> Self {
        live.send_modify(|waiting| *waiting += 1);
        Self(live)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|waiting| *waiting -= 1);
    }
}

impl Pool {
    pub(super) fn new(size: usize) -> Self {
        Self {
            size,
            free: Semaphore::new(size),
            live: watch::Sender::new(0),
        }
    }

    /// Waits for a worker. It never returns `None`, since the semaphore is never closed.
    pub(super) async fn take(&self, lane: Lane) -> Option<SemaphorePermit<'_>> {
        if lane == Lane::Live {
            let _waits = Waits::new(&self.live);
            return self.free.acquire().await.ok();
        }
        loop {
            let mut live = self.live.subscribe();
            live.wait_for(|waiting| *waiting == 0).await.ok()?;
            let worker = self.free.acquire().await.ok()?;
            if *self.live.borrow() == 0 {
                return Some(worker);
            }
        }
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    pub(super) fn busy(&self) -> usize {
        self.size - self.free.available_permits().min(self.size)
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    fn is_ready<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            std::task::Poll::Ready(value) => Some(value),
            std::task::Poll::Pending => None,
        }
    }

    #[tokio::test]
    async fn the_live_lane_takes_the_next_worker_however_long_the_backlog_has_waited() {
        let pool = Pool::new(1);
        let busy = pool.take(Lane::Backlog).await;
        let mut backlog = pin!(pool.take(Lane::Backlog));
        assert!(is_ready(backlog.as_mut()).is_none());
        let mut live = pin!(pool.take(Lane::Live));
        assert!(is_ready(live.as_mut()).is_none());
        drop(busy);
        assert!(is_ready(backlog.as_mut()).is_none());
        let worker = is_ready(live.as_mut()).expect("the live lane comes first");
        assert!(is_ready(backlog.as_mut()).is_none(), "no worker is free");
        drop(worker);
        assert!(is_ready(backlog.as_mut()).is_some());
        assert_eq!(pool.busy(), 0);
    }
}
