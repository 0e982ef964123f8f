//! The table `feed`: where the change feed begins, since what is old is removed.

use std::time::Duration;

use sqlx::PgConnection;

use super::StoreError;
use super::sql::query_scalar;

/// How many rows are removed in one transaction.
const BATCH: i64 = 5_000;

/// Removes some of what is older than `retention` and what every registered consumer has passed; true if there may be more.
///
/// The database's clock decides: it is the one that gave the rows their time.
pub async fn trim(tx: &mut PgConnection, retention: Duration) -> Result<bool, StoreError> {
    let removed: i64 = query_scalar(
        "with first as (
             select seq, at
               from cvsync.cv_change
              order by seq
              limit $1
         ), removed as (
             delete from cvsync.cv_change
              where seq in (select seq from first where at < now() - make_interval(secs => $2))
                and seq <= coalesce((select min(seq) from cvsync.feed_consumer), seq)
             returning seq
         ), noted as (
             update cvsync.feed
                set removed_seq = greatest(removed_seq, (select max(seq) from removed))
              where exists (select from removed)
         )
         select count(*) from removed",
    )
    .bind(BATCH)
    .bind(retention.as_secs_f64())
    .fetch_one(tx)
    .await?;
    Ok(removed == BATCH)
}

/// The highest number that was removed; 0 while none was.
pub async fn removed_seq(tx: &mut PgConnection) -> Result<i64, StoreError> {
    Ok(query_scalar("select removed_seq from cvsync.feed")
        .fetch_one(tx)
        .await?)
}
