//! The fence in the table `feed`: up to which time a snapshot holds every change, on the primary and on its standbys.
//!
//! A lock tells only the readers of its own server that no earlier change is under way: advisory locks and row locks do not reach a
//! standby. A value that is written under the lock does, because a standby replays commits in their order:
//!
//! - A transaction that appends to `cv_change` holds the turn ([`take_turn`](super::cv_change::take_turn)) until it has committed,
//!   and so does one that sets the fence. Their commits have one order, which is the order of the WAL and of replay.
//! - A change gets a time that is later than each change before it, and not earlier than the fence at that moment.
//!
//! So a snapshot that holds the fence `t`, or a change at `t`, holds every change before `t`, and all others are later. This depends
//! on no clock and on no server.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::StoreError;
use super::sql::{query, query_as, query_scalar};

/// A fence that was set.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct Fence {
    pub until: DateTime<Utc>,
    /// The server history in which it was set; see `cvsync.home()`.
    pub home: String,
}

/// Sets the fence to the time of this server, after all changes under way are committed.
///
/// It does not wait for synchronous standbys. If a failover takes it back, the next fence replaces it.
pub(crate) async fn set(tx: &mut PgConnection) -> Result<Fence, StoreError> {
    // A caller that waits no longer must not leave a statement behind that keeps the connection.
    query(
        "select set_config('synchronous_commit', 'local', true),
                set_config('lock_timeout', '5s', true)",
    )
    .execute(&mut *tx)
    .await?;
    query("select from cvsync.feed for update")
        .execute(&mut *tx)
        .await?;
    Ok(query_as(
        "update cvsync.feed
            set complete_until = greatest(clock_timestamp(), complete_until),
                complete_in    = cvsync.home()
         returning complete_until as until, complete_in as home",
    )
    .fetch_one(tx)
    .await?)
}

/// A time such that this snapshot holds every change before it.
pub(crate) async fn as_of(tx: &mut PgConnection) -> Result<DateTime<Utc>, StoreError> {
    Ok(query_scalar(
        "select coalesce(
                    greatest(
                        complete_until,
                        (select at + interval '1 microsecond' from cvsync.cv_change order by seq desc limit 1)),
                    'epoch')
           from cvsync.feed",
    )
    .fetch_one(tx)
    .await?)
}

/// A time such that searches in this snapshot know every change before it: the index follows the feed.
pub(crate) async fn searchable_as_of(
    tx: &mut PgConnection,
    as_of: DateTime<Utc>,
) -> Result<DateTime<Utc>, StoreError> {
    Ok(query_scalar(
        "select coalesce(
                    (select least($2, (select at from cvsync.cv_change where cv_change.seq > consumer.seq order by seq limit 1))
                       from cvsync.feed_consumer as consumer
                      where name = $1),
                    'epoch')",
    )
    .bind(super::cv_search::CONSUMER)
    .bind(as_of)
    .fetch_one(tx)
    .await?)
}

/// The server history that this snapshot belongs to, to be compared with that of the latest fence. `None` before the first fence.
///
/// It differs on a standby that has not replayed the latest failover yet, on one that replayed commits which the failover lost, and
/// on a server that does not belong to the primary.
pub(crate) async fn home(tx: &mut PgConnection) -> Result<Option<String>, StoreError> {
    Ok(query_scalar("select cvsync.home_of_readers()")
        .fetch_one(tx)
        .await?)
}
