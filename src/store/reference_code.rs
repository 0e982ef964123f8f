//! The table `reference_code`: what people call the codes that documents hold.

use sqlx::PgConnection;
use uuid::Uuid;

use super::StoreError;
use super::sql::{query, query_as, query_scalar};
use crate::config::DIPLOMAS;

/// A code that was looked up in vain is asked for again after so long, and one with a label after so much longer.
const IN_VAIN: &str = "30 days";
const LABELLED: &str = "180 days";

/// Writes entries of a list, each code at most once. One that comes without a label keeps the one it had, and one that is not
/// among them stays as it is: VDAB may list it no longer, and old CVs hold it all the same.
pub(crate) async fn upsert(
    tx: &mut PgConnection,
    list: &str,
    entries: &[(&str, Option<&str>)],
) -> Result<(), StoreError> {
    let codes: Vec<&str> = entries.iter().map(|(code, _)| *code).collect();
    let labels: Vec<Option<&str>> = entries.iter().map(|(_, label)| *label).collect();
    query(
        "insert into cvsync.reference_code as known (list, code, label, synced_at)
         select $1, code, label, now()
           from unnest($2::text[], $3::text[]) as new (code, label)
         on conflict (list, code) do update
            set label     = coalesce(excluded.label, known.label),
                synced_at = excluded.synced_at",
    )
    .bind(list)
    .bind(codes)
    .bind(labels)
    .execute(tx)
    .await?;
    Ok(())
}

/// The codes of diplomas in the `limit` CVs behind `after`, and the last of these CVs; `None` at the end.
///
/// `naam` holds free text as well: what does not look like a code is left where it is.
pub(crate) async fn diplomas_in_cvs(
    tx: &mut PgConnection,
    after: Uuid,
    limit: i64,
) -> Result<Option<(Vec<String>, Uuid)>, StoreError> {
    let row: (Vec<String>, Option<Uuid>) = query_as(
        "with page as materialized (
            select cv_id, document -> 'opleidingen' as opleidingen
              from cvsync.cv
             where cv_id > $1
             order by cv_id
             limit $2
         ), elements as (
            select jsonb_array_elements(opleidingen) as opleiding
              from page
             where jsonb_typeof(opleidingen) = 'array'
         )
         select array(select distinct opleiding ->> 'naam'
                        from elements
                       where jsonb_typeof(opleiding -> 'naam') = 'string'
                         and opleiding ->> 'naam' ~ '^[A-Z0-9][A-Z0-9._-]{1,19}$'),
                (select cv_id from page order by cv_id desc limit 1)",
    )
    .bind(after)
    .bind(limit)
    .fetch_one(tx)
    .await?;
    Ok(row.1.map(|last| (row.0, last)))
}

/// The diplomas among these that must be looked up. New ones come first.
pub(crate) async fn to_look_up(
    tx: &mut PgConnection,
    codes: &[String],
) -> Result<Vec<String>, StoreError> {
    Ok(query_scalar(
        "select sought.code
           from unnest($1::text[]) as sought (code)
           left join cvsync.reference_code as known
                  on known.list = $2
                 and known.code = sought.code
          where known.code is null
             or known.synced_at < now() - case when known.label is null then $3 else $4 end::interval
          order by known.synced_at nulls first, sought.code",
    )
    .bind(codes)
    .bind(DIPLOMAS)
    .bind(IN_VAIN)
    .bind(LABELLED)
    .fetch_all(tx)
    .await?)
}
