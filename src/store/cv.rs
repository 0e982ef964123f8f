//! The table `cv`: documents, written only where their content is new.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::StoreError;
use super::sql::{query, query_as, query_scalar};
use crate::model::{CvId, Document};

/// More are estimated.
const COUNTED: i64 = 20_000;

/// The content hashes of those among `ids` that are stored.
pub async fn hashes(
    tx: &mut PgConnection,
    ids: &[Uuid],
) -> Result<HashMap<Uuid, Vec<u8>>, StoreError> {
    let rows: Vec<(Uuid, Vec<u8>)> = query_as(
        "select cv_id, content_hash
           from cvsync.cv
          where cv_id = any($1)",
    )
    .bind(ids)
    .fetch_all(tx)
    .await?;
    Ok(rows.into_iter().collect())
}

/// Writes documents, each id at most once, as changed at `at`. Callers have compared hashes: everything given is written.
pub async fn upsert(
    tx: &mut PgConnection,
    documents: &[(CvId, &Document)],
    at: DateTime<Utc>,
) -> Result<(), StoreError> {
    let column = documents.iter();
    let ids: Vec<Uuid> = column.clone().map(|(id, _)| id.0).collect();
    let statuses: Vec<Option<&str>> = column.clone().map(|(_, cv)| cv.status()).collect();
    let dates: Vec<Option<NaiveDate>> = column
        .clone()
        .map(|(_, cv)| cv.wijzigings_datum())
        .collect();
    let texts: Vec<&str> = column.clone().map(|(_, cv)| cv.json()).collect();
    let hashes: Vec<&[u8]> = column.map(|(_, cv)| cv.hash().as_slice()).collect();
    query(
        "insert into cvsync.cv as stored
                (cv_id, status, wijzigings_datum, document, content_hash, first_seen_at, changed_at)
         select cv_id, status, wijzigings_datum, document::jsonb, content_hash, $6, $6
           from unnest($1::uuid[], $2::text[], $3::date[], $4::text[], $5::bytea[])
                as new (cv_id, status, wijzigings_datum, document, content_hash)
         on conflict (cv_id) do update
            set status           = excluded.status,
                wijzigings_datum = excluded.wijzigings_datum,
                document         = excluded.document,
                content_hash     = excluded.content_hash,
                changed_at       = excluded.changed_at",
    )
    .bind(ids)
    .bind(statuses)
    .bind(dates)
    .bind(texts)
    .bind(hashes)
    .bind(at)
    .execute(tx)
    .await?;
    Ok(())
}

/// Writes documents in place of stored ones, with their hashes, as changed at `at`.
pub(crate) async fn rewrite(
    tx: &mut PgConnection,
    documents: &[(Uuid, String, [u8; 32])],
    at: DateTime<Utc>,
) -> Result<(), StoreError> {
    let column = documents.iter();
    let ids: Vec<Uuid> = column.clone().map(|(id, ..)| *id).collect();
    let texts: Vec<&str> = column.clone().map(|(_, text, _)| text.as_str()).collect();
    let hashes: Vec<&[u8]> = column.map(|(.., hash)| hash.as_slice()).collect();
    query(
        "update cvsync.cv as stored
            set document     = new.document::jsonb,
                content_hash = new.content_hash,
                changed_at   = $4
           from unnest($1::uuid[], $2::text[], $3::bytea[]) as new (cv_id, document, content_hash)
          where stored.cv_id = new.cv_id",
    )
    .bind(ids)
    .bind(texts)
    .bind(hashes)
    .bind(at)
    .execute(tx)
    .await?;
    Ok(())
}

/// Deletes documents; returns the ids that had one. In the order of ids, as whoever makes CVs searchable locks them.
pub async fn delete(tx: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<Uuid>, StoreError> {
    Ok(query_scalar(
        "with doomed as (
             select cv_id
               from cvsync.cv
              where cv_id = any($1)
              order by cv_id
                for update
         )
         delete from cvsync.cv
          using doomed
          where cv.cv_id = doomed.cv_id
         returning cv.cv_id",
    )
    .bind(ids)
    .fetch_all(tx)
    .await?)
}

/// Up to `limit` stored CVs that VDAB should answer for, picked all over the table: neighbours may all be gone. VDAB calls those
/// gone whose delete is held. Each pick looks at 100 CVs at most, however many deletes are held.
pub async fn any(tx: &mut PgConnection, limit: usize) -> Result<Vec<CvId>, StoreError> {
    let starts: Vec<Uuid> = std::iter::repeat_with(Uuid::new_v4).take(limit).collect();
    let ids: Vec<Uuid> = query_scalar(
        "with start as (
             select id, 0 as rank from unnest($1::uuid[]) as id
             union all
             select '00000000-0000-0000-0000-000000000000', 1
         ), picked as (
             select live.cv_id, start.rank
               from start
              cross join lateral (
                        select near.cv_id
                          from (select cv_id from cvsync.cv where cv_id >= start.id order by cv_id limit 100) as near
                          left join lateral (select true as held
                                               from cvsync.held_delete
                                              where cv_id = near.cv_id
                                              limit 1) as waits on true
                         where waits.held is null
                         order by near.cv_id
                         limit case start.rank when 0 then 1 else cardinality($1) end) as live
         )
         select cv_id
           from picked
          group by cv_id
          order by min(rank)
          limit cardinality($1)",
    )
    .bind(starts)
    .fetch_all(tx)
    .await?;
    Ok(ids.into_iter().map(CvId).collect())
}

/// How many CVs are stored: counted while they are few, else as the planner estimates it.
pub async fn count(tx: &mut PgConnection) -> Result<i64, StoreError> {
    Ok(query_scalar(
        "select case when few.count <= $1 then few.count else greatest(reltuples::bigint, few.count) end
           from pg_class
          cross join (select count(*) from (select from cvsync.cv limit $1 + 1) as part) as few
          where oid = 'cvsync.cv'::regclass",
    )
    .bind(COUNTED)
    .fetch_one(tx)
    .await?)
}

/// Up to `limit` CVs at random: all of a small table, of a large one some of those in a few blocks.
pub async fn sample(tx: &mut PgConnection, limit: i64) -> Result<Vec<CvId>, StoreError> {
    let percent: f32 = query_scalar(
        "select least(100, greatest(
                    400.0 * $1 / greatest(
                        case when reltuples > 0 then reltuples else pg_relation_size(oid) / 8192 end,
                        1),
                    -- Some twenty blocks: of a few, it may well be that none is drawn.
                    2000.0 / greatest(pg_relation_size(oid) / 8192, 1)))::float4
           from pg_class
          where oid = 'cvsync.cv'::regclass",
    )
    .bind(limit)
    .fetch_one(&mut *tx)
    .await?;
    let ids: Vec<Uuid> = query_scalar(
        "select cv_id from cvsync.cv tablesample system ($2) order by random() limit $1",
    )
    .bind(limit)
    .bind(percent)
    .fetch_all(tx)
    .await?;
    Ok(ids.into_iter().map(CvId).collect())
}
