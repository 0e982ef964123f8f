//! The tables `reconcile_listed` and `reconcile_under_way`: the whole source beside the stored CVs.
//!
//! Each statement reads a bounded number of ids, in their order, however many CVs there are and however few of them differ.

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::StoreError;
use super::sql::{query, query_as, query_scalar};
use crate::model::CvId;

/// Ids that a statement removes.
const REMOVED: i64 = 2_000;

/// A comparison that says nothing for longer is over: its process died. One that wakes later finds that it lost its listing.
const SILENT: &str = "1 minute";

/// After this time, rows of a comparison that an earlier version began are removed: it did not record that it was under way.
const FORGOTTEN_AFTER: &str = "2 days";

/// Begins a comparison.
pub async fn begin(tx: &mut PgConnection, run: i64) -> Result<(), StoreError> {
    query(
        "insert into cvsync.reconcile_under_way (run)
         values ($1)
         on conflict (run) do nothing",
    )
    .bind(run)
    .execute(tx)
    .await?;
    Ok(())
}

/// Says that a comparison is under way; false if its listing is gone or going, so that it proves nothing any more.
pub async fn keep(tx: &mut PgConnection, run: i64) -> Result<bool, StoreError> {
    let kept = query(
        "update cvsync.reconcile_under_way
            set seen_at = clock_timestamp()
          where run = $1
            and seen_at > '-infinity'",
    )
    .bind(run)
    .execute(tx)
    .await?;
    Ok(kept.rows_affected() == 1)
}

/// A comparison is over, whatever its end: its listing can go.
pub async fn end(tx: &mut PgConnection, run: i64) -> Result<(), StoreError> {
    query("update cvsync.reconcile_under_way set seen_at = '-infinity' where run = $1")
        .bind(run)
        .execute(tx)
        .await?;
    Ok(())
}

/// The first comparison behind `after` that is over and has left a listing. From now on it cannot go on.
pub async fn over(tx: &mut PgConnection, after: i64) -> Result<Option<i64>, StoreError> {
    query(
        "update cvsync.reconcile_under_way
            set seen_at = '-infinity'
          where seen_at < now() - $1::interval",
    )
    .bind(SILENT)
    .execute(&mut *tx)
    .await?;
    query(
        "delete from cvsync.reconcile_under_way as under_way
          where seen_at = '-infinity'
            and not exists (select from cvsync.reconcile_listed as listed where listed.run = under_way.run)",
    )
    .execute(&mut *tx)
    .await?;
    // From one comparison to the next, since there may be millions of ids between them.
    Ok(query_scalar(
        "with recursive run as (
             (select run from cvsync.reconcile_listed where run > $1 order by run limit 1)
             union all
             select (select listed.run
                       from cvsync.reconcile_listed as listed
                      where listed.run > run.run
                      order by listed.run
                      limit 1)
               from run
              where run.run is not null
         )
         select run.run
           from run
           left join cvsync.reconcile_under_way as under_way using (run)
          where run.run is not null
            and coalesce(
                    under_way.seen_at = '-infinity',
                    to_timestamp(run.run / 1000.0) < now() - $2::interval)
          limit 1",
    )
    .bind(after)
    .bind(FORGOTTEN_AFTER)
    .fetch_optional(tx)
    .await?)
}

/// Removes a part of a listing, the ids behind `after`; returns the last of them, `None` if there were none.
pub async fn remove(
    tx: &mut PgConnection,
    run: i64,
    after: Option<Uuid>,
) -> Result<Option<Uuid>, StoreError> {
    let last: Option<Uuid> = query_scalar(
        "select cv_id
           from (select cv_id
                   from cvsync.reconcile_listed
                  where run = $1
                    and ($2::uuid is null or cv_id > $2)
                  order by cv_id
                  limit $3) as part
          order by cv_id desc
          limit 1",
    )
    .bind(run)
    .bind(after)
    .bind(REMOVED)
    .fetch_optional(&mut *tx)
    .await?;
    if last.is_some() {
        query(
            "delete from cvsync.reconcile_listed
              where run = $1
                and ($2::uuid is null or cv_id > $2)
                and cv_id <= $3",
        )
        .bind(run)
        .bind(after)
        .bind(last)
        .execute(tx)
        .await?;
    }
    Ok(last)
}

/// A page of a window, as the source lists it.
#[derive(Clone, Debug)]
pub struct Noted {
    pub ids: Vec<Uuid>,
    /// Whether it says of each that it is gone.
    pub gone: Vec<bool>,
    /// Whether it says of each that it is there; without a status it says neither.
    pub live: Vec<bool>,
    pub van: DateTime<Utc>,
    /// A CV that is known as of this time or later reflects the whole window.
    pub settled: DateTime<Utc>,
    /// Whether the next sync is to bring what changed in it.
    pub pending: bool,
}

/// Takes note of a page. An id that comes again stands as it was listed last.
pub async fn note(tx: &mut PgConnection, run: i64, noted: &Noted) -> Result<(), StoreError> {
    query(
        "insert into cvsync.reconcile_listed (run, cv_id, gone, live, van, settled, pending)
         select $4, cv_id, bool_and(gone), bool_or(live), $5, $6, $7
           from unnest($1::uuid[], $2::boolean[], $3::boolean[]) as listed (cv_id, gone, live)
          group by cv_id
         on conflict (run, cv_id) do update
            set gone = excluded.gone,
                live = excluded.live,
                van = excluded.van,
                settled = excluded.settled,
                pending = excluded.pending",
    )
    .bind(&noted.ids)
    .bind(&noted.gone)
    .bind(&noted.live)
    .bind(run)
    .bind(noted.van)
    .bind(noted.settled)
    .bind(noted.pending)
    .execute(tx)
    .await?;
    Ok(())
}

/// A part of one side, read in the order of ids.
#[derive(Debug)]
pub struct Part {
    /// The ids that differ on the other side.
    pub differ: Vec<CvId>,
    /// The last id that was read; `None` at the end.
    pub last: Option<Uuid>,
    pub read: u64,
}

type Row = (Vec<Uuid>, Option<Uuid>, i64);

impl From<Row> for Part {
    fn from((differ, last, read): Row) -> Self {
        Self {
            differ: differ.into_iter().map(CvId).collect(),
            last,
            read: u64::try_from(read).unwrap_or(0),
        }
    }
}

/// The next `limit` ids behind `after` that the source lists. Each look-up has a `limit`, so that it uses an index.
///
/// A CV differs if it is live and is not stored, or is stored as it was before the window that lists it. It also differs if it is
/// gone, and is stored or remembered as one that does not match CVSYNC_KEEP. Parked CVs are known to be missing. A tombstone that
/// reflects the window is believed unless the source lists the CV as live. So is the state of a CV that does not match CVSYNC_KEEP.
pub async fn listed(
    tx: &mut PgConnection,
    run: i64,
    after: Option<Uuid>,
    pending: bool,
    limit: i64,
) -> Result<Part, StoreError> {
    let row: Row = query_as(
        "with part as materialized (
             select *
               from cvsync.reconcile_listed
              where run = $1
                and ($2::uuid is null or cv_id > $2)
              order by cv_id
              limit $4
         )
         select array(select listed.cv_id
                        from part as listed
                        left join lateral (select as_of, gone, withheld from cvsync.cv_seen where cv_id = listed.cv_id limit 1)
                                  as seen on true
                        left join lateral (select true as held from cvsync.cv where cv_id = listed.cv_id limit 1)
                                  as cv on true
                        left join lateral (select true as held from cvsync.parked_cv where cv_id = listed.cv_id::text limit 1)
                                  as parked on true
                       where listed.pending = $3
                         and case when listed.gone then coalesce(cv.held, seen.withheld = 'filtered')
                             else parked.held is null
                                  and (seen.as_of < listed.van
                                       or (cv.held is null
                                           and seen.withheld is null
                                           and (listed.live
                                                or seen.as_of is null
                                                or not seen.gone
                                                or listed.settled is null
                                                or seen.as_of < listed.settled)))
                             end
                       order by listed.cv_id),
                (select cv_id from part order by cv_id desc limit 1),
                (select count(*) from part)",
    )
    .bind(run)
    .bind(after)
    .bind(pending)
    .bind(limit)
    .fetch_one(tx)
    .await?;
    Ok(row.into())
}

/// The next `limit` ids behind `after` that we hold. One differs that the source does not list, though it lists changes since
/// `horizon`: what was last changed before that proves nothing by its absence.
pub async fn unlisted(
    tx: &mut PgConnection,
    run: i64,
    after: Option<Uuid>,
    horizon: NaiveDate,
    limit: i64,
) -> Result<Part, StoreError> {
    let row: Row = query_as(
        "with part as materialized (
             select cv_id, wijzigings_datum
               from cvsync.cv
              where $2::uuid is null or cv_id > $2
              order by cv_id
              limit $4
         )
         select array(select part.cv_id
                        from part
                        left join lateral (select true as held
                                             from cvsync.reconcile_listed
                                            where run = $1 and cv_id = part.cv_id
                                            limit 1) as listed on true
                       where listed.held is null
                         and (wijzigings_datum is null or wijzigings_datum > $3)
                       order by part.cv_id),
                (select cv_id from part order by cv_id desc limit 1),
                (select count(*) from part)",
    )
    .bind(run)
    .bind(after)
    .bind(horizon)
    .bind(limit)
    .fetch_one(tx)
    .await?;
    Ok(row.into())
}

/// The next `limit` ids behind `after` whose state is known. One differs that does not match CVSYNC_KEEP, was not confirmed since
/// `began`, and is not listed: its CV may be gone.
pub async fn filtered(
    tx: &mut PgConnection,
    run: i64,
    after: Option<Uuid>,
    began: DateTime<Utc>,
    limit: i64,
) -> Result<Part, StoreError> {
    let row: Row = query_as(
        "with part as materialized (
             select cv_id, as_of, withheld
               from cvsync.cv_seen
              where $2::uuid is null or cv_id > $2
              order by cv_id
              limit $4
         )
         select array(select part.cv_id
                        from part
                        left join lateral (select true as held
                                             from cvsync.reconcile_listed
                                            where run = $1 and cv_id = part.cv_id
                                            limit 1) as listed on true
                       where withheld = 'filtered'
                         and as_of < $3
                         and listed.held is null
                       order by part.cv_id),
                (select cv_id from part order by cv_id desc limit 1),
                (select count(*) from part)",
    )
    .bind(run)
    .bind(after)
    .bind(began)
    .bind(limit)
    .fetch_one(tx)
    .await?;
    Ok(row.into())
}
