//! The table `cv_access`: which client of the mirror was given which CV, and when. No content.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::StoreError;
use super::sql::{query, query_scalar};

/// The most rows that one statement writes or removes.
const BATCH: usize = 5_000;

/// A CV that was given to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    pub cv_id: Uuid,
    pub at: DateTime<Utc>,
    /// Its name; empty for the admin token.
    pub client: Arc<str>,
    /// Comma-separated names; `None` for the whole document.
    pub fields: Option<Arc<str>>,
}

/// Adds rows. Adding them again changes nothing, so that a write whose outcome is unknown can be repeated.
pub(crate) async fn add(tx: &mut PgConnection, given: &[Given]) -> Result<(), StoreError> {
    for given in given.chunks(BATCH) {
        let ids: Vec<Uuid> = given.iter().map(|it| it.cv_id).collect();
        let times: Vec<DateTime<Utc>> = given.iter().map(|it| it.at).collect();
        let clients: Vec<&str> = given.iter().map(|it| &*it.client).collect();
        let fields: Vec<Option<&str>> = given.iter().map(|it| it.fields.as_deref()).collect();
        query(
            "insert into cvsync.cv_access (cv_id, at, client, fields)
             select cv_id, at, client, string_to_array(fields, ',')
               from unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[]) as given (cv_id, at, client, fields)
             on conflict do nothing",
        )
        .bind(ids)
        .bind(times)
        .bind(clients)
        .bind(fields)
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

/// The time by the database's clock.
pub(crate) async fn now(tx: &mut PgConnection) -> Result<DateTime<Utc>, StoreError> {
    Ok(query_scalar("select clock_timestamp()")
        .fetch_one(tx)
        .await?)
}

/// Removes some of the rows that are older than `retention`; true if there may be more.
pub(crate) async fn trim(tx: &mut PgConnection, retention: Duration) -> Result<bool, StoreError> {
    let most = i64::try_from(BATCH).unwrap_or(i64::MAX);
    let removed = query(
        "delete from cvsync.cv_access
          where ctid = any(array(
                select ctid
                  from cvsync.cv_access
                 where at < now() - make_interval(secs => $1)
                 order by at
                 limit $2))",
    )
    .bind(retention.as_secs_f64())
    .bind(most)
    .execute(tx)
    .await?;
    Ok(removed.rows_affected() >= most.unsigned_abs())
}
