//! The table `sync_window`: which spans of the source's time were listed, when, and with what result.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;

use super::StoreError;
use super::sql::{query, query_as, query_scalar};
use crate::model::{Lane, Tally, Window};

/// Rows that a statement forgets at most.
const FORGOTTEN: i64 = 5_000;

/// No window is wider, whatever CVSYNC_WINDOW is: one that holds an instant ends within so many days.
const WIDEST_DAYS: i32 = 31;

/// The ends of windows after `after`, in order: of all settled ones, and of those that a crash left open one per two minutes. CVs
/// that were fetched for these are known to be up to date only if the same windows are listed again.
pub async fn ends_after(
    tx: &mut PgConnection,
    after: DateTime<Utc>,
) -> Result<Vec<DateTime<Utc>>, StoreError> {
    Ok(query_scalar(
        // Windows have whole milliseconds, whoever wrote the row: an end between two of them would leave no window before it.
        "select date_trunc('milliseconds', tot) as tot
           from cvsync.sync_window
          where fresh
            and state = 'settled'
            and tot > $1
          union
         select date_trunc('milliseconds', min(tot))

           from cvsync.sync_window
          where fresh
            and state = 'abandoned'
            and tot > $1
          group by date_bin('2 minutes', tot, 'epoch')
          order by tot",
    )
    .bind(after)
    .fetch_all(tx)
    .await?)
}

/// Forgets some of what was listed a second time, or not to its end, before `before`; true if there may be more.
pub async fn forget_repeats(
    tx: &mut PgConnection,
    before: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let forgotten = query(
        "delete from cvsync.sync_window
          where id in (select id
                         from cvsync.sync_window
                        where (not fresh or state = 'abandoned')
                          and finished_at < $1
                        order by finished_at
                        limit $2)",
    )
    .bind(before)
    .bind(FORGOTTEN)
    .execute(tx)
    .await?;
    Ok(forgotten.rows_affected() == FORGOTTEN.unsigned_abs())
}

/// Records that a window is being listed; returns its number. A window that is not `fresh` was settled before.
pub async fn open(
    tx: &mut PgConnection,
    window: Window,
    fresh: bool,
    lane: Lane,
) -> Result<i64, StoreError> {
    Ok(query_scalar(
        "insert into cvsync.sync_window (van, tot, fresh, lane, state)
         values ($1, $2, $3, $4, 'open')
         returning id",
    )
    .bind(window.van())
    .bind(window.tot())
    .bind(fresh)
    .bind(lane.as_str())
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
                held        = $9,
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
    .bind(count(tally.held))
    .execute(tx)
    .await?;
    Ok(())
}

/// Closes a window that is left to the backlog.
pub(crate) async fn abandon(tx: &mut PgConnection, id: i64) -> Result<(), StoreError> {
    query(
        "update cvsync.sync_window
            set state       = 'abandoned',
                finished_at = clock_timestamp()
          where id = $1",
    )
    .bind(id)
    .execute(tx)
    .await?;
    Ok(())
}

/// Closes the windows that an earlier run of this lane left open. Their ids are listed again, since they are not settled.
pub async fn abandon_open(tx: &mut PgConnection, lane: Lane) -> Result<u64, StoreError> {
    Ok(query(
        "update cvsync.sync_window
            set state       = 'abandoned',
                finished_at = now()
          where state = 'open'
            and coalesce(lane, $1) = $1",
    )
    .bind(lane.as_str())
    .execute(tx)
    .await?
    .rows_affected())
}

/// One line of the ledger.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct SyncWindow {
    pub id: i64,
    pub van: DateTime<Utc>,
    /// Exclusive.
    pub tot: DateTime<Utc>,
    /// Whether it was listed for the first time.
    pub fresh: bool,
    /// `open`, `settled` or `abandoned`.
    pub state: String,
    /// Ids that the source listed.
    pub listed: i64,
    /// Inserted and updated.
    pub upserted: i64,
    pub unchanged: i64,
    pub deleted: i64,
    pub parked: i64,
    /// Deletes that were held back.
    pub held: i64,
    /// Known without a detail call.
    pub skipped: i64,
    pub started_at: DateTime<Utc>,
    /// When its last id was applied, skipped or parked.
    pub finished_at: Option<DateTime<Utc>>,
}

/// The latest lines of the ledger, newest first.
pub async fn latest(tx: &mut PgConnection, limit: i64) -> Result<Vec<SyncWindow>, StoreError> {
    Ok(query_as(
        "select id, van, tot, fresh, state, listed, upserted, unchanged, deleted, parked, held,
                skipped, started_at, finished_at
           from cvsync.sync_window
          order by id desc
          limit $1",
    )
    .bind(limit)
    .fetch_all(tx)
    .await?)
}

/// The line of this number.
pub async fn find(tx: &mut PgConnection, id: i64) -> Result<Option<SyncWindow>, StoreError> {
    Ok(query_as(
        "select id, van, tot, fresh, state, listed, upserted, unchanged, deleted, parked, held,
                skipped, started_at, finished_at
           from cvsync.sync_window
          where id = $1",
    )
    .bind(id)
    .fetch_optional(tx)
    .await?)
}

/// When a span was last listed as a whole, before the window `id` was.
pub async fn listed_before(
    tx: &mut PgConnection,
    window: Window,
    id: i64,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    Ok(query_scalar(
        "select max(started_at)
           from cvsync.sync_window
          where van <= $1
            and tot >= $2
            and tot <= $1 + make_interval(days => $4)
            and state = 'settled'
            and id < $3",
    )
    .bind(window.van())
    .bind(window.tot())
    .bind(id)
    .bind(WIDEST_DAYS)
    .fetch_one(tx)
    .await?)
}

/// Ids listed for the first time in windows that ended within a span of the source's time.
pub async fn listed_between(
    tx: &mut PgConnection,
    van: DateTime<Utc>,
    tot: DateTime<Utc>,
) -> Result<i64, StoreError> {
    Ok(query_scalar(
        "select coalesce(sum(listed), 0)::bigint
           from cvsync.sync_window
          where fresh
            and state = 'settled'
            and tot > $1
            and tot <= $2",
    )
    .bind(van)
    .bind(tot)
    .fetch_one(tx)
    .await?)
}
