//! The table `stored_shape`: the settings under which stored documents were written.

use sqlx::PgConnection;

use super::StoreError;
use super::sql::{query, query_as, query_scalar};

/// Versions whose newest migration is older store CVs that do not match CVSYNC_KEEP.
const OLDEST_THAT_KEEPS: i64 = 20_261_130_220_100;

/// A shape: the pointers of CVSYNC_DOCUMENT_EXCLUDE and the terms of CVSYNC_KEEP, both sorted.
pub(crate) type Row = (Vec<String>, Vec<String>);

/// Records the leader's shape. If it is new, the work on the one before starts anew.
pub(crate) async fn set(
    tx: &mut PgConnection,
    exclude: &[String],
    keep: &[String],
) -> Result<(), StoreError> {
    let is_same: Option<bool> = query_scalar(
        "select exclude = $1 and keep = $2 from cvsync.stored_shape order by id desc limit 1",
    )
    .bind(exclude)
    .bind(keep)
    .fetch_optional(&mut *tx)
    .await?;
    if is_same == Some(true) {
        return Ok(());
    }
    query("insert into cvsync.stored_shape (exclude, keep) values ($1, $2)")
        .bind(exclude)
        .bind(keep)
        .execute(&mut *tx)
        .await?;
    query("delete from cvsync.refit").execute(&mut *tx).await?;
    if !keep.is_empty() {
        query("update cvsync.compatibility set oldest = $1 where oldest < $1")
            .bind(OLDEST_THAT_KEEPS)
            .execute(tx)
            .await?;
    }
    Ok(())
}

/// All shapes that stored documents may have, the current one last.
pub(crate) async fn all(tx: &mut PgConnection) -> Result<Vec<Row>, StoreError> {
    Ok(
        query_as("select exclude, keep from cvsync.stored_shape order by id")
            .fetch_all(tx)
            .await?,
    )
}

/// Records that all stored documents have the current shape.
pub(crate) async fn settle(tx: &mut PgConnection) -> Result<(), StoreError> {
    query(
        "delete from cvsync.stored_shape
          where id < (select max(id) from cvsync.stored_shape)",
    )
    .execute(&mut *tx)
    .await?;
    query("delete from cvsync.refit").execute(tx).await?;
    Ok(())
}
