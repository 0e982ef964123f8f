//! For how long CVs have waited that no window lists now: set aside, or held back by the brake.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::PgConnection;
use uuid::Uuid;

use super::StoreError;
use super::sql::query_as;

/// By id, for those among `ids` that wait.
pub(crate) async fn ages(
    tx: &mut PgConnection,
    ids: &[Uuid],
) -> Result<HashMap<Uuid, Duration>, StoreError> {
    let keys: Vec<String> = ids.iter().map(Uuid::to_string).collect();
    let rows: Vec<(Uuid, f64)> = query_as(
        "select cv_id, extract(epoch from now() - min(since))::float8
           from (select cv_id, held_at as since
                   from cvsync.held_delete
                  where cv_id = any($1)
                  union all
                 select cv_id::uuid, first_failed_at
                   from cvsync.parked_cv
                  where cv_id = any($2)) as waiting
          group by cv_id",
    )
    .bind(ids)
    .bind(keys)
    .fetch_all(tx)
    .await?;
    let age = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or_default();
    Ok(rows.into_iter().map(|(id, s)| (id, age(s))).collect())
}
