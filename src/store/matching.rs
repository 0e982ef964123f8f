//! Documents that match CVSYNC_KEEP.

use std::collections::HashSet;

use sqlx::PgConnection;
use uuid::Uuid;

use super::StoreError;
use super::sql::query_scalar;

/// Those among these documents that match the terms.
pub(crate) async fn matching(
    tx: &mut PgConnection,
    ids: &[Uuid],
    documents: &[&str],
    terms: &[String],
) -> Result<HashSet<Uuid>, StoreError> {
    let ids: Vec<Uuid> = query_scalar(
        "select cv_id
           from unnest($1::uuid[], $2::text[]) as new (cv_id, document)
          where cvsync.keeps(document::jsonb, $3)",
    )
    .bind(ids)
    .bind(documents)
    .bind(terms)
    .fetch_all(tx)
    .await?;
    Ok(ids.into_iter().collect())
}
