//! The table `held_delete`: what the brake holds back until a person decides.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use super::run_request::{self, What};
use super::sql::{query, query_as, query_scalar};
use super::{StoreError, approved_delete};

/// Ids that a statement reads or approves at most.
const READ: i64 = 10_000;

/// The held deletes that a person decides about.
#[derive(Clone, Debug)]
pub enum Which {
    /// All, those that were approved before included.
    All,
    /// All that nobody has approved yet, if there are exactly this many.
    Undecided(i64),
    /// The deletes of these CVs.
    These(Vec<Uuid>),
}

/// The reason why nothing was decided.
#[derive(Debug, thiserror::Error)]
pub enum NotDecided {
    /// The delete of this CV is not held.
    #[error("{0} is not held back")]
    NotHeld(Uuid),
    /// This many are held, and the person knows of another number.
    #[error("{0} are held back by now")]
    Others(usize),
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A delete that waits for a decision.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct HeldDelete {
    /// The CV, which is still there.
    pub cv_id: Uuid,
    /// When VDAB said that it is gone.
    pub as_of: DateTime<Utc>,
    pub held_at: DateTime<Utc>,
    /// Since when a person wants it: it waits for VDAB to confirm it.
    pub approved_at: Option<DateTime<Utc>>,
    /// When cvsync asks again by itself, where VDAB's answer was no proof.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// Whether VDAB has the CV, which does not match CVSYNC_KEEP; otherwise it is gone at VDAB.
    pub filtered: bool,
}

/// Holds deletes, each id at most once. Those that are `filtered` do not match CVSYNC_KEEP; the others are gone at VDAB.
pub async fn hold(
    tx: &mut PgConnection,
    ids: &[Uuid],
    as_of: &[DateTime<Utc>],
    filtered: &[bool],
) -> Result<(), StoreError> {
    query(
        "insert into cvsync.held_delete as held (cv_id, as_of, filtered)
         select * from unnest($1::uuid[], $2::timestamptz[], $3::boolean[])
         on conflict (cv_id) do update
            set as_of           = greatest(held.as_of, excluded.as_of),
                filtered        = case
                    when excluded.as_of >= held.as_of then excluded.filtered
                    else held.filtered
                end,
                next_attempt_at = null",
    )
    .bind(ids)
    .bind(as_of)
    .bind(filtered)
    .execute(tx)
    .await?;
    Ok(())
}

/// Releases the deletes that are held because their CVs did not match CVSYNC_KEEP before it changed; returns how many. CVs of which
/// VDAB has shown a newer document meanwhile are fetched.
pub(super) async fn release_filtered(tx: &mut PgConnection) -> Result<usize, StoreError> {
    let released: Vec<(Uuid, bool)> = query_as(
        "delete from cvsync.held_delete as held
          where filtered
         returning cv_id,
                   (select seen.as_of < held.as_of from cvsync.cv_seen as seen where seen.cv_id = held.cv_id) is true",
    )
    .fetch_all(&mut *tx)
    .await?;
    let outdated = released.iter().filter(|(_, is_outdated)| *is_outdated);
    let outdated: Vec<Uuid> = outdated.map(|(id, _)| *id).collect();
    for ids in outdated.chunks(usize::try_from(READ).unwrap_or(1)) {
        run_request::ask(tx, What::Resync, ids).await?;
    }
    Ok(released.len())
}

/// Holds deletes of which there is no proof, each id at most once: asked for again after five minutes at first, and then with
/// pauses that double, up to a day. One that waits for a person goes on doing so.
pub async fn hold_unproven(
    tx: &mut PgConnection,
    ids: &[Uuid],
    as_of: &[DateTime<Utc>],
) -> Result<(), StoreError> {
    query(
        "insert into cvsync.held_delete as held (cv_id, as_of, next_attempt_at)
         select cv_id, as_of, now() + interval '5 minutes'
           from unnest($1::uuid[], $2::timestamptz[]) as new (cv_id, as_of)
         on conflict (cv_id) do update
            set as_of           = greatest(held.as_of, excluded.as_of),
                filtered        = held.filtered and excluded.as_of < held.as_of,
                next_attempt_at = case
                    when held.next_attempt_at is not null
                    then now() + least(
                             interval '1 day',
                             greatest(interval '5 minutes', now() - held.held_at))
                end",
    )
    .bind(ids)
    .bind(as_of)
    .execute(tx)
    .await?;
    Ok(())
}

/// Up to `limit` ids without proof that are due, the longest due first. A parked CV has a back-off of its own.
pub async fn due(tx: &mut PgConnection, limit: i64) -> Result<Vec<Uuid>, StoreError> {
    Ok(query_scalar(
        "select cv_id
           from cvsync.held_delete as held
          where next_attempt_at <= now()
            and not exists (select from cvsync.parked_cv as parked where parked.cv_id = held.cv_id::text)
          order by next_attempt_at
          limit $1",
    )
    .bind(limit)
    .fetch_all(tx)
    .await?)
}

/// Takes deletes off that a person does not want; returns how many.
pub async fn discard(tx: &mut PgConnection, which: Which) -> Result<u64, NotDecided> {
    let mut discarded = 0;
    for ids in chosen(tx, which)
        .await?
        .chunks(usize::try_from(READ).unwrap_or(1))
    {
        let part = query("delete from cvsync.held_delete where cv_id = any($1)")
            .bind(ids)
            .execute(&mut *tx)
            .await
            .map_err(StoreError::from)?;
        discarded += part.rows_affected();
    }
    Ok(discarded)
}

/// How many are held that no person has approved, and since when the oldest is.
pub async fn count(tx: &mut PgConnection) -> Result<(i64, Option<DateTime<Utc>>), StoreError> {
    Ok(query_as(
        "select count(*), min(held_at)
           from cvsync.held_delete
          where approved_at is null",
    )
    .fetch_one(tx)
    .await?)
}

/// How many wait for a person because there are more than usual.
pub async fn count_braked(tx: &mut PgConnection) -> Result<i64, StoreError> {
    Ok(query_scalar(
        "select count(*)
           from cvsync.held_delete
          where approved_at is null
            and next_attempt_at is null",
    )
    .fetch_one(tx)
    .await?)
}

/// Lets deletes pass the brake once VDAB confirms them; returns how many. The next run for approved deletes asks VDAB.
pub async fn approve(tx: &mut PgConnection, which: Which) -> Result<u64, NotDecided> {
    let ids = chosen(tx, which).await?;
    approved_delete::begin_anew(tx).await?;
    let mut approved = 0;
    for ids in ids.chunks(usize::try_from(READ).unwrap_or(1)) {
        let part = query(
            "update cvsync.held_delete
                set approved_at = now()
              where cv_id = any($1)",
        )
        .bind(ids)
        .execute(&mut *tx)
        .await
        .map_err(StoreError::from)?;
        approved += part.rows_affected();
    }
    Ok(approved)
}

async fn chosen(tx: &mut PgConnection, which: Which) -> Result<Vec<Uuid>, NotDecided> {
    match which {
        Which::All => Ok(ids(tx, |_| true).await?),
        Which::Undecided(number) => {
            let held = ids(tx, |approved| !approved).await?;
            if i64::try_from(held.len()) != Ok(number) {
                return Err(NotDecided::Others(held.len()));
            }
            Ok(held)
        }
        Which::These(chosen) => {
            let held = ids(tx, |_| true).await?;
            match chosen.iter().find(|id| held.binary_search(id).is_err()) {
                Some(id) => Err(NotDecided::NotHeld(*id)),
                None => Ok(chosen),
            }
        }
    }
}

/// The ids of deletes that a person wants and VDAB has not confirmed yet, in order.
pub async fn approved(tx: &mut PgConnection) -> Result<Vec<Uuid>, StoreError> {
    ids(tx, |approved| approved).await
}

/// The ids of those that are `wanted`, approved or not, in order.
async fn ids(
    tx: &mut PgConnection,
    wanted: impl Fn(bool) -> bool,
) -> Result<Vec<Uuid>, StoreError> {
    let mut ids = Vec::new();
    let mut after = None;
    loop {
        let part: Vec<(Uuid, bool)> = query_as(
            "select cv_id, approved_at is not null
               from cvsync.held_delete
              where $1::uuid is null or cv_id > $1
              order by cv_id
              limit $2",
        )
        .bind(after)
        .bind(READ)
        .fetch_all(&mut *tx)
        .await?;
        let Some((last, _)) = part.last() else {
            return Ok(ids);
        };
        after = Some(*last);
        ids.extend(
            part.iter()
                .filter(|(_, approved)| wanted(*approved))
                .map(|(id, _)| *id),
        );
    }
}

/// Those among `ids` that a person wants.
pub async fn approved_among(tx: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<Uuid>, StoreError> {
    Ok(query_scalar(
        "select cv_id
           from cvsync.held_delete
          where cv_id = any($1)
            and approved_at is not null",
    )
    .bind(ids)
    .fetch_all(tx)
    .await?)
}

/// Those that wait, the longest first.
pub async fn list(tx: &mut PgConnection, limit: i64) -> Result<Vec<HeldDelete>, StoreError> {
    Ok(query_as(
        "select cv_id, as_of, held_at, approved_at, next_attempt_at, filtered
           from cvsync.held_delete
          order by held_at, cv_id
          limit $1",
    )
    .bind(limit)
    .fetch_all(tx)
    .await?)
}

/// The one of this CV.
pub async fn find(tx: &mut PgConnection, id: Uuid) -> Result<Option<HeldDelete>, StoreError> {
    Ok(query_as(
        "select cv_id, as_of, held_at, approved_at, next_attempt_at, filtered
           from cvsync.held_delete
          where cv_id = $1",
    )
    .bind(id)
    .fetch_optional(tx)
    .await?)
}

/// Those among `ids` that are gone at VDAB and wait for a person, because there are more than usual.
pub async fn among(tx: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<Uuid>, StoreError> {
    Ok(query_scalar(
        "select cv_id
               from cvsync.held_delete
              where cv_id = any($1)
                and approved_at is null
                and next_attempt_at is null
                and not filtered",
    )
    .bind(ids)
    .fetch_all(tx)
    .await?)
}
