//! The table `instance`: who runs, and when each was last seen. Nothing rests on it: who leads is in `lease`.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::StoreError;
use super::sql::{query, query_as};

/// An instance that says nothing for so long is forgotten.
const KEPT: &str = "1 day";

/// An instance, as it was last seen.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Instance {
    /// Its own name.
    pub name: String,
    /// Its binary's.
    pub version: String,
    /// Since when it runs.
    pub started_at: DateTime<Utc>,
    /// When it was last seen.
    pub seen_at: DateTime<Utc>,
    /// Whether that is so long ago that it may be gone.
    pub silent: bool,
}

/// This one is here.
pub async fn seen(tx: &mut PgConnection, name: &str, version: &str) -> Result<(), StoreError> {
    query(
        "insert into cvsync.instance (name, version)
         values ($1, $2)
         on conflict (name) do update set seen_at = now()",
    )
    .bind(name)
    .bind(version)
    .execute(&mut *tx)
    .await?;
    query("delete from cvsync.instance where seen_at < now() - $1::interval")
        .bind(KEPT)
        .execute(tx)
        .await?;
    Ok(())
}

/// This one stops.
pub async fn gone(tx: &mut PgConnection, name: &str) -> Result<(), StoreError> {
    query("delete from cvsync.instance where name = $1")
        .bind(name)
        .execute(tx)
        .await?;
    Ok(())
}

/// All that were seen lately, the latest first.
pub async fn all(tx: &mut PgConnection) -> Result<Vec<Instance>, StoreError> {
    Ok(query_as(
        "select name, version, started_at, seen_at, seen_at < now() - interval '1 minute' as silent
           from cvsync.instance
          order by silent, started_at
          limit 20",
    )
    .fetch_all(tx)
    .await?)
}
