//! The table `history`: lag, throughput and calls of the last days, one row per minute, so that plots survive a restart.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::StoreError;
use super::sql::{query, query_as, query_scalar};

/// How long it is kept.
const KEPT: &str = "8 days";

/// The figures of one minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, sqlx::FromRow)]
pub struct Minute {
    /// The start of the minute.
    pub at: DateTime<Utc>,
    /// The source's time minus the watermark, at its longest.
    pub lag_seconds: Option<i64>,
    /// Inserted and updated.
    pub upserted: i64,
    pub deleted: i64,
    /// Calls to VDAB that were answered, of the endpoint that got the most.
    pub calls: i64,
    /// CVs set aside, at its end.
    pub parked: i64,
    /// CVs stored, at its end; an estimate where they are many.
    pub stored: i64,
}

/// Writes down the minute that is now, whatever its `at` says, and forgets the oldest. Where two instances led within one
/// minute their counts are added.
pub(crate) async fn record(tx: &mut PgConnection, minute: &Minute) -> Result<(), StoreError> {
    query(
        "insert into cvsync.history as known (at, lag_seconds, upserted, deleted, calls, parked, stored)
         values (date_trunc('minute', now()), $1, $2, $3, $4, $5, $6)
         on conflict (at) do update
            set lag_seconds = greatest(known.lag_seconds, excluded.lag_seconds),
                upserted    = known.upserted + excluded.upserted,
                deleted     = known.deleted + excluded.deleted,
                calls       = known.calls + excluded.calls,
                parked      = excluded.parked,
                stored      = excluded.stored",
    )
    .bind(minute.lag_seconds)
    .bind(minute.upserted)
    .bind(minute.deleted)
    .bind(minute.calls)
    .bind(minute.parked)
    .bind(minute.stored)
    .execute(&mut *tx)
    .await?;
    query("delete from cvsync.history where at < now() - $1::interval")
        .bind(KEPT)
        .execute(tx)
        .await?;
    Ok(())
}

/// The calls of the latest minute, if somebody led in the last few.
pub(crate) async fn latest_calls(tx: &mut PgConnection) -> Result<Option<i64>, StoreError> {
    Ok(query_scalar(
        "select calls
           from cvsync.history
          where at > now() - interval '3 minutes'
          order by at desc
          limit 1",
    )
    .fetch_optional(tx)
    .await?)
}

/// The last day, oldest first.
pub(crate) async fn last_day(tx: &mut PgConnection) -> Result<Vec<Minute>, StoreError> {
    Ok(query_as(
        "select at, lag_seconds, upserted, deleted, calls, parked, stored
           from cvsync.history
          where at > now() - interval '1 day'
          order by at",
    )
    .fetch_all(tx)
    .await?)
}
