//! The table `watermark`: every change before a stream's position is applied or parked. It never goes back.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::StoreError;
use super::sql::{query, query_scalar};

/// The stream of CVs.
pub const KANDIDATEN: &str = "kandidaten";

/// Where the stream stands; `None` before its first window has settled.
pub async fn read(tx: &mut PgConnection) -> Result<Option<DateTime<Utc>>, StoreError> {
    Ok(
        query_scalar("select position from cvsync.watermark where stream = $1")
            .bind(KANDIDATEN)
            .fetch_optional(tx)
            .await?,
    )
}

/// Moves it forward to `position`; one that lies behind changes nothing.
pub async fn advance(tx: &mut PgConnection, position: DateTime<Utc>) -> Result<(), StoreError> {
    query(
        "insert into cvsync.watermark as mark (stream, position)
         values ($1, $2)
         on conflict (stream) do update
            set position   = excluded.position,
                updated_at = now()
          where mark.position < excluded.position",
    )
    .bind(KANDIDATEN)
    .bind(position)
    .execute(tx)
    .await?;
    Ok(())
}
