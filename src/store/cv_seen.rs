//! The table `cv_seen`: the order of states. What we hold for a CV is the source's state at `as_of`.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::StoreError;
use super::sql::{query_as, query_scalar};
use crate::model::CvId;

/// Ids that a statement reads at most.
pub const READ: i64 = 10_000;

/// Blocks that a statement reads at most, of some 150 ids each.
const BLOCKS: i64 = 1_000;

/// The state of a CV at VDAB and here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    Stored,
    Gone,
    /// VDAB has it, but it does not match CVSYNC_KEEP.
    Filtered,
}

/// Takes note that each id was in its state at its `as_of`; returns those for which nothing newer was known.
///
/// Each id at most once, and sorted, so that two writers lock rows in the same order. The rows stay locked until the
/// transaction ends: whoever was accepted may compare and write the document.
pub async fn confirm(
    tx: &mut PgConnection,
    ids: &[Uuid],
    as_of: &[DateTime<Utc>],
    states: &[State],
) -> Result<HashSet<Uuid>, StoreError> {
    let gone: Vec<bool> = states.iter().map(|it| *it == State::Gone).collect();
    let withheld = |it: &State| (*it == State::Filtered).then_some("filtered");
    let withheld: Vec<Option<&str>> = states.iter().map(withheld).collect();
    let accepted: Vec<Uuid> = query_scalar(
        "insert into cvsync.cv_seen as seen (cv_id, as_of, gone, withheld)
         select *
           from unnest($1::uuid[], $2::timestamptz[], $3::boolean[], $4::text[])
         on conflict (cv_id) do update
            set as_of    = excluded.as_of,
                gone     = excluded.gone,
                withheld = excluded.withheld
          where not cvsync.is_newer(seen.as_of, excluded.as_of)
         returning cv_id",
    )
    .bind(ids)
    .bind(as_of)
    .bind(gone)
    .bind(withheld)
    .fetch_all(tx)
    .await?;
    Ok(accepted.into_iter().collect())
}

/// Those among `ids` that were last confirmed at `since` or before, or never.
pub(crate) async fn not_confirmed_since(
    tx: &mut PgConnection,
    ids: &[Uuid],
    since: DateTime<Utc>,
) -> Result<HashSet<Uuid>, StoreError> {
    let ids: Vec<Uuid> = query_scalar(
        "select cv_id
           from unnest($1::uuid[]) as asked (cv_id)
           left join cvsync.cv_seen using (cv_id)
          where as_of is null
             or as_of <= $2",
    )
    .bind(ids)
    .bind(since)
    .fetch_all(tx)
    .await?;
    Ok(ids.into_iter().collect())
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

/// Among the next [`READ`] ids behind `after`, up to `limit` whose documents were confirmed before `before`, and the id behind which
/// to go on; `None` at the end. Those that are parked or whose delete is held back have a way of their own, and suppressed ones are
/// not fetched.
///
/// In the order of ids: an index on `as_of` would make each confirmation write to it.
pub async fn unconfirmed(
    tx: &mut PgConnection,
    after: Option<Uuid>,
    before: DateTime<Utc>,
    limit: i64,
) -> Result<(Vec<CvId>, Option<Uuid>), StoreError> {
    let (ids, last): (Vec<Uuid>, Option<Uuid>) = query_as(
        "with part as materialized (
             select cv_id, as_of, gone, withheld
               from cvsync.cv_seen
              where $1::uuid is null or cv_id > $1
              order by cv_id
              limit $4
         )
         select array(select part.cv_id
                        from part
                        left join lateral (select true as held from cvsync.parked_cv where cv_id = part.cv_id::text limit 1)
                                  as parked on true
                        left join lateral (select true as held from cvsync.held_delete where cv_id = part.cv_id limit 1)
                                  as waits on true
                       where not gone
                         and withheld is distinct from 'suppressed'
                         and as_of < $2
                         and parked.held is null
                         and waits.held is null
                       order by part.cv_id
                       limit $3),
                (select cv_id from part order by cv_id desc limit 1)",
    )
    .bind(after)
    .bind(before)
    .bind(limit)
    .bind(READ)
    .fetch_one(tx)
    .await?;
    let is_cut = i64::try_from(ids.len()).is_ok_and(|len| len == limit);
    let last = ids.last().copied().filter(|_| is_cut).or(last);
    Ok((ids.into_iter().map(CvId).collect(), last))
}

/// Among the next [`READ`] ids after `after`, up to `limit` that do not match CVSYNC_KEEP; the id after which to go on, `None` at the
/// end, and how many ids were read.
pub(crate) async fn filtered(
    tx: &mut PgConnection,
    after: Option<Uuid>,
    limit: i64,
) -> Result<(Vec<Uuid>, Option<Uuid>, i64), StoreError> {
    let (ids, last, read): (Vec<Uuid>, Option<Uuid>, i64) = query_as(
        "with part as materialized (
             select cv_id, withheld
               from cvsync.cv_seen
              where $1::uuid is null or cv_id > $1
              order by cv_id
              limit $3
         ), chosen as materialized (
             select cv_id from part where withheld = 'filtered' order by cv_id limit $2
         ), until as (
             -- The last chosen id if there may be more in this part.
             select case
                        when (select count(*) from chosen) = $2
                        then (select cv_id from chosen order by cv_id desc limit 1)
                        else (select cv_id from part order by cv_id desc limit 1)
                    end as last
         )
         select array(select cv_id from chosen order by cv_id),
                last,
                (select count(*) from part where cv_id <= last)
           from until",
    )
    .bind(after)
    .bind(limit)
    .bind(READ)
    .fetch_one(tx)
    .await?;
    Ok((ids, last, read))
}

/// The number of rows, as the planner estimates it.
pub(crate) async fn estimate(tx: &mut PgConnection) -> Result<i64, StoreError> {
    Ok(query_scalar(
        "select greatest(reltuples::bigint, 0) from pg_class where oid = 'cvsync.cv_seen'::regclass",
    )
    .fetch_one(tx)
    .await?)
}

/// How many tombstones there are, how many CVs do not match CVSYNC_KEEP, and for each of `quantiles` how many seconds ago documents were confirmed. Of a large table, as far
/// as some of its blocks tell.
pub async fn ages(
    tx: &mut PgConnection,
    quantiles: &[f64],
) -> Result<(i64, i64, Option<Vec<f64>>), StoreError> {
    let percent: f32 = query_scalar(
        "select least(100, 100.0 * $1 / greatest(pg_relation_size('cvsync.cv_seen') / 8192, 1))::float4",
    )
    .bind(BLOCKS)
    .fetch_one(&mut *tx)
    .await?;
    Ok(query_as(
        "select (count(*) filter (where gone) * 100 / $2)::bigint,
                (count(*) filter (where withheld = 'filtered') * 100 / $2)::bigint,
                percentile_disc($1::float8[]) within group (
                    order by extract(epoch from now() - as_of)::float8
                ) filter (where not gone and withheld is null and as_of > 'epoch')
           from cvsync.cv_seen tablesample system ($2)",
    )
    .bind(quantiles)
    .bind(percent)
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

/// Among the next [`READ`] ids behind `after`, forgets tombstones from before `before`; returns the id behind which to go on, `None` at
/// the end.
pub async fn forget_tombstones(
    tx: &mut PgConnection,
    after: Option<Uuid>,
    before: DateTime<Utc>,
) -> Result<Option<Uuid>, StoreError> {
    Ok(query_scalar(
        "with part as materialized (
             select cv_id, as_of, gone
               from cvsync.cv_seen
              where $1::uuid is null or cv_id > $1
              order by cv_id
              limit $3
         ), forgotten as (
             delete from cvsync.cv_seen as seen
              using part
              where part.gone
                and part.as_of < $2
                and seen.cv_id = part.cv_id
                and seen.gone
                and seen.as_of < $2
         )
         select cv_id from part order by cv_id desc limit 1",
    )
    .bind(after)
    .bind(before)
    .bind(READ)
    .fetch_optional(tx)
    .await?)
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
    /// The span of `as_of` that was written while clocks disagreed.
    pub doubt: Option<(DateTime<Utc>, DateTime<Utc>)>,
}

/// Takes the distrusted rows among the next 10,000 ids behind `after` for never confirmed: from then on whatever lists them has
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
