//! The table `sync_window`: which spans of the source's time were listed, when, and with what result.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::StoreError;
use super::sql::{query, query_scalar};
use crate::model::{Tally, Window};

/// Where the settled windows behind `after` ended, in order.
pub async fn ends_after(
    tx: &mut PgConnection,
    after: DateTime<Utc>,
) -> Result<Vec<DateTime<Utc>>, StoreError> {
    Ok(query_scalar(
        "select distinct tot
           from cvsync.sync_window
          where fresh
            and state = 'settled'
            and tot > $1
          order by tot",
    )
    .bind(after)
    .fetch_all(tx)
    .await?)
}

/// Forgets what was listed a second time, or not to its end, before `before`.
pub async fn forget_repeats(
    tx: &mut PgConnection,
    before: DateTime<Utc>,
) -> Result<u64, StoreError> {
    Ok(query(
        "delete from cvsync.sync_window
          where (not fresh or state = 'abandoned')
            and finished_at < $1",
    )
    .bind(before)
    .execute(tx)
    .await?
    .rows_affected())
}

/// Writes down that a window is being listed; returns its number. `fresh` windows lie before the watermark.
pub async fn open(tx: &mut PgConnection, window: Window, fresh: bool) -> Result<i64, StoreError> {
    Ok(query_scalar(
        "insert into cvsync.sync_window (van, tot, fresh, state)
         values ($1, $2, $3, 'open')
         returning id",
    )
    .bind(window.van())
    .bind(window.tot())
    .bind(fresh)
    .fetch_one(tx)
    .await?)
}

/// Writes down what became of the ids of a window.
pub async fn settle(tx: &mut PgConnection, id: i64, tally: &Tally) -> Result<(), StoreError> {
    let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    query(
        "update cvsync.sync_window
            set state       = 'settled',
                listed      = $2,
                upserted    = $3,
                unchanged   = $4,
                deleted     = $5,
                parked      = $6,
                skipped     = $7,
                superseded  = $8,
                finished_at = clock_timestamp()
          where id = $1",
    )
    .bind(id)
    .bind(count(tally.listed))
    .bind(count(tally.inserted + tally.updated))
    .bind(count(tally.unchanged))
    .bind(count(tally.deleted))
    .bind(count(tally.parked))
    .bind(count(tally.skipped))
    .bind(count(tally.superseded))
    .execute(tx)
    .await?;
    Ok(())
}

/// Closes what an earlier run left open. Its ids are listed again, for the watermark stands before them.
pub async fn abandon_open(tx: &mut PgConnection) -> Result<u64, StoreError> {
    Ok(query(
        "update cvsync.sync_window
            set state       = 'abandoned',
                finished_at = now()
          where state = 'open'",
    )
    .execute(tx)
    .await?
    .rows_affected())
}
