//! The tables `reconcile_listed` and `reconcile_run`: the whole source beside what we hold, and what was found.
//!
//! Answers come in pages, in the order of the ids, so that memory stays flat however many CVs there are.

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::StoreError;
use super::sql::{query, query_as, query_scalar};
use crate::model::{CvId, Difference, Tally};

/// So old is what a comparison left that did not come to its end, in milliseconds.
const FORGOTTEN_AFTER: i64 = 2 * 86_400_000;

/// Forgets what this comparison listed, and what much earlier ones left.
pub async fn forget(tx: &mut PgConnection, run: i64) -> Result<(), StoreError> {
    query("delete from cvsync.reconcile_listed where run = $1 or run < $2")
        .bind(run)
        .bind(run - FORGOTTEN_AFTER)
        .execute(tx)
        .await?;
    Ok(())
}

/// Takes note of a page of a window that began at `van`; `pending` if the next sync is to bring what changed in it. An id that
/// comes again stands as it was listed last.
pub async fn note(
    tx: &mut PgConnection,
    run: i64,
    van: DateTime<Utc>,
    pending: bool,
    ids: &[Uuid],
    gone: &[bool],
) -> Result<(), StoreError> {
    query(
        "insert into cvsync.reconcile_listed (run, cv_id, gone, van, pending)
         select $3, cv_id, bool_and(gone), $4, $5
           from unnest($1::uuid[], $2::boolean[]) as listed (cv_id, gone)
          group by cv_id
         on conflict (run, cv_id) do update
            set gone = excluded.gone,
                van = excluded.van,
                pending = excluded.pending",
    )
    .bind(ids)
    .bind(gone)
    .bind(run)
    .bind(van)
    .bind(pending)
    .execute(tx)
    .await?;
    Ok(())
}

/// The next ids behind `after` that the source lists as there and that we do not hold, or hold as they were before the window that
/// lists them. Those that are parked are known to be missing.
pub async fn missing(
    tx: &mut PgConnection,
    run: i64,
    after: Uuid,
    pending: bool,
    limit: i64,
) -> Result<Vec<CvId>, StoreError> {
    let ids: Vec<Uuid> = query_scalar(
        "select listed.cv_id
           from cvsync.reconcile_listed as listed
           left join cvsync.cv_seen as seen
             on seen.cv_id = listed.cv_id
          where listed.run = $3
            and listed.cv_id > $1
            and not listed.gone
            and listed.pending = $4
            and (seen.as_of < listed.van
                 or not exists (select from cvsync.cv where cv.cv_id = listed.cv_id))
            and not exists (select from cvsync.parked_cv where parked_cv.cv_id = listed.cv_id::text)
          order by listed.cv_id
          limit $2",
    )
    .bind(after)
    .bind(limit)
    .bind(run)
    .bind(pending)
    .fetch_all(tx)
    .await?;
    Ok(ids.into_iter().map(CvId).collect())
}

/// The next ids behind `after` that we hold and that the source lists as gone, or not at all though it lists changes since
/// `horizon`: what was last changed before that proves nothing by its absence.
pub async fn extra(
    tx: &mut PgConnection,
    run: i64,
    after: Uuid,
    horizon: NaiveDate,
    pending: bool,
    limit: i64,
) -> Result<Vec<CvId>, StoreError> {
    let ids: Vec<Uuid> = query_scalar(
        "select cv.cv_id
           from cvsync.cv
           left join cvsync.reconcile_listed as listed
             on listed.run = $4
            and listed.cv_id = cv.cv_id
          where cv.cv_id > $1
            and ((listed.gone and listed.pending = $5)
                 or (listed.cv_id is null
                     and not $5
                     and (wijzigings_datum is null or wijzigings_datum > $2)))
          order by cv.cv_id
          limit $3",
    )
    .bind(after)
    .bind(horizon)
    .bind(limit)
    .bind(run)
    .bind(pending)
    .fetch_all(tx)
    .await?;
    Ok(ids.into_iter().map(CvId).collect())
}

/// How many the source lists.
pub async fn listed(tx: &mut PgConnection, run: i64) -> Result<i64, StoreError> {
    Ok(
        query_scalar("select count(*) from cvsync.reconcile_listed where run = $1")
            .bind(run)
            .fetch_one(tx)
            .await?,
    )
}

/// Writes down what was found.
pub async fn conclude(
    tx: &mut PgConnection,
    started_at: DateTime<Utc>,
    difference: Difference,
    tally: &Tally,
) -> Result<(), StoreError> {
    let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    query(
        "insert into cvsync.reconcile_run (started_at, listed, missing, extra, stale, inserted, deleted)
         values ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(started_at)
    .bind(count(difference.listed))
    .bind(count(difference.missing))
    .bind(count(difference.extra))
    .bind(count(difference.stale))
    .bind(count(tally.inserted))
    .bind(count(tally.deleted))
    .execute(tx)
    .await?;
    Ok(())
}

/// A comparison that came to its end.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct ReconcileRun {
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// And ended.
    pub finished_at: DateTime<Utc>,
    /// CVs that the source listed.
    pub listed: i64,
    /// Of which were not here.
    pub missing: i64,
    /// Were here, and are not at the source.
    pub extra: i64,
    /// Were here as they had been before their latest change.
    pub stale: i64,
}

/// The latest comparison.
pub async fn latest(tx: &mut PgConnection) -> Result<Option<ReconcileRun>, StoreError> {
    Ok(query_as(
        "select started_at, finished_at, listed, missing, extra, stale
           from cvsync.reconcile_run
          order by id desc
          limit 1",
    )
    .fetch_optional(tx)
    .await?)
}
