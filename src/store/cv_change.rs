//! The table `cv_change`: the feed for downstream, and the notification that goes with it.

use sqlx::PgConnection;
use uuid::Uuid;

use super::StoreError;
use super::sql::{query, query_scalar};

/// The job in `job_success` that tells when a person last approved deletes.
pub const APPROVED: &str = "deletes_approved";

/// Appends a row for each id, and wakes the listeners of `cvsync_change` once the transaction commits.
pub async fn append(
    tx: &mut PgConnection,
    upserted: &[Uuid],
    deleted: &[Uuid],
) -> Result<(), StoreError> {
    query(
        "with added as (
             insert into cvsync.cv_change (cv_id, kind)
             select cv_id, 'upsert' from unnest($1::uuid[]) as upserted (cv_id)
             union all
             select cv_id, 'delete' from unnest($2::uuid[]) as deleted (cv_id)
             returning seq
         )
         select pg_notify('cvsync_change', max(seq)::text)
           from added
         having count(*) > 0",
    )
    .bind(upserted)
    .bind(deleted)
    .execute(tx)
    .await?;
    Ok(())
}

/// The latest number given out; 0 while there is none.
pub async fn last_seq(tx: &mut PgConnection) -> Result<i64, StoreError> {
    Ok(
        query_scalar("select coalesce(max(seq), 0) from cvsync.cv_change")
            .fetch_one(tx)
            .await?,
    )
}

/// Deletes within the last day, and since a person last approved some.
pub async fn deletes_of_a_day(tx: &mut PgConnection) -> Result<i64, StoreError> {
    Ok(query_scalar(
        "select count(*)
           from cvsync.cv_change
          where kind = 'delete'
            and at > greatest(
                    now() - interval '1 day',
                    (select at from cvsync.job_success where job = $1))",
    )
    .bind(APPROVED)
    .fetch_one(tx)
    .await?)
}
