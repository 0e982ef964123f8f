//! The destination, and the only code with SQL: one file per table, named like the table, and one per question that needs several tables.
//!
//! Invariant: every statement runs inside an explicit transaction (see [`Store::read`] and [`Store::write`]) and leaves no state
//! in the session (no named prepared statement, `SET` or session lock), so that a transaction-pooling PgBouncer may stand between.

mod about;
pub mod apply;
pub(crate) mod approved_delete;
mod batch;
mod blocker;
mod cause;
pub(crate) mod clock_doubt;
mod command_fence;
mod connect;
pub mod coverage;
pub mod cv;
pub(crate) mod cv_access;
pub mod cv_change;
pub(crate) mod cv_search;
pub mod cv_seen;
pub(crate) mod ended_suppression;
mod error;
pub(crate) mod explain;
pub mod export;
pub mod feed;
pub(crate) mod feed_consumer;
pub(crate) mod fence;
pub(crate) mod first_listed;
pub mod held_delete;
pub(crate) mod history;
pub(crate) mod instance;
pub(crate) mod job_success;
pub(crate) mod leader_setting;
pub mod lease;
mod matching;
mod migration;
pub mod mirror;
pub(crate) mod mirror_client;
pub mod parked_cv;
pub mod pause;
mod persist;
mod pool;
pub(crate) mod privacy;
pub(crate) mod quota_loan;
pub mod reconcile;
pub(crate) mod reconcile_run;
pub(crate) mod reference_code;
pub(crate) mod refit;
pub(crate) mod relisted;
pub(crate) mod run_request;
mod sql;
mod standby;
pub(crate) mod stored_shape;
pub(crate) mod subject;
pub(crate) mod suppressed_cv;
pub mod sync_window;
mod transact;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};

pub use self::batch::Applied;
use self::command_fence::CommandFence;
pub(crate) use self::error::Remedy;
pub use self::error::StoreError;
use self::lease::Held;
pub(crate) use self::persist::{Persistent, Trouble};
pub(crate) use self::pool::close_all;
use self::pool::{ACQUIRE, Pool, Trust, pool};
use self::transact::{LIMIT, within};
use crate::config;
use crate::model::StoredShape;
use crate::telemetry::Metrics;

/// Connections: for the writer, the lister, and all that looks now and then (numbers, history, loans, what is asked for, search).
const CONNECTIONS: u32 = 5;

/// The database. Cheap to clone; connects when first used.
#[derive(Clone)]
pub struct Store {
    pool: Pool,
    options: PgConnectOptions,
    /// The lease under which this instance leads. Writes of one that does not lead rest on `as_of` alone.
    lease: Arc<Mutex<Option<Held>>>,
    /// The fence of a command; `None` for a daemon.
    fence: Option<Arc<CommandFence>>,
    /// Everything is written, and then rolled back.
    dry: bool,
    trust: Trust,
    /// How a transaction that reads begins.
    read: &'static str,
    /// The longest that a transaction may take, with its connection and its commit.
    limit: Duration,
    /// The variable of its URL, which errors name.
    variable: &'static str,
    metrics: Option<Metrics>,
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
            lease: Arc::default(),
            fence: None,
            dry: false,
            trust,
            read: transact::BEGIN_READ,
            limit: LIMIT,
            variable: database.variable,
            metrics: None,
        })
    }

    /// The same store, which measures its transactions.
    #[must_use]
    pub fn measured(self, metrics: Metrics) -> Self {
        Self {
            metrics: Some(metrics),
            ..self
        }
    }

    /// The same store, whose transactions may take so long.
    #[must_use]
    pub fn within(&self, limit: Duration) -> Self {
        Self {
            limit,
            ..self.clone()
        }
    }

    /// The same store for a command that stores documents of this shape. It writes only while a leader stores documents of the same
    /// shape, and while the database has not lost commits.
    #[must_use]
    pub(crate) fn beside_a_leader(self, shape: &StoredShape) -> Self {
        Self {
            fence: Some(Arc::new(CommandFence::new(shape))),
            ..self
        }
    }

    /// The same store, for rows of cvsync's own. They do not depend on who leads, and a dry run writes them too.
    #[must_use]
    pub fn bookkeeping(&self) -> Self {
        Self {
            lease: Arc::default(),
            fence: None,
            dry: false,
            ..self.clone()
        }
    }

    /// The same store, whose reads see one snapshot and use few resources: for many readers, who must not slow down a sync.
    #[must_use]
    pub fn for_readers(&self) -> Self {
        Self {
            read: transact::BEGIN_SNAPSHOT,
            ..self.clone()
        }
    }

    /// The same database over connections of its own, so that what uses them takes none from anybody else.
    #[must_use]
    pub fn beside(&self, connections: u32) -> Self {
        Self {
            pool: pool(connections, self.options.clone(), self.trust.clone()),
            ..self.clone()
        }
    }

    /// Another database over connections of its own, and otherwise like this one.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn elsewhere(
        &self,
        database: &config::Database,
        connections: u32,
    ) -> Result<Self, StoreError> {
        let options = connect::options(database)?;
        let trust = Trust::new();
        Ok(Self {
            pool: pool(connections, options.clone(), trust.clone()),
            options,
            trust,
            variable: database.variable,
            ..self.clone()
        })
    }

    /// From now on this store and its clones write under this lease, and not at all once another instance leads.
    pub fn lead(&self, held: Held) {
        *self.lease() = Some(held);
    }

    /// The lease under which this store writes, with all writes acknowledged so far.
    pub(crate) fn held(&self) -> Option<Held> {
        self.lease().clone()
    }

    fn acknowledge(&self, epoch: i64, writes: i64) {
        if let Some(held) = self.lease().as_mut().filter(|held| held.epoch == epoch) {
            held.writes = held.writes.max(writes);
        }
    }

    fn lease(&self) -> MutexGuard<'_, Option<Held>> {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner)
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
    pub async fn ping(&self) -> Result<(), StoreError> {
        let asked = async {
            let mut connection = self.connect().await?;
            connection.ping().await?;
            connection.close().await?;
            Ok(())
        };
        within(ACQUIRE, asked).await
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
