//! The table `mirror_client`: who may ask the mirror, each by a key that only its hash is kept of.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;

use super::StoreError;
use super::sql::{query, query_as};
use crate::model::sha256;

/// The longest name, in characters.
pub(crate) const LONGEST_NAME: usize = 100;

/// A client as a person sees it.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub(crate) struct MirrorClient {
    pub name: String,
    /// When its key was made.
    pub created_at: DateTime<Utc>,
    /// When it last called, to the minute; none if it never did.
    pub last_used_at: Option<DateTime<Utc>>,
    /// Since when its key opens nothing.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// The stored form of a key. A key is 256 random bits, so a plain SHA-256 is enough: nobody can try likely keys.
#[must_use]
pub(crate) fn key_hash(key: &[u8]) -> [u8; 32] {
    sha256(key)
}

/// Lets a client in; false if there is or was one of this name.
pub(crate) async fn add(
    tx: &mut PgConnection,
    name: &str,
    key_hash: &[u8; 32],
) -> Result<bool, StoreError> {
    let added = query(
        "insert into cvsync.mirror_client (name, key_hash)
         values ($1, $2)
         on conflict (name) do nothing",
    )
    .bind(name)
    .bind(key_hash.as_slice())
    .execute(tx)
    .await?;
    Ok(added.rows_affected() == 1)
}

/// Revokes the key of a client; false if no client has this name.
pub(crate) async fn revoke(tx: &mut PgConnection, name: &str) -> Result<bool, StoreError> {
    let revoked = query(
        "update cvsync.mirror_client
            set revoked_at = coalesce(revoked_at, now())
          where name = $1",
    )
    .bind(name)
    .execute(tx)
    .await?;
    Ok(revoked.rows_affected() == 1)
}

/// All that there ever were, by name.
pub(crate) async fn list(
    tx: &mut PgConnection,
    limit: i64,
) -> Result<Vec<MirrorClient>, StoreError> {
    Ok(query_as(
        "select name, created_at, last_used_at, revoked_at
           from cvsync.mirror_client
          order by name
          limit $1",
    )
    .bind(limit)
    .fetch_all(tx)
    .await?)
}

/// Name and key hash of those whose keys open.
pub(crate) async fn in_force(tx: &mut PgConnection) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
    Ok(query_as(
        "select name, key_hash
           from cvsync.mirror_client
          where revoked_at is null",
    )
    .fetch_all(tx)
    .await?)
}

/// Notes that a client calls now; no more often than each minute, whatever the number of instances.
pub(crate) async fn used(tx: &mut PgConnection, name: &str) -> Result<(), StoreError> {
    query(
        "update cvsync.mirror_client
            set last_used_at = now()
          where name = $1
            and (last_used_at is null or last_used_at < now() - interval '1 minute')",
    )
    .bind(name)
    .execute(tx)
    .await?;
    Ok(())
}
