//! The table `relisted`: up to where the source was listed a second time.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::StoreError;
use super::coverage::KANDIDATEN;
use super::sql::{query, query_scalar};

/// The end of the latest second listing; `None` before the first one.
pub(crate) async fn read(tx: &mut PgConnection) -> Result<Option<DateTime<Utc>>, StoreError> {
    Ok(
        query_scalar("select position from cvsync.relisted where stream = $1")
            .bind(KANDIDATEN)
            .fetch_optional(tx)
            .await?,
    )
}

/// A second listing ended at `position`. The mark may go back: one ahead of the watermark was never right.
pub(crate) async fn set(tx: &mut PgConnection, position: DateTime<Utc>) -> Result<(), StoreError> {
    query(
        "insert into cvsync.relisted (stream, position)
         values ($1, $2)
         on conflict (stream) do update set position = excluded.position",
    )
    .bind(KANDIDATEN)
    .bind(position)
    .execute(tx)
    .await?;
    Ok(())
}
