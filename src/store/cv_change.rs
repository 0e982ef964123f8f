//! The table `cv_change`: the feed for downstream, and the notification that goes with it.
//!
//! Invariant: transactions that append do so one after the other ([`take_turn`]), so rows become visible in the order of `seq`
//! and of `at`: a reader that goes on behind the last `seq` it saw misses none. A transaction that rolled back leaves a gap in
//! the numbers, which is never filled.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::StoreError;
use super::sql::{query, query_as, query_scalar};

/// A row of the feed.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Change {
    /// Its place.
    pub seq: i64,
    pub cv_id: Uuid,
    /// `upsert` or `delete`.
    pub kind: String,
    /// When it was written.
    pub at: DateTime<Utc>,
}

/// Waits until no other transaction appends, and lets none until this one has ended; returns the time of its changes, which
/// is later than that of all before, also where the clock was set back.
///
/// To be called last of all that may wait: whoever holds the turn needs nothing more but rows of `cv`, and these are its own
/// since it has locked those of `cv_seen` ([`confirm`](super::cv_seen::confirm)). So no two transactions wait for each other.
/// PostgreSQL gives the lock back after it has made the commit visible.
pub async fn take_turn(tx: &mut PgConnection) -> Result<DateTime<Utc>, StoreError> {
    query("select pg_advisory_xact_lock(hashtext('cvsync.cv_change'))")
        .execute(&mut *tx)
        .await?;
    // A statement of its own: only one that starts now sees what the transaction before has committed.
    Ok(query_scalar(
        "select greatest(
                    clock_timestamp(),
                    (select at + interval '1 microsecond' from cvsync.cv_change order by seq desc limit 1))",
    )
    .fetch_one(tx)
    .await?)
}

/// Appends a row for each id, and wakes the listeners of `cvsync_change` once the transaction commits. Only in one's turn
/// ([`take_turn`]), with the time that it gave.
pub async fn append(
    tx: &mut PgConnection,
    upserted: &[Uuid],
    deleted: &[Uuid],
    at: DateTime<Utc>,
) -> Result<(), StoreError> {
    query(
        "with added as (
             insert into cvsync.cv_change (cv_id, kind, at)
             select cv_id, 'upsert', $3 from unnest($1::uuid[]) as upserted (cv_id)
             union all
             select cv_id, 'delete', $3 from unnest($2::uuid[]) as deleted (cv_id)
             returning seq
         )
         select pg_notify('cvsync_change', max(seq)::text)
           from added
         having count(*) > 0",
    )
    .bind(upserted)
    .bind(deleted)
    .bind(at)
    .execute(tx)
    .await?;
    Ok(())
}

/// The latest number that is visible, also where it was removed since; 0 while there is none.
pub async fn last_seq(tx: &mut PgConnection) -> Result<i64, StoreError> {
    Ok(query_scalar(
        "select greatest(
                    (select max(seq) from cvsync.cv_change),
                    (select removed_seq from cvsync.feed))",
    )
    .fetch_one(tx)
    .await?)
}

/// Up to `limit` rows behind `after`, up to `last`, in order.
pub async fn between(
    tx: &mut PgConnection,
    after: i64,
    last: i64,
    limit: i64,
) -> Result<Vec<Change>, StoreError> {
    Ok(query_as(
        "select seq, cv_id, kind, at
           from cvsync.cv_change
          where seq > $1
            and seq <= $2
          order by seq
          limit $3",
    )
    .bind(after)
    .bind(last)
    .bind(limit)
    .fetch_all(tx)
    .await?)
}
