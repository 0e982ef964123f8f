//! The table `cv_change`: the feed for downstream, and the notification that goes with it.
//!
//! Invariant: transactions that append do so one after the other (`take_turn`), so rows become visible in the order of `seq`
//! and of `at`: a reader that goes on behind the last `seq` it saw misses none. A transaction that rolled back leaves a gap in
//! the numbers, which is never filled.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::StoreError;
use super::sql::{query, query_as, query_scalar, script};

/// A row of the feed.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Change {
    pub seq: i64,
    pub cv_id: Uuid,
    /// `upsert` or `delete`
    pub kind: String,
    pub at: DateTime<Utc>,
}

/// The number and the time of the first change that a transaction appends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    /// One more than any number before, and at least the microseconds since 1970 by the database's clock: where commits were
    /// lost, no number comes back that a reader may have seen, unless the clock of the new server is behind by more than the
    /// failover took.
    seq: i64,
    /// Later than that of all changes before, and not before the [fence](super::fence), also where the clock was set back.
    pub at: DateTime<Utc>,
}

/// Waits until no other transaction appends, and lets none until this one has ended.
///
/// To be called after everything else that may wait: the transaction needs only rows of `cv` from here on, and it has locked
/// their rows in `cv_seen` before ([`confirm`](super::cv_seen::confirm)). So no two transactions wait for each other.
/// PostgreSQL gives the lock back after it has made the commit visible. The lock is on a row, so that only roles with rights on
/// it can take it.
pub(crate) async fn take_turn(tx: &mut PgConnection) -> Result<Turn, StoreError> {
    // Two statements: only one that starts after the lock sees what the transaction before has committed.
    let (seq, at): (i64, i64) = script(
        tx,
        "select from cvsync.feed for update;
         select greatest(
                    (extract(epoch from clock_timestamp()) * 1000000)::bigint,
                    (select max(seq) + 1 from cvsync.cv_change),
                    (select removed_seq + 1 from cvsync.feed)),
                (extract(epoch from greatest(
                    clock_timestamp(),
                    (select at + interval '1 microsecond' from cvsync.cv_change order by seq desc limit 1),
                    (select complete_until from cvsync.feed))) * 1000000)::bigint"
            .to_owned(),
    )
    .await?;
    let at = DateTime::from_timestamp_micros(at).unwrap_or(DateTime::<Utc>::MAX_UTC);
    Ok(Turn { seq, at })
}

/// Appends a row for each id, and wakes the listeners of `cvsync_change` once the transaction commits.
///
/// Any login can fill PostgreSQL's queue of notifications. A full one would let the commit fail, so a queue that is half full gets
/// none: listeners miss a signal, and no change.
pub(crate) async fn append(
    tx: &mut PgConnection,
    upserted: &[Uuid],
    deleted: &[Uuid],
    turn: Turn,
) -> Result<(), StoreError> {
    query(
        "with changed as (
             select cv_id, 'upsert' as kind from unnest($1::uuid[]) as upserted (cv_id)
             union all
             select cv_id, 'delete' from unnest($2::uuid[]) as deleted (cv_id)
         ), added as (
             insert into cvsync.cv_change (seq, cv_id, kind, at)
             select $4 - 1 + row_number() over (), cv_id, kind, $3 from changed
             returning seq
         )
         select pg_notify('cvsync_change', max(seq)::text)
           from added
         having count(*) > 0
            and pg_notification_queue_usage() < 0.5",
    )
    .bind(upserted)
    .bind(deleted)
    .bind(turn.at)
    .bind(turn.seq)
    .execute(tx)
    .await?;
    Ok(())
}

/// The latest number that is visible, also if its row was removed since; 0 for an empty feed.
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
