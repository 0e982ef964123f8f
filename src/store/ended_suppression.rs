//! Suppressions in `suppressed_cv` whose end has come: their CVs are fetched again.

use std::collections::BTreeSet;

use sqlx::PgConnection;
use uuid::Uuid;

use super::StoreError;
use super::sql::{query, query_scalar};

/// Suppressions that one transaction ends.
const ENDED_AT_ONCE: i64 = 1_000;

/// Whether a suppression has ended whose CV is still to be fetched.
pub(crate) async fn any(tx: &mut PgConnection) -> Result<bool, StoreError> {
    Ok(
        query_scalar("select exists (select from cvsync.suppressed_cv where until <= now())")
            .fetch_one(tx)
            .await?,
    )
}

/// Removes suppressions that have ended; returns the CVs to fetch. Those with a hashed id are not among them: their id is unknown
/// until VDAB lists it.
pub(crate) async fn lift(tx: &mut PgConnection) -> Result<Vec<Uuid>, StoreError> {
    let ids: Vec<Option<Uuid>> = query_scalar(
        "delete from cvsync.suppressed_cv
          where id in (select id
                         from cvsync.suppressed_cv
                        where until <= now()
                        order by until
                        limit $1)
         returning cv_id",
    )
    .bind(ENDED_AT_ONCE)
    .fetch_all(&mut *tx)
    .await?;
    let ids: BTreeSet<Uuid> = ids.into_iter().flatten().collect();
    let ids: Vec<Uuid> = ids.into_iter().collect();
    if !ids.is_empty() {
        // Never confirmed: if nobody fetches them now, the next comparison does.
        query(
            "insert into cvsync.cv_seen (cv_id, as_of, gone)
             select cv_id, 'epoch', false
               from unnest($1::uuid[]) as ended (cv_id)
             on conflict (cv_id) do update
                set withheld = null",
        )
        .bind(&ids)
        .execute(tx)
        .await?;
    }
    Ok(ids)
}
