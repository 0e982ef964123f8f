//! The table `parked_cv`: what could not be applied, why, and when it is tried again. No personal data.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;

use super::StoreError;
use super::sql::{query, query_as, query_scalar};
use crate::model::{CvId, ParkClass};

/// Ids are text here, because malformed ids are parked too. This is the longest one in characters.
const LONGEST_ID: usize = 64;

/// How long a malformed id is kept after its last retry time, which is at most a day after VDAB listed it.
const MALFORMED_KEPT: &str = "30 days";

/// Why an id is parked.
#[derive(Clone, Copy, Debug)]
pub struct Park {
    pub class: ParkClass,
    /// Source time of the request that failed.
    pub as_of: DateTime<Utc>,
    /// How long VDAB asks to wait.
    pub wait: Duration,
}

/// Parks ids, each at most once, and sorted. One that is parked already waits longer with each attempt, up to a day; none is
/// tried before VDAB wants it.
pub async fn park(
    tx: &mut PgConnection,
    parked: &BTreeMap<String, Park>,
) -> Result<(), StoreError> {
    let ids: Vec<&str> = parked.keys().map(String::as_str).collect();
    let classes: Vec<&str> = parked.values().map(|park| park.class.as_str()).collect();
    let as_of: Vec<DateTime<Utc>> = parked.values().map(|park| park.as_of).collect();
    let waits: Vec<f64> = parked
        .values()
        .map(|park| park.wait.as_secs_f64())
        .collect();
    query(
        "insert into cvsync.parked_cv as parked (cv_id, error_class, as_of, next_attempt_at)
         select cv_id, error_class, as_of,
                now() + greatest(interval '5 minutes', make_interval(secs => wait))
           from unnest($1::text[], $2::text[], $3::timestamptz[], $4::float8[])
                as new (cv_id, error_class, as_of, wait)
         on conflict (cv_id) do update
            set error_class     = excluded.error_class,
                as_of           = greatest(parked.as_of, excluded.as_of),
                attempts        = parked.attempts + 1,
                next_attempt_at = greatest(
                    excluded.next_attempt_at,
                    now() + least(
                        interval '1 day',
                        interval '5 minutes' * power(2, least(parked.attempts, 10))))",
    )
    .bind(ids)
    .bind(classes)
    .bind(as_of)
    .bind(waits)
    .execute(tx)
    .await?;
    Ok(())
}

/// For how many seconds the one that waits longest has waited; 0 if none does.
pub async fn oldest_age(tx: &mut PgConnection) -> Result<f64, StoreError> {
    Ok(query_scalar(
        "select coalesce(extract(epoch from now() - min(first_failed_at)), 0)::float8
           from cvsync.parked_cv",
    )
    .fetch_one(tx)
    .await?)
}

/// Takes ids off of which a person wants to hear no more; returns how many.
pub async fn forget(tx: &mut PgConnection, ids: &[String]) -> Result<u64, StoreError> {
    let ids: Vec<String> = ids.iter().map(|id| key(id)).collect();
    Ok(query(
        "delete from cvsync.parked_cv
          where cv_id = any($1)",
    )
    .bind(ids)
    .execute(tx)
    .await?
    .rows_affected())
}

/// Those among `ids` that are parked and not due yet.
pub async fn waiting(tx: &mut PgConnection, ids: &[String]) -> Result<Vec<String>, StoreError> {
    Ok(query_scalar(
        "select cv_id
           from cvsync.parked_cv
          where cv_id = any($1)
            and next_attempt_at > now()",
    )
    .bind(ids)
    .fetch_all(tx)
    .await?)
}

/// Up to `limit` ids that are due, the longest due first. Garbage is never asked for.
pub async fn due(tx: &mut PgConnection, limit: i64) -> Result<Vec<String>, StoreError> {
    Ok(query_scalar(
        "select cv_id
           from cvsync.parked_cv
          where next_attempt_at <= now()
            and cv_id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
          order by next_attempt_at
          limit $1",
    )
    .bind(limit)
    .fetch_all(tx)
    .await?)
}

/// Removes malformed ids that VDAB listed long ago. They are never requested, so no response removes them.
pub(crate) async fn forget_malformed(tx: &mut PgConnection) -> Result<(), StoreError> {
    query(
        "delete from cvsync.parked_cv
          where next_attempt_at < now() - $1::interval
            and cv_id !~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'",
    )
    .bind(MALFORMED_KEPT)
    .execute(tx)
    .await?;
    Ok(())
}

/// Stops retrying all of them; returns how many.
pub(crate) async fn forget_all(tx: &mut PgConnection) -> Result<u64, StoreError> {
    let done = query("delete from cvsync.parked_cv").execute(tx).await?;
    Ok(done.rows_affected())
}

/// How many are parked, by class.
pub async fn count(tx: &mut PgConnection) -> Result<Vec<(String, i64)>, StoreError> {
    Ok(query_as(
        "select error_class, count(*)
           from cvsync.parked_cv
          group by error_class
          order by error_class",
    )
    .fetch_all(tx)
    .await?)
}

/// A CV that is set aside.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct ParkedCv {
    /// Its id, or the form of a malformed one; see [`key`].
    pub cv_id: String,
    pub error_class: String,
    /// How often it was tried.
    pub attempts: i32,
    pub first_failed_at: DateTime<Utc>,
    /// When it is tried again.
    pub next_attempt_at: DateTime<Utc>,
}

/// Those that are parked, the longest first.
pub async fn list(tx: &mut PgConnection, limit: i64) -> Result<Vec<ParkedCv>, StoreError> {
    Ok(query_as(
        "select cv_id, error_class, attempts, first_failed_at, next_attempt_at
           from cvsync.parked_cv
          order by first_failed_at, cv_id
          limit $1",
    )
    .bind(limit)
    .fetch_all(tx)
    .await?)
}

/// The one of this id.
pub async fn find(tx: &mut PgConnection, id: &str) -> Result<Option<ParkedCv>, StoreError> {
    Ok(query_as(
        "select cv_id, error_class, attempts, first_failed_at, next_attempt_at
           from cvsync.parked_cv
          where cv_id = $1",
    )
    .bind(id)
    .fetch_optional(tx)
    .await?)
}

/// Lets the next run try these again, or all where there are none; returns how many.
pub async fn retry(tx: &mut PgConnection, ids: &[String]) -> Result<u64, StoreError> {
    let ids: Vec<String> = ids.iter().map(|id| key(id)).collect();
    Ok(query(
        "update cvsync.parked_cv
            set next_attempt_at = now()
          where cardinality($1::text[]) = 0
             or cv_id = any($1)",
    )
    .bind(ids)
    .execute(tx)
    .await?
    .rows_affected())
}

/// An id as it is stored. Of a malformed id, which may be anything, only the form: `XXX_XXXXX` for `NOT_FOUND`.
#[must_use]
pub fn key(id: &str) -> String {
    if let Some(id) = CvId::parse(id) {
        return id.to_string();
    }
    let form = id.chars().map(|c| match c {
        'a'..='z' => 'x',
        'A'..='Z' => 'X',
        '0'..='9' => '#',
        c if c.is_ascii_graphic() => c,
        _ => '?',
    });
    form.take(LONGEST_ID).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_form_of_a_malformed_id_is_kept() {
        assert_eq!(key("NOT_FOUND"), "XXX_XXXXX");
        assert_eq!(key("Jan.Peeters@voorbeeld.be"), "Xxx.Xxxxxxx@xxxxxxxxx.xx");
        assert_eq!(key("0470 12 34 56"), "####?##?##?##");
        assert_eq!(key("a\0b\né\u{202e}"), "x?x???");
        assert_eq!(key(&key("a1B-é")), key("a1B-é"));
        assert_eq!(key(&"x".repeat(10_000)).len(), LONGEST_ID);
        let near = "{30dbfef1-59df-4521-a111-964bf0208e68}";
        assert!(!key(near).contains("dbf"));
        let uuid = "30dbfef1-59df-4521-a111-964bf0208e68";
        assert_eq!(key(uuid), uuid);
        assert_eq!(key(&uuid.to_uppercase()), uuid);
    }
}
