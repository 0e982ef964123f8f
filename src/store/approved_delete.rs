//! The table `approved_delete`: deletes that a person approved, which the delete brake does not count.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::StoreError;
use super::sql::{query, query_scalar};
use crate::model::Job;

/// Records `deletes` that were applied at `at`, the time of their rows in `cv_change`, and removes records that no longer
/// count. To be called within the turn of [`cv_change`](super::cv_change::take_turn), so that no two transactions remove the
/// same rows.
pub(crate) async fn record(
    tx: &mut PgConnection,
    deletes: usize,
    at: DateTime<Utc>,
) -> Result<(), StoreError> {
    query(
        "with old as (
             delete from cvsync.approved_delete
              where at < $1 - interval '2 days'
         )
         insert into cvsync.approved_delete (at, deletes)
         values ($1, $2)",
    )
    .bind(at)
    .bind(i64::try_from(deletes).unwrap_or(i64::MAX))
    .execute(tx)
    .await?;
    Ok(())
}

/// Deletes within the last day that nobody approved, counted from the last approval where that is later.
pub(crate) async fn unapproved_deletes_of_a_day(tx: &mut PgConnection) -> Result<i64, StoreError> {
    Ok(query_scalar(
        "with since as (
             select greatest(
                        now() - interval '1 day',
                        (select at from cvsync.job_success where job = $1)) as at
         )
         select greatest(0,
                    (select count(*)
                       from cvsync.cv_change, since
                      where kind = 'delete' and cv_change.at > since.at)
                    -
                    (select coalesce(sum(deletes), 0)::bigint
                       from cvsync.approved_delete, since
                      where approved_delete.at > since.at))",
    )
    .bind(Job::ApproveDeletes.as_str())
    .fetch_one(tx)
    .await?)
}

/// A person approves deletes now: what was deleted before counts no longer.
pub(crate) async fn begin_anew(tx: &mut PgConnection) -> Result<(), StoreError> {
    super::job_success::record(tx, Job::ApproveDeletes).await
}
