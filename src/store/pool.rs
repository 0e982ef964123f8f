//! Connections, and which of them are used again.

use std::ops::Deref;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Executor, PgConnection, PgPool, Row};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long to wait for a connection before it counts as missing.
pub(super) const ACQUIRE: Duration = Duration::from_secs(5);

/// How long one that nobody needs any more may go on with what it was asked.
const RELEASE: Duration = Duration::from_secs(10);

/// Connections that take leave of the server when the last clone is dropped, or the command ends.
#[derive(Clone)]
pub(super) struct Pool(Arc<Open>);

/// The pool of sqlx, which by itself drops connections without a word: the server logs each as lost.
struct Open {
    pool: PgPool,
    /// Cancelled once nobody needs the connections: those that are being returned are closed at once.
    closing: CancellationToken,
}

/// Every pool of this process.
static POOLS: Mutex<Vec<Weak<Open>>> = Mutex::new(Vec::new());

/// Pools that are being closed.
static CLOSING: LazyLock<TaskTracker> = LazyLock::new(TaskTracker::new);

/// Closes every connection of this process, as far as that is possible within `limit`.
pub(crate) async fn close_all(limit: Duration) {
    let open: Vec<Arc<Open>> = {
        let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
        pools.drain(..).filter_map(|pool| pool.upgrade()).collect()
    };
    for pool in &open {
        pool.close();
    }
    CLOSING.close();
    // Late ones are dropped: a command must end.
    let _ = tokio::time::timeout(limit, CLOSING.wait()).await;
}

impl Open {
    fn close(&self) {
        self.closing.cancel();
        if Handle::try_current().is_ok() {
            let pool = self.pool.clone();
            CLOSING.spawn(async move { pool.close().await });
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.close();
    }
}

impl Deref for Pool {
    type Target = PgPool;

    fn deref(&self) -> &PgPool {
        &self.0.pool
    }
}

/// So many connections, which are opened when they are first needed.
pub(super) fn pool(connections: u32, options: PgConnectOptions, trust: Trust) -> Pool {
    let closing = CancellationToken::new();
    let released = closing.clone();
    let pool = PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE)
        .test_before_acquire(false)
        .before_acquire(move |_, about| {
            let holds = trust.holds(about.age);
            Box::pin(async move { Ok(holds) })
        })
        .after_release(move |connection, _| {
            let closing = released.clone();
            Box::pin(async move {
                let free = closing.run_until_cancelled(is_free(connection)).await;
                free.unwrap_or(Ok(false))
            })
        })
        .idle_timeout(Duration::from_mins(5))
        .max_lifetime(Duration::from_mins(30))
        .connect_lazy_with(options);
    let open = Arc::new(Open { pool, closing });
    let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    pools.retain(|pool| pool.strong_count() > 0);
    pools.push(Arc::downgrade(&open));
    drop(pools);
    Pool(open)
}

/// Whether a connection can be used again: it answers, and soon, and is within no transaction. Else it is closed.
///
/// sqlx checks too, but without a time limit, so silent connections would never be replaced. It also forgets a transaction whose
/// `begin` was cut off: the next user of the connection would be inside it, read-only and in an old snapshot.
async fn is_free(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let silent = || sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
    let look = connection.fetch_one(sqlx::raw_sql("select now() = statement_timestamp()"));
    let row = tokio::time::timeout(RELEASE, look).await;
    row.map_err(|_| silent())??.try_get(0)
}

/// Since when connections are trusted: those that were there when the database last took no writes are not. After a fail-over an old one
/// may lead to what is a read-only replica by now, for as long as it lives. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Trust(Arc<Mutex<Instant>>);

impl Trust {
    /// Every connection is trusted.
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    /// From now on only new connections are.
    pub(super) fn withdraw(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Whether one of this age is.
    pub(super) fn holds(&self, age: Duration) -> bool {
        age <= self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_when_it_was_withdrawn_is_not_trusted() {
        let trust = Trust::new();
        trust.withdraw();
        assert!(trust.holds(Duration::ZERO));
        assert!(!trust.holds(Duration::from_mins(1)));
    }
}
