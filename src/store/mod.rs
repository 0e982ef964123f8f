//! Where data goes: the only code with SQL in it. A file for each table, named as the table, and one for each question that many answer.
//!
//! Invariant: every statement runs inside an explicit transaction and leaves no state in the session (no named prepared
//! statement, `SET` or session lock), so that a transaction-pooling PgBouncer may stand between.

mod about;
pub mod apply;
pub mod approved_delete;
mod cause;
pub mod clock_doubt;
mod connect;
pub mod cv;
pub mod cv_change;
pub mod cv_search;
pub mod cv_seen;
mod error;
pub mod explain;
pub mod export;
pub mod feed;
pub mod feed_consumer;
pub mod first_listed;
pub mod held_delete;
pub mod history;
pub mod instance;
pub mod job_success;
pub mod leader_setting;
pub mod lease;
mod migration;
pub mod mirror;
pub mod mirror_client;
pub mod parked_cv;
pub mod pause;
mod pool;
pub mod quota_loan;
pub mod reconcile;
pub mod reference_code;
pub mod relisted;
pub mod run_request;
mod sql;
pub mod sync_window;
pub mod watermark;

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection, Postgres, Transaction};

pub use self::about::About;
pub use self::apply::Applied;
pub use self::error::StoreError;
pub use self::pool::close_all;
use self::pool::{ACQUIRE, Pool, Trust, pool};
use crate::config;
use crate::model::{Brake, Outcome};

/// Limits of our own. A leader that is paused within a transaction holds its epoch until the last one ends it: no longer than
/// the lease lasts. They are local to each transaction since PgBouncer hands the session to somebody else afterwards.
const BEGIN: &str = "begin;
    set local statement_timeout = '60s';
    set local lock_timeout = '20s';
    set local idle_in_transaction_session_timeout = '10s'";

/// For those who only read, who are many and hold up nobody: one snapshot, and no plan that pays off over minutes alone.
const BEGIN_READ: &str = "begin isolation level repeatable read, read only;
    set local statement_timeout = '8s';
    set local lock_timeout = '5s';
    set local idle_in_transaction_session_timeout = '10s';
    set local jit = off;
    set local max_parallel_workers_per_gather = 0;
    set local enable_seqscan = off";

/// Connections: for the writer, the lister, and all that looks now and then (numbers, history, loans, what is asked for, search).
const CONNECTIONS: u32 = 5;

/// How long to wait for a transaction, all in all. A connection that does not even begin one is dead.
const OPEN: Duration = Duration::from_secs(10);

/// The database. Cheap to clone; connects when first used.
#[derive(Clone)]
pub struct Store {
    pool: Pool,
    options: PgConnectOptions,
    /// The epoch under which this instance leads; 0 for one that does not, whose writes rest on `as_of` alone.
    epoch: Arc<AtomicI64>,
    /// Everything is written, and then rolled back.
    dry: bool,
    trust: Trust,
}

/// A transaction that writes.
#[derive(Debug)]
pub struct Write {
    tx: Transaction<'static, Postgres>,
    dry: bool,
}

impl Write {
    /// Makes it last; in a dry run, undoes it.
    ///
    /// # Errors
    /// [`StoreError`]. Where the connection broke the outcome is unknown, and doing all of it again is right.
    pub async fn commit(self) -> Result<(), StoreError> {
        if self.dry {
            Ok(self.tx.rollback().await?)
        } else {
            Ok(self.tx.commit().await?)
        }
    }
}

impl Deref for Write {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.tx
    }
}

impl DerefMut for Write {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.tx
    }
}

/// The options hold the password.
impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}

impl Store {
    /// Reads the URL; connects to nothing yet.
    ///
    /// # Errors
    /// [`StoreError::Broken`] where this machine has no root certificates to verify the server with.
    pub fn new(database: &config::Database) -> Result<Self, StoreError> {
        let options = connect::options(database)?;
        let trust = Trust::new();
        Ok(Self {
            pool: pool(CONNECTIONS, options.clone(), trust.clone()),
            options,
            epoch: Arc::default(),
            dry: false,
            trust,
        })
    }

    /// Uses no connection again that is open now. For after a write that was refused since the database is read-only.
    pub fn connect_anew(&self) {
        self.trust.withdraw();
    }

    /// The same database over connections of its own, so that what uses them takes none from anybody else.
    #[must_use]
    pub fn beside(&self, connections: u32) -> Self {
        Self {
            pool: pool(connections, self.options.clone(), self.trust.clone()),
            ..self.clone()
        }
    }

    /// A transaction with our limits.
    ///
    /// # Errors
    /// [`StoreError`]; where there is no connection, with the true cause.
    pub async fn begin(&self) -> Result<Transaction<'static, Postgres>, StoreError> {
        self.begin_with(BEGIN).await
    }

    /// A transaction that only reads, all of it in one snapshot, with tighter limits.
    ///
    /// # Errors
    /// As for [`begin`](Self::begin).
    pub async fn begin_read(&self) -> Result<Transaction<'static, Postgres>, StoreError> {
        self.begin_with(BEGIN_READ).await
    }

    async fn begin_with(
        &self,
        begin: &'static str,
    ) -> Result<Transaction<'static, Postgres>, StoreError> {
        let opened = async { Ok(self.pool.begin_with(begin).await) };
        let opened = within(OPEN, Box::pin(opened));
        match opened.await? {
            Ok(tx) => Ok(tx),
            // The pool hides the cause. A new connection shows it, or works.
            Err(error @ sqlx::Error::PoolClosed) => Err(error.into()),
            Err(error) => {
                self.connect().await?.close().await?;
                Err(error.into())
            }
        }
    }

    /// A transaction that writes: under the epoch of this instance, where it leads.
    ///
    /// # Errors
    /// As for [`begin`](Self::begin), and [`StoreError::Fenced`] if another instance leads now.
    pub async fn begin_write(&self) -> Result<Write, StoreError> {
        let mut tx = self.begin().await?;
        let epoch = self.epoch.load(Ordering::SeqCst);
        if epoch > 0 {
            lease::hold(&mut tx, epoch).await?;
        }
        Ok(Write { tx, dry: self.dry })
    }

    /// From now on this store and its clones write under `epoch`, and not at all once another one leads.
    pub fn lead(&self, epoch: i64) {
        self.epoch.store(epoch, Ordering::SeqCst);
    }

    /// The same database, to which everything is written and then undone.
    #[must_use]
    pub fn dry(self) -> Self {
        Self { dry: true, ..self }
    }

    /// Whether all that is written is undone.
    #[must_use]
    pub fn is_dry(&self) -> bool {
        self.dry
    }

    /// Whether the database answers, and if not, why: over a connection of its own, since the pool would only say that
    /// it has none.
    ///
    /// # Errors
    /// The reason.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let asked = async {
            let mut connection = self.connect().await?;
            connection.ping().await?;
            connection.close().await?;
            Ok(())
        };
        within(ACQUIRE, asked).await
    }

    /// Writes a batch in one transaction. If PostgreSQL refuses a value, nothing of it is written. A stored `as_of` later
    /// than both `latest` and the database's clock is not believed.
    ///
    /// # Errors
    /// [`StoreError`]; the batch can be given again as it is, for a batch that was written after all changes nothing
    /// when it is written again.
    pub async fn apply(
        &self,
        batch: &[Outcome],
        brake: Brake,
        latest: DateTime<Utc>,
    ) -> Result<Vec<Applied>, StoreError> {
        let mut tx = self.begin_write().await?;
        apply::believe_until(&mut tx, latest).await?;
        let results = apply::apply(&mut tx, batch, brake).await?;
        tx.commit().await?;
        Ok(results)
    }

    async fn connect(&self) -> Result<PgConnection, StoreError> {
        let connected = PgConnection::connect_with(&self.options);
        match tokio::time::timeout(ACQUIRE, connected).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(connect::refused(&self.options, error).await),
            Err(_) => Err(StoreError::Passing(format!(
                "connecting took longer than {} seconds; check the host and port in CVSYNC_DATABASE_URL, and any firewall in between",
                ACQUIRE.as_secs()
            ))),
        }
    }
}

/// What `work` brings about; an answer that comes later than `limit` counts as none.
///
/// # Errors
/// As `work`, or [`StoreError::Passing`] when the time is over.
pub async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    tokio::time::timeout(limit, work)
        .await
        .unwrap_or_else(|_| Err(StoreError::Passing("it does not answer".to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn debug_shows_no_password() {
        let database = config::Database::at("postgres://u:canary@localhost/cvsync").unwrap();
        let store = Store::new(&database);
        assert!(!format!("{store:?}").contains("canary"));
    }
}
