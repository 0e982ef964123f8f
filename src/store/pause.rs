//! The table `pause`: whether all instances are to make no runs, since when, and why.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;

use super::StoreError;
use super::sql::{query, query_as};

/// A pause that holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Pause {
    /// In a person's words.
    pub reason: String,
    /// When it began.
    pub since: DateTime<Utc>,
    /// When it ends by itself.
    pub until: Option<DateTime<Utc>>,
}

/// Begins one, or changes the one that holds.
pub async fn begin(
    tx: &mut PgConnection,
    reason: &str,
    until: Option<DateTime<Utc>>,
) -> Result<(), StoreError> {
    query(
        "insert into cvsync.pause (reason, until)
         values ($1, $2)
         on conflict (only_row) do update
            set reason = excluded.reason,
                until  = excluded.until,
                since  = now()",
    )
    .bind(reason)
    .bind(until)
    .execute(tx)
    .await?;
    Ok(())
}

/// Ends it; false if there was none.
pub async fn end(tx: &mut PgConnection) -> Result<bool, StoreError> {
    Ok(query("delete from cvsync.pause")
        .execute(tx)
        .await?
        .rows_affected()
        > 0)
}

/// The pause that holds now.
pub async fn current(tx: &mut PgConnection) -> Result<Option<Pause>, StoreError> {
    Ok(query_as(
        "select reason, since, until
           from cvsync.pause
          where until is null
             or until > now()",
    )
    .fetch_optional(tx)
    .await?)
}
