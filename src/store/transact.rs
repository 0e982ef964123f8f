//! The one way to the database: a transaction that is limited in time, measured, and committed.

use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection, Postgres, Transaction};

use super::{Remedy, Store, StoreError, lease};

/// PostgreSQL ends a statement after 60 s, so a connection that says nothing for so long is dead.
pub(super) const LIMIT: Duration = Duration::from_secs(90);

/// How long to wait for the begin of a transaction. A connection that takes longer is dead.
const OPEN: Duration = Duration::from_secs(10);

/// A leader that is paused within a transaction holds its epoch until PostgreSQL ends the transaction: no longer than the
/// lease lasts. The limits are local to the transaction, since PgBouncer then hands the session to somebody else.
macro_rules! limited {
    ($begin:literal) => {
        concat!(
            $begin,
            ";
    set local statement_timeout = '60s';
    set local lock_timeout = '20s';
    set local idle_in_transaction_session_timeout = '10s'"
        )
    };
}

const BEGIN_WRITE: &str = limited!("begin");
pub(super) const BEGIN_READ: &str = limited!("begin read only");

/// One snapshot, and no plan that pays off over minutes alone.
pub(super) const BEGIN_SNAPSHOT: &str = "begin isolation level repeatable read, read only;
    set local statement_timeout = '8s';
    set local lock_timeout = '5s';
    set local idle_in_transaction_session_timeout = '10s';
    set local jit = off;
    set local max_parallel_workers_per_gather = 0;
    set local enable_seqscan = off";

impl Store {
    /// Does `work`, which only reads, in one transaction. `what` names it in metrics: "reading the watermark".
    ///
    /// # Errors
    /// [`StoreError`]; where there is no connection, with the cause.
    pub async fn read<T>(
        &self,
        what: &'static str,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let done = async {
            let mut tx = self.begin(self.read).await?;
            let read = work(&mut tx).await?;
            tx.commit().await?;
            Ok(read)
        };
        self.limited(what, done).await
    }

    /// Does `work`, which writes, in one transaction: under the lease of this instance, where it leads, or behind the fence of a
    /// command. A dry run undoes it.
    ///
    /// # Errors
    /// [`StoreError`]; [`StoreError::Fenced`] if another instance leads now, [`StoreError::OtherShape`] if the leader stores other
    /// data than this command, [`StoreError::HistoryLost`] if the database may have lost commits. If the connection broke, the
    /// outcome is unknown, and you can do all of it again.
    pub async fn write<T>(
        &self,
        what: &'static str,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.limited(what, async { self.in_transaction(work).await? })
            .await
    }

    /// As [`write`](Self::write), where `work` may refuse with an error of its own: then it is undone.
    ///
    /// # Errors
    /// As for [`write`](Self::write), and those of `work`.
    pub async fn write_or_undo<T, E: From<StoreError>>(
        &self,
        what: &'static str,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, E>,
    ) -> Result<T, E> {
        self.limited(what, self.in_transaction(work)).await?
    }

    async fn in_transaction<T, E>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, E>,
    ) -> Result<Result<T, E>, StoreError> {
        // Read before the transaction begins: what was acknowledged until here must be in it.
        let held = self.held();
        let mut tx = self.begin(BEGIN_WRITE).await?;
        match (&held, &self.fence) {
            (Some(held), _) => lease::hold(&mut tx, held).await?,
            (None, Some(fence)) => fence.hold(&mut tx).await?,
            (None, None) => {}
        }
        let done = work(&mut tx).await;
        if done.is_ok() && !self.dry {
            let counted = match held {
                Some(held) => Some((held.epoch, lease::count_write(&mut tx).await?)),
                None => None,
            };
            // Writes are counted one after the other, so a higher number that was acknowledged meanwhile is lost.
            if let Some((epoch, writes)) = counted
                && self
                    .held()
                    .is_some_and(|held| held.epoch == epoch && held.writes >= writes)
            {
                return Err(StoreError::HistoryLost);
            }
            tx.commit().await?;
            if let Some((epoch, writes)) = counted {
                self.acknowledge(epoch, writes);
            }
        } else if done.is_ok() {
            tx.rollback().await?;
        }
        Ok(done)
    }

    /// Does `work` over a connection that nobody uses afterwards, since it may leave statements behind where it fails. Without
    /// `keep` it is undone.
    pub(super) async fn write_apart<T>(
        &self,
        what: &'static str,
        begin: &'static str,
        keep: bool,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let done = async {
            let mut connection = self.pool.acquire().await?;
            connection.close_on_drop();
            let mut tx = connection.begin_with(begin).await?;
            let done = work(&mut tx).await?;
            if keep {
                tx.commit().await?;
            } else {
                tx.rollback().await?;
            }
            Ok(done)
        };
        self.limited(what, done).await
    }

    /// Within the limit of this store, and measured.
    async fn limited<T>(
        &self,
        what: &'static str,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let asked = Instant::now();
        let work = within(self.limit, Box::pin(work));
        let answer = Box::pin(self.naming_blocker(work)).await;
        let answer = answer.map_err(|error| error.naming(self.variable));
        let error = answer.as_ref().err();
        if let Some(metrics) = &self.metrics {
            metrics.queried(what, asked.elapsed(), error.map(StoreError::class));
        }
        if error.map(StoreError::remedy) == Some(Remedy::Reconnect) {
            self.connect_anew();
        }
        answer
    }

    async fn begin(
        &self,
        begin: &'static str,
    ) -> Result<Transaction<'static, Postgres>, StoreError> {
        let opened = async { Ok(self.pool.begin_with(begin).await) };
        match within(OPEN, Box::pin(opened)).await? {
            Ok(tx) => Ok(tx),
            // The pool hides the cause. A new connection shows it, or works.
            Err(error @ sqlx::Error::PoolClosed) => Err(error.into()),
            Err(error) => {
                self.connect().await?.close().await?;
                Err(error.into())
            }
        }
    }
}

/// The result of `work`; an answer that comes later than `limit` counts as none.
pub(super) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    tokio::time::timeout(limit, work)
        .await
        .unwrap_or_else(|_| Err(StoreError::Passing("it does not answer".to_owned())))
}
