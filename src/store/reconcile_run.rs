//! The table `reconcile_run`: the results of comparisons.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::StoreError;
use super::sql::{query, query_as};
use crate::model::{Difference, Tally};

/// Records the result of a comparison.
pub(crate) async fn conclude(
    tx: &mut PgConnection,
    started_at: DateTime<Utc>,
    difference: Difference,
    tally: &Tally,
) -> Result<(), StoreError> {
    let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    query(
        "insert into cvsync.reconcile_run (started_at, listed, missing, extra, stale, held, inserted, deleted)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(started_at)
    .bind(count(difference.listed))
    .bind(count(difference.missing))
    .bind(count(difference.extra))
    .bind(count(difference.stale))
    .bind(count(difference.held))
    .bind(count(tally.inserted))
    .bind(count(tally.deleted))
    .execute(tx)
    .await?;
    Ok(())
}

/// A comparison that has ended.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct ReconcileRun {
    pub started_at: DateTime<Utc>,
    pub finished_at: DateTime<Utc>,
    /// CVs that the source listed.
    pub listed: i64,
    /// Of which were not here.
    pub missing: i64,
    /// Were here, and are not at the source.
    pub extra: i64,
    /// Were here as they had been before their latest change.
    pub stale: i64,
    /// Were here and not at the source, and their deletes were held back.
    pub held: i64,
}

pub(crate) async fn latest(tx: &mut PgConnection) -> Result<Option<ReconcileRun>, StoreError> {
    Ok(query_as(
        "select started_at, finished_at, listed, missing, extra, stale, held
           from cvsync.reconcile_run
          order by id desc
          limit 1",
    )
    .fetch_optional(tx)
    .await?)
}
