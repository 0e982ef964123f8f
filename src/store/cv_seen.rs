//! The table `cv_seen`: the order of states. What we hold for a CV is the source's state at `as_of`.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::StoreError;
use super::sql::{query, query_as, query_scalar};
use crate::model::CvId;

/// Takes note that each id was seen, or seen gone, at its `as_of`; returns those for which nothing newer was known.
///
/// Each id at most once, and sorted, so that two writers lock rows in the same order. The rows stay locked until the
/// transaction ends: whoever was accepted may compare and write the document.
pub async fn confirm(
    tx: &mut PgConnection,
    ids: &[Uuid],
    as_of: &[DateTime<Utc>],
    gone: &[bool],
) -> Result<HashSet<Uuid>, StoreError> {
    let accepted: Vec<Uuid> = query_scalar(
        "insert into cvsync.cv_seen as seen (cv_id, as_of, gone)
         select *
           from unnest($1::uuid[], $2::timestamptz[], $3::boolean[])
         on conflict (cv_id) do update
            set as_of = excluded.as_of,
                gone  = excluded.gone
          where not cvsync.is_newer(seen.as_of, excluded.as_of)
         returning cv_id",
    )
    .bind(ids)
    .bind(as_of)
    .bind(gone)
    .fetch_all(tx)
    .await?;
    Ok(accepted.into_iter().collect())
}

/// Those among `ids` that are stored and of which nothing newer is known: being gone as of then, they would be deleted.
pub async fn would_delete(
    tx: &mut PgConnection,
    ids: &[Uuid],
    as_of: &[DateTime<Utc>],
) -> Result<(Vec<Uuid>, Vec<DateTime<Utc>>), StoreError> {
    let rows: Vec<(Uuid, DateTime<Utc>)> = query_as(
        "select cv_id, gone.as_of
           from unnest($1::uuid[], $2::timestamptz[]) as gone (cv_id, as_of)
           join cvsync.cv using (cv_id)
           join cvsync.cv_seen as seen using (cv_id)
          where not cvsync.is_newer(seen.as_of, gone.as_of)",
    )
    .bind(ids)
    .bind(as_of)
    .fetch_all(tx)
    .await?;
    Ok(rows.into_iter().unzip())
}

/// Up to `limit` ids whose documents were confirmed longest ago, and before `before`. Those that are parked or whose delete
/// is held back have a way of their own.
pub async fn longest_unseen(
    tx: &mut PgConnection,
    before: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<CvId>, StoreError> {
    let ids: Vec<Uuid> = query_scalar(
        "select cv_id
           from cvsync.cv_seen as seen
          where not gone
            and as_of < $1
            and not exists (select from cvsync.parked_cv as parked where parked.cv_id = seen.cv_id::text)
            and not exists (select from cvsync.held_delete as held where held.cv_id = seen.cv_id)
          order by as_of
          limit $2",
    )
    .bind(before)
    .bind(limit)
    .fetch_all(tx)
    .await?;
    Ok(ids.into_iter().map(CvId).collect())
}

/// How many tombstones there are, and for each of `quantiles` how many seconds ago documents were confirmed. Reads the whole
/// table.
pub async fn ages(
    tx: &mut PgConnection,
    quantiles: &[f64],
) -> Result<(i64, Option<Vec<f64>>), StoreError> {
    Ok(query_as(
        "select count(*) filter (where gone),
                percentile_disc($1::float8[]) within group (
                    order by extract(epoch from now() - as_of)::float8
                ) filter (where not gone and as_of > 'epoch')
           from cvsync.cv_seen",
    )
    .bind(quantiles)
    .fetch_one(tx)
    .await?)
}

/// Those among `ids` whose state is known as of `since` or later, and whether they are gone. A state as of later than `now` was
/// written under a wrong clock, and proves nothing.
pub async fn known(
    tx: &mut PgConnection,
    ids: &[Uuid],
    since: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<HashMap<Uuid, bool>, StoreError> {
    let rows: Vec<(Uuid, bool)> = query_as(
        "select cv_id, gone
           from cvsync.cv_seen
          where cv_id = any($1)
            and as_of between $2 and $3",
    )
    .bind(ids)
    .bind(since)
    .bind(now)
    .fetch_all(tx)
    .await?;
    Ok(rows.into_iter().collect())
}

/// Forgets tombstones from before `before`; returns how many.
pub async fn forget_tombstones(
    tx: &mut PgConnection,
    before: DateTime<Utc>,
) -> Result<u64, StoreError> {
    Ok(query(
        "delete from cvsync.cv_seen
          where gone
            and as_of < $1",
    )
    .bind(before)
    .execute(tx)
    .await?
    .rows_affected())
}

/// How many of `ids` nobody has asked for since `since`, though they are not parked.
pub async fn count_older(
    tx: &mut PgConnection,
    ids: &[Uuid],
    since: DateTime<Utc>,
) -> Result<i64, StoreError> {
    Ok(query_scalar(
        "select count(*)
           from unnest($1::uuid[]) as listed (cv_id)
           left join cvsync.cv_seen as seen using (cv_id)
          where coalesce(seen.as_of < $2, true)
            and not exists (select from cvsync.parked_cv as parked where parked.cv_id = listed.cv_id::text)",
    )
    .bind(ids)
    .bind(since)
    .fetch_one(tx)
    .await?)
}

/// Ids whose rows are looked at in one statement.
const SLICE: i64 = 10_000;

/// Rows whose `as_of` a wrong clock wrote.
#[derive(Clone, Copy, Debug)]
pub struct Distrusted {
    /// Later than this is the future.
    pub now: DateTime<Utc>,
    /// Written while clocks disagreed.
    pub doubt: Option<(DateTime<Utc>, DateTime<Utc>)>,
}

/// Takes the distrusted rows among the next [`SLICE`] ids behind `after` for never confirmed: from then on whatever lists them has
/// them fetched. Returns the last id that was looked at, `None` at the end, and how many rows there were.
pub async fn unconfirm(
    tx: &mut PgConnection,
    after: Uuid,
    distrusted: Distrusted,
) -> Result<(Option<Uuid>, i64), StoreError> {
    let (van, tot) = distrusted.doubt.unzip();
    Ok(query_as(
        "with slice as (
             select cv_id, as_of
               from cvsync.cv_seen
              where cv_id > $1
              order by cv_id
              limit $2
         ), healed as (
             update cvsync.cv_seen as seen
                set as_of = 'epoch'
               from slice
              where seen.cv_id = slice.cv_id
                and (slice.as_of > $3 or slice.as_of between $4 and $5)
             returning seen.cv_id
         )
         select (select cv_id from slice order by cv_id desc limit 1),
                (select count(*) from healed)",
    )
    .bind(after)
    .bind(SLICE)
    .bind(distrusted.now)
    .bind(van)
    .bind(tot)
    .fetch_one(tx)
    .await?)
}
