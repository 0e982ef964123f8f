//! Fences of this instance: they keep `X-Cvsync-As-Of` close to now, and tell a standby that belongs to the primary from another
//! server.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::store::fence::{self, Fence};
use crate::store::{Store, StoreError};

/// Time between two fences while the mirror answers documents and searches.
const PERIOD: Duration = Duration::from_secs(1);

/// How long such an answer waits for a fence. Without it, the answer is as of an earlier one.
const WAIT: Duration = Duration::from_millis(100);

/// How long it waits for the first one, if the mirror reads from a standby.
const FIRST_WAIT: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Fences {
    primary: Store,
    /// Whether nothing can be read before the first fence.
    reads_need_one: bool,
    known: Mutex<Known>,
    /// At most one fence is being set.
    busy: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Default)]
struct Known {
    tried_at: Option<Instant>,
    latest: Option<Fence>,
}

impl Fences {
    pub(super) fn new(primary: Store, reads_need_one: bool) -> Self {
        Self {
            primary,
            reads_need_one,
            known: Mutex::default(),
            busy: Arc::default(),
        }
    }

    /// The server history of the latest fence; it outlasts an outage of the primary.
    pub(super) fn home(&self) -> Option<String> {
        self.known().latest.as_ref().map(|fence| fence.home.clone())
    }

    /// The latest fence, which is set now if it is not after `at`. Waits for changes under way.
    pub(super) async fn after(&self, at: DateTime<Utc>) -> Result<DateTime<Utc>, StoreError> {
        let _busy = self.busy.lock().await;
        let latest = self.known().latest.as_ref().map(|fence| fence.until);
        match latest.filter(|until| *until >= at) {
            Some(until) => Ok(until),
            None => Ok(self.set().await?.until),
        }
    }

    /// Sets a fence if the latest attempt is longer ago than [`PERIOD`]. An answer that does not get one in time is still sound.
    pub(super) async fn refresh(self: &Arc<Self>) {
        if !self.is_due() {
            return;
        }
        let is_first = self.reads_need_one && self.home().is_none();
        let wait = if is_first { FIRST_WAIT } else { WAIT };
        let busy = Arc::clone(&self.busy);
        let busy = match Arc::clone(&busy).try_lock_owned() {
            Ok(busy) => busy,
            Err(_) if is_first => {
                let _ = tokio::time::timeout(wait, busy.lock()).await;
                return;
            }
            Err(_) => return,
        };
        let fences = Arc::clone(self);
        // In a task of its own, since a client that disconnects must not end it.
        let set = tokio::spawn(async move {
            let _busy = busy;
            if fences.is_due()
                && let Err(error) = fences.set().await
            {
                tracing::debug!(%error, "cannot set a fence");
            }
        });
        let _ = tokio::time::timeout(wait, set).await;
    }

    /// The next answer sets a fence again.
    pub(super) fn distrust(&self) {
        self.known().tried_at = None;
    }

    fn is_due(&self) -> bool {
        let tried_at = self.known().tried_at;
        tried_at.is_none_or(|at| at.elapsed() >= PERIOD)
    }

    async fn set(&self) -> Result<Fence, StoreError> {
        let fence = self.primary.write("setting a fence", fence::set).await;
        let mut known = self.known();
        known.tried_at = Some(Instant::now());
        known.latest = fence.as_ref().ok().cloned().or(known.latest.take());
        fence
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
