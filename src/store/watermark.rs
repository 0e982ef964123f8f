//! The table `watermark`: every change before a stream's position is applied or parked. It never goes back.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::StoreError;
use super::sql::{query, query_scalar};

/// The stream of CVs.
pub(crate) const KANDIDATEN: &str = "kandidaten";

/// The position of the stream; `None` before its first window has settled.
pub(crate) async fn read(tx: &mut PgConnection) -> Result<Option<DateTime<Utc>>, StoreError> {
    Ok(
        query_scalar("select position from cvsync.watermark where stream = $1")
            .bind(KANDIDATEN)
            .fetch_optional(tx)
            .await?,
    )
}

/// Moves it forward to `position`, from `from` or beyond; false where it does not move: one that lies behind changes
/// nothing.
///
/// If a person has moved it back meanwhile, before `from`, it stays: the time in between must be listed again.
pub(crate) async fn advance(
    tx: &mut PgConnection,
    from: DateTime<Utc>,
    position: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let moved = query(
        "insert into cvsync.watermark as mark (stream, position)
         values ($1, $2)
         on conflict (stream) do update
            set position   = excluded.position,
                updated_at = now()
          where mark.position < excluded.position
            and mark.position >= $3",
    )
    .bind(KANDIDATEN)
    .bind(position)
    .bind(from)
    .execute(tx)
    .await?;
    Ok(moved.rows_affected() == 1)
}

/// Moves it back to `position`, and keeps a record of that; where it was, or `None` if it lies behind already.
pub(crate) async fn rewind(
    tx: &mut PgConnection,
    position: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    Ok(query_scalar(
        "with was as (
             select position
               from cvsync.watermark
              where stream = $1
                and position > $2
                for update
         ), moved as (
             update cvsync.watermark
                set position   = $2,
                    updated_at = now()
              where stream = $1
                and exists (select from was)
         ), recorded as (
             insert into cvsync.watermark_rewind (stream, from_position, to_position)
             select $1, position, $2 from was
         )
         select position from was",
    )
    .bind(KANDIDATEN)
    .bind(position)
    .fetch_optional(tx)
    .await?)
}
