//! Connections, and which of them are used again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Executor, PgConnection, PgPool, Row};

/// How long to wait for a connection before it counts as missing.
pub const ACQUIRE: Duration = Duration::from_secs(5);

/// How long one that nobody needs any more may go on with what it was asked.
const RELEASE: Duration = Duration::from_secs(10);

/// So many connections, which are opened when they are first needed.
pub fn pool(connections: u32, options: PgConnectOptions, trust: Trust) -> PgPool {
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE)
        .test_before_acquire(false)
        .before_acquire(move |_, about| {
            let holds = trust.holds(about.age);
            Box::pin(async move { Ok(holds) })
        })
        .after_release(|connection, _| Box::pin(is_free(connection)))
        .idle_timeout(Duration::from_mins(5))
        .max_lifetime(Duration::from_mins(30))
        .connect_lazy_with(options)
}

/// Whether a connection can be used again: it answers, and soon, and is within no transaction. Else it is closed.
///
/// sqlx looks as well, but waits for ever, and connections that went silent would never be replaced. And it forgets a transaction
/// whose `begin` was cut off: whoever got its connection next would be within it, read-only and in an old snapshot.
async fn is_free(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let silent = || sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
    let look = connection.fetch_one(sqlx::raw_sql("select now() = statement_timestamp()"));
    let row = tokio::time::timeout(RELEASE, look).await;
    row.map_err(|_| silent())??.try_get(0)
}

/// Since when connections are trusted: those that were there when the database last took no writes are not. After a fail-over an old one
/// may lead to what is a read-only replica by now, for as long as it lives. Clones are the same.
#[derive(Clone, Debug)]
pub struct Trust(Arc<Mutex<Instant>>);

impl Trust {
    /// Every connection is trusted.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    /// From now on only new connections are.
    pub fn withdraw(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Whether one of this age is.
    pub fn holds(&self, age: Duration) -> bool {
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
