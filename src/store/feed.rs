//! The table `feed`: where the change feed begins, since old rows are removed, and whether lost changes are being made good.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::StoreError;
use super::sql::{query, query_scalar};

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

/// When the database was found to have lost commits; `None` in normal operation. A CV that was last confirmed before then
/// is announced in the feed when it is confirmed next, changed or not.
///
/// A failover or a restore may have taken back changes that readers have seen. A CV may have gone back since to the state that
/// is stored, and nothing would tell them. No single sync ends that: a CV that keeps changing is in none of its windows, and is
/// confirmed by a later one.
pub(crate) async fn announcing_since(
    tx: &mut PgConnection,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    Ok(query_scalar("select announcing_since from cvsync.feed")
        .fetch_one(tx)
        .await?)
}

/// Begins to announce each CV that is confirmed for the first time from now on.
pub(crate) async fn announce(tx: &mut PgConnection) -> Result<(), StoreError> {
    query("update cvsync.feed set announcing_since = now()")
        .execute(tx)
        .await?;
    Ok(())
}

/// Ends what began at `since`. Where commits were lost again meanwhile, it goes on.
pub(crate) async fn announced(
    tx: &mut PgConnection,
    since: DateTime<Utc>,
) -> Result<(), StoreError> {
    query("update cvsync.feed set announcing_since = null where announcing_since = $1")
        .bind(since)
        .execute(tx)
        .await?;
    Ok(())
}
