//! The table `stored_shape`: the settings under which stored documents were written.

//!
//! Invariant: a command that writes documents first calls [`hold_still`], and a leader that records another shape waits for it. So
//! no command stores a document in an earlier shape after its successor is recorded.

use sqlx::PgConnection;

use super::sql::{query, query_as};
use super::{StoreError, held_delete};

/// Versions whose newest migration is older store CVs that do not match CVSYNC_KEEP.
const OLDEST_THAT_KEEPS: i64 = 20_261_130_220_100;

/// A shape: the pointers of CVSYNC_DOCUMENT_EXCLUDE and the terms of CVSYNC_KEEP, both sorted.
pub(crate) type Row = (Vec<String>, Vec<String>);

/// Lets no leader record another shape until this transaction ends. To be called before any other lock is taken.
pub(super) async fn hold_still(tx: &mut PgConnection) -> Result<(), StoreError> {
    query("lock table cvsync.stored_shape in row share mode")
        .execute(tx)
        .await?;
    Ok(())
}

/// The current shape; `None` before the first leader.
pub(super) async fn newest(tx: &mut PgConnection) -> Result<Option<Row>, StoreError> {
    Ok(
        query_as("select exclude, keep from cvsync.stored_shape order by id desc limit 1")
            .fetch_optional(tx)
            .await?,
    )
}

/// Records the leader's shape. If it is new, the work on the one before starts anew, and deletes that are held since their CVs did
/// not match the filter before are released.
pub(crate) async fn set(
    tx: &mut PgConnection,
    exclude: &[String],
    keep: &[String],
) -> Result<(), StoreError> {
    query("lock table cvsync.stored_shape in exclusive mode")
        .execute(&mut *tx)
        .await?;
    let newest = newest(tx).await?;
    if let Some((before, filter)) = &newest {
        if before == exclude && filter == keep {
            return Ok(());
        }
        // CVs whose deletes were held are stored as if there were no filter. The new one must find those that it does not match.
        if held_delete::release_filtered(tx).await? > 0 {
            add(tx, before, &[]).await?;
        }
    }
    add(tx, exclude, keep).await?;
    query("delete from cvsync.refit").execute(&mut *tx).await?;
    if !keep.is_empty() {
        query("update cvsync.compatibility set oldest = $1 where oldest < $1")
            .bind(OLDEST_THAT_KEEPS)
            .execute(tx)
            .await?;
    }
    Ok(())
}

async fn add(tx: &mut PgConnection, exclude: &[String], keep: &[String]) -> Result<(), StoreError> {
    query("insert into cvsync.stored_shape (exclude, keep) values ($1, $2)")
        .bind(exclude)
        .bind(keep)
        .execute(tx)
        .await?;
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
