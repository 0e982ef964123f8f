//! The table `clock_doubt`: the span of `as_of` values that were written while clocks disagreed. One row at most.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::StoreError;
use super::sql::{query, query_as, query_scalar};

/// PostgreSQL's time now.
pub(crate) async fn database_time(tx: &mut PgConnection) -> Result<DateTime<Utc>, StoreError> {
    Ok(query_scalar("select clock_timestamp()")
        .fetch_one(tx)
        .await?)
}

/// The span, if there is one.
pub(crate) async fn read(
    tx: &mut PgConnection,
) -> Result<Option<(DateTime<Utc>, DateTime<Utc>)>, StoreError> {
    Ok(query_as("select van, tot from cvsync.clock_doubt")
        .fetch_optional(tx)
        .await?)
}

/// Widens it to hold `van` and `tot`.
pub(crate) async fn widen(
    tx: &mut PgConnection,
    van: DateTime<Utc>,
    tot: DateTime<Utc>,
) -> Result<(), StoreError> {
    query(
        "insert into cvsync.clock_doubt as doubt (van, tot)
         values ($1, $2)
         on conflict (one) do update
            set van = least(doubt.van, excluded.van),
                tot = greatest(doubt.tot, excluded.tot)",
    )
    .bind(van)
    .bind(tot)
    .execute(tx)
    .await?;
    Ok(())
}

/// Forgets it, unless it has been widened meanwhile.
pub(crate) async fn clear(
    tx: &mut PgConnection,
    van: DateTime<Utc>,
    tot: DateTime<Utc>,
) -> Result<(), StoreError> {
    query("delete from cvsync.clock_doubt where van = $1 and tot = $2")
        .bind(van)
        .bind(tot)
        .execute(tx)
        .await?;
    Ok(())
}
