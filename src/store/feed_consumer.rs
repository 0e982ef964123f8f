//! The table `feed_consumer`: who reads the change feed, and how far each has come.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;

use super::sql::{query, query_as};
use super::{StoreError, cv_change};

/// The name of the webhook among the consumers.
pub(crate) const WEBHOOK: &str = "webhook";

/// A lag of more changes counts as this many, so that counting takes milliseconds.
const MOST_COUNTED: i64 = 100_000;

/// A reader of the feed.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Consumer {
    pub name: String,
    /// The last change that it has dealt with.
    pub seq: i64,
    /// Changes that it has not processed, up to [`MOST_COUNTED`].
    pub behind: i64,
    /// The age of the oldest change that it has not processed, in seconds; 0 without such a change.
    pub waiting_seconds: f64,
    pub updated_at: DateTime<Utc>,
}

/// Those that are furthest behind, the last first.
pub(crate) async fn slowest(
    tx: &mut PgConnection,
    limit: i64,
) -> Result<Vec<Consumer>, StoreError> {
    Ok(query_as(
        "select name, seq, updated_at,
                (select count(*)
                   from (select
                           from cvsync.cv_change
                          where cv_change.seq > feed_consumer.seq
                          limit $2) as waiting) as behind,
                coalesce(
                    (select extract(epoch from greatest(clock_timestamp() - at, interval '0'))
                       from cvsync.cv_change
                      where cv_change.seq > feed_consumer.seq
                      order by cv_change.seq
                      limit 1),
                    0)::float8 as waiting_seconds
           from cvsync.feed_consumer
          order by seq, name
          limit $1",
    )
    .bind(limit)
    .bind(MOST_COUNTED)
    .fetch_all(tx)
    .await?)
}

/// Its position, and the highest number that was removed from the feed; `None` if it is not registered.
pub(crate) async fn place(
    tx: &mut PgConnection,
    name: &str,
) -> Result<Option<(i64, i64)>, StoreError> {
    Ok(query_as(
        "select seq, removed_seq
           from cvsync.feed_consumer
          cross join cvsync.feed
          where name = $1",
    )
    .bind(name)
    .fetch_optional(tx)
    .await?)
}

/// Registers it at the present end of the feed, unless it is registered; true if it was not.
pub(crate) async fn register(tx: &mut PgConnection, name: &str) -> Result<bool, StoreError> {
    let last = cv_change::last_seq(&mut *tx).await?;
    let added = query(
        "insert into cvsync.feed_consumer (name, seq)
         values ($1, $2)
         on conflict (name) do nothing",
    )
    .bind(name)
    .bind(last)
    .execute(tx)
    .await?;
    Ok(added.rows_affected() == 1)
}

/// Moves it on, if it is where it was read to be: where somebody has moved or forgotten it meanwhile, that stands.
pub(crate) async fn move_on(
    tx: &mut PgConnection,
    name: &str,
    from: i64,
    to: i64,
) -> Result<(), StoreError> {
    query(
        "update cvsync.feed_consumer
            set seq = $3
          where name = $1
            and seq = $2",
    )
    .bind(name)
    .bind(from)
    .bind(to)
    .execute(tx)
    .await?;
    Ok(())
}

/// Removes a consumer: no rows are kept for it any longer. False if no consumer has this name.
pub(crate) async fn forget(tx: &mut PgConnection, name: &str) -> Result<bool, StoreError> {
    let dropped = query("delete from cvsync.feed_consumer where name = $1")
        .bind(name)
        .execute(tx)
        .await?;
    Ok(dropped.rows_affected() == 1)
}
