//! The table `suppressed_cv`: CVs that must not be stored, whatever VDAB lists.
//!
//! Invariant: a transaction that writes CVs first executes [`HOLD_STILL`], and one that suppresses CVs waits for those. So a response
//! under way cannot store a CV after its suppression has committed.

use std::collections::{BTreeSet, HashSet};

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use super::sql::{query, query_as, query_scalar};
use super::{StoreError, approved_delete, cv, cv_change, feed, parked_cv};
use crate::model::CvId;

/// Versions whose newest migration is older store a suppressed CV again, so they may no longer run once there is one.
const OLDEST: i64 = 20_261_130_220_000;

/// A suppression. One of `cv_id` and `hash` is set.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub(crate) struct Suppression {
    pub cv_id: Option<Uuid>,
    /// The keyed hash of the id, in hexadecimal digits.
    pub hash: Option<String>,
    /// `objection`, `erasure` or `other`.
    pub reason: String,
    pub since: DateTime<Utc>,
    /// When it ends; `None` for never.
    pub until: Option<DateTime<Utc>>,
}

/// How to suppress CVs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// `objection`, `erasure` or `other`.
    pub reason: &'static str,
    pub until: Option<DateTime<Utc>>,
    /// Whether a keyed hash is stored in place of the id.
    pub hashed: bool,
}

/// The result of [`add`].
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Added {
    pub suppressed: usize,
    /// Documents that were deleted.
    pub deleted: usize,
}

/// Why no suppression was changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// The end is not later than the database's time, which is this.
    #[error("--until must be later than the database's time {0}")]
    Past(DateTime<Utc>),
    #[error("{0} is not suppressed")]
    NotSuppressed(Uuid),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Lets no suppression begin until the transaction ends. To be executed before any other lock is taken.
pub(super) const HOLD_STILL: &str = "lock table cvsync.suppressed_cv in row share mode";

/// Those among `ids` that are suppressed now.
pub(crate) async fn among(
    tx: &mut PgConnection,
    ids: &[Uuid],
) -> Result<HashSet<Uuid>, StoreError> {
    let ids: Vec<Uuid> = query_scalar(
        "select asked.cv_id
           from unnest($1::uuid[]) as asked (cv_id)
           join cvsync.suppressed_cv as suppressed using (cv_id)
          where until is null
             or until > clock_timestamp()
         union
         select asked.cv_id
           from unnest($1::uuid[]) as asked (cv_id)
          cross join cvsync.suppression_key
           join cvsync.suppressed_cv as suppressed on cv_hash = sha256(key || uuid_send(asked.cv_id))
          where (until is null or until > clock_timestamp())
            and exists (select from cvsync.suppressed_cv where cv_hash is not null)",
    )
    .bind(ids)
    .fetch_all(tx)
    .await?;
    Ok(ids.into_iter().collect())
}

/// Suppresses CVs and deletes all that is stored of them. A CV that is suppressed already gets the new reason and end; one whose
/// id is hashed stays hashed.
pub(crate) async fn add(
    tx: &mut PgConnection,
    ids: &BTreeSet<CvId>,
    terms: Terms,
) -> Result<Added, Refused> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    query("lock table cvsync.suppressed_cv in exclusive mode")
        .execute(&mut *tx)
        .await
        .map_err(StoreError::from)?;
    let (now, is_past): (DateTime<Utc>, bool) =
        query_as("select clock_timestamp(), coalesce($1 <= clock_timestamp(), false)")
            .bind(terms.until)
            .fetch_one(&mut *tx)
            .await
            .map_err(StoreError::from)?;
    if is_past {
        return Err(Refused::Past(now));
    }
    stop_older_versions(tx).await?;
    record(tx, &ids, terms).await?;
    let deleted = erase(tx, &ids).await?;
    Ok(Added {
        suppressed: ids.len(),
        deleted,
    })
}

/// Forbids versions that do not know suppressions. If one of them leads, it would notice only within seconds, and could store a
/// suppressed CV again until then. So whoever leads loses the lease here, after its open write transactions have ended.
async fn stop_older_versions(tx: &mut PgConnection) -> Result<(), StoreError> {
    let raised = query("update cvsync.compatibility set oldest = $1 where oldest < $1")
        .bind(OLDEST)
        .execute(&mut *tx)
        .await?;
    if raised.rows_affected() > 0 {
        query("update cvsync.lease set epoch = epoch + 1, expires_at = clock_timestamp()")
            .execute(tx)
            .await?;
    }
    Ok(())
}

async fn record(tx: &mut PgConnection, ids: &[Uuid], terms: Terms) -> Result<(), StoreError> {
    query(
        "with asked as materialized (
             select cv_id, sha256(key || uuid_send(cv_id)) as cv_hash
               from unnest($1::uuid[]) as asked (cv_id)
              cross join cvsync.suppression_key
         ), known as (
             update cvsync.suppressed_cv as known
                set reason  = $2,
                    until   = $3,
                    since   = case when known.until <= now() then now() else known.since end,
                    cv_id   = case when $4 then null else known.cv_id end,
                    cv_hash = case when $4 then asked.cv_hash else known.cv_hash end
               from asked
              where known.cv_id = asked.cv_id
                 or known.cv_hash = asked.cv_hash
             returning asked.cv_id
         )
         insert into cvsync.suppressed_cv (cv_id, cv_hash, reason, until)
         select case when not $4 then cv_id end, case when $4 then cv_hash end, $2, $3
           from asked
          where cv_id not in (select cv_id from known)",
    )
    .bind(ids)
    .bind(terms.reason)
    .bind(terms.until)
    .bind(terms.hashed)
    .execute(tx)
    .await?;
    Ok(())
}

/// Deletes what is stored of suppressed CVs; returns how many documents that were. The feed announces these. The delete brake does
/// not count them.
async fn erase(tx: &mut PgConnection, ids: &[Uuid]) -> Result<usize, StoreError> {
    mark(tx, ids).await?;
    let keys: Vec<String> = ids.iter().map(ToString::to_string).collect();
    parked_cv::forget(tx, &keys).await?;
    query("delete from cvsync.held_delete where cv_id = any($1)")
        .bind(ids)
        .execute(&mut *tx)
        .await?;
    query(
        "update cvsync.run_request
            set ids = array(select id from unnest(ids) as id where id <> all($1))
          where ids && $1",
    )
    .bind(ids)
    .execute(&mut *tx)
    .await?;
    let deleted = cv::delete(tx, ids).await?;
    // After lost commits, a consumer may have a CV that is not stored.
    let announced = match feed::announcing_since(tx).await? {
        Some(_) => ids,
        None => &deleted,
    };
    if !announced.is_empty() {
        let turn = cv_change::take_turn(tx).await?;
        cv_change::append(tx, &[], announced, turn).await?;
        approved_delete::record(tx, announced.len(), turn.at).await?;
    }
    Ok(deleted.len())
}

/// Announces each suppressed CV as deleted, after commits may have been lost: a consumer may have got it before, while it was not
/// suppressed. Those with a hashed id are unknown.
pub(crate) async fn announce(tx: &mut PgConnection) -> Result<(), StoreError> {
    let ids: Vec<Uuid> = query_scalar(
        "select cv_id
           from cvsync.suppressed_cv
          where cv_id is not null
            and (until is null or until > now())",
    )
    .fetch_all(&mut *tx)
    .await?;
    if !ids.is_empty() {
        let turn = cv_change::take_turn(tx).await?;
        cv_change::append(tx, &[], &ids, turn).await?;
        approved_delete::record(tx, ids.len(), turn.at).await?;
    }
    Ok(())
}

/// Gives suppressed CVs their state in `cv_seen`. A hashed id has none, since it would be readable there.
async fn mark(tx: &mut PgConnection, ids: &[Uuid]) -> Result<(), StoreError> {
    query(
        "delete from cvsync.cv_seen as seen
          where cv_id = any($1)
            and not exists (select from cvsync.suppressed_cv as plain where plain.cv_id = seen.cv_id)",
    )
    .bind(ids)
    .execute(&mut *tx)
    .await?;
    query(
        "insert into cvsync.cv_seen (cv_id, as_of, gone, withheld)
         select cv_id, 'epoch', false, 'suppressed'
           from cvsync.suppressed_cv
          where cv_id = any($1)
          order by cv_id
         on conflict (cv_id) do update
            set as_of    = excluded.as_of,
                gone     = excluded.gone,
                withheld = excluded.withheld",
    )
    .bind(ids)
    .execute(tx)
    .await?;
    Ok(())
}

/// Ends suppressions: the next [`lift`](super::ended_suppression::lift) has their CVs fetched. All of them, or none if one is not suppressed.
pub(crate) async fn end(tx: &mut PgConnection, ids: &BTreeSet<CvId>) -> Result<usize, Refused> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let suppressed = among(tx, &ids).await?;
    if let Some(other) = ids.iter().find(|id| !suppressed.contains(id)) {
        return Err(Refused::NotSuppressed(*other));
    }
    query(
        "update cvsync.suppressed_cv as suppressed
            set until   = clock_timestamp(),
                cv_id   = asked.cv_id,
                cv_hash = null
           from unnest($1::uuid[]) as asked (cv_id)
          cross join cvsync.suppression_key
          where suppressed.cv_id = asked.cv_id
             or suppressed.cv_hash = sha256(key || uuid_send(asked.cv_id))",
    )
    .bind(&ids)
    .execute(tx)
    .await
    .map_err(StoreError::from)?;
    Ok(ids.len())
}

/// How many CVs are suppressed now.
pub(crate) async fn count(tx: &mut PgConnection) -> Result<i64, StoreError> {
    Ok(query_scalar(
        "select count(*)
           from cvsync.suppressed_cv
          where until is null
             or until > now()",
    )
    .fetch_one(tx)
    .await?)
}

/// The suppressions that hold now, the oldest first.
pub(crate) async fn list(
    tx: &mut PgConnection,
    limit: i64,
) -> Result<Vec<Suppression>, StoreError> {
    Ok(query_as(
        "select cv_id, encode(cv_hash, 'hex') as hash, reason, since, until
           from cvsync.suppressed_cv
          where until is null
             or until > now()
          order by since, id
          limit $1",
    )
    .bind(limit)
    .fetch_all(tx)
    .await?)
}

/// The suppression of this CV that holds now.
pub(crate) async fn find(
    tx: &mut PgConnection,
    id: CvId,
) -> Result<Option<Suppression>, StoreError> {
    Ok(query_as(
        "select cv_id, encode(cv_hash, 'hex') as hash, reason, since, until
           from cvsync.suppressed_cv
          cross join cvsync.suppression_key
          where (cv_id = $1 or cv_hash = sha256(key || uuid_send($1)))
            and (until is null or until > now())",
    )
    .bind(id.0)
    .fetch_optional(tx)
    .await?)
}
