//! Reads of the mirror: documents, changes by the time of their arrival, and searches.

use chrono::{DateTime, Utc};
use futures_util::stream::{BoxStream, StreamExt, TryStreamExt};
use sqlx::PgConnection;
use uuid::Uuid;

use super::StoreError;
use super::sql::{query_as, query_scalar};

/// A stored document as it is sent.
#[derive(sqlx::FromRow)]
pub struct StoredDocument {
    pub cv_id: Uuid,
    /// The text of the `jsonb`.
    pub json: String,
    /// Equal content, equal hash.
    pub content_hash: Vec<u8>,
}

/// Those among `ids` that are stored, one at a time: together they may be large.
pub fn documents<'c>(
    tx: &'c mut PgConnection,
    ids: &[Uuid],
) -> BoxStream<'c, Result<StoredDocument, StoreError>> {
    query_as(
        "select cv_id, document::text as json, content_hash
           from cvsync.cv
          where cv_id = any($1)",
    )
    .bind(ids.to_vec())
    .fetch(tx)
    .map_err(StoreError::from)
    .boxed()
}

/// One page of the changes in a window.
#[derive(Debug)]
pub struct Changes {
    /// In the whole window.
    pub total: i64,
    /// CV and status; none where it is gone. Oldest change first.
    pub page: Vec<(Uuid, Option<String>)>,
}

/// The CVs whose latest change came within `van <= t < tot`, from the `offset`-th on.
///
/// A stored CV has its time in `cv`, a removed one in the latest of its delete rows.
pub async fn changes(
    tx: &mut PgConnection,
    (van, tot): (DateTime<Utc>, DateTime<Utc>),
    offset: i64,
    limit: i64,
) -> Result<Changes, StoreError> {
    let total = query_scalar(
        "select (select count(*)
                   from cvsync.cv
                  where changed_at >= $1 and changed_at < $2)
              + (select count(*)
                   from (select cv_id
                           from cvsync.cv_change
                          where kind = 'delete' and at >= $1
                          group by cv_id
                         having max(at) < $2) as gone
                  where not exists (select from cvsync.cv where cv.cv_id = gone.cv_id))",
    )
    .bind(van)
    .bind(tot)
    .fetch_one(&mut *tx)
    .await?;
    if offset >= total {
        return Ok(Changes {
            total,
            page: Vec::new(),
        });
    }
    // The places first, and then what only the page needs.
    let page = query_as(
        "with page as (
             select changed_at as at, cv_id
               from cvsync.cv
              where changed_at >= $1 and changed_at < $2
             union all
             select at, cv_id
               from (select max(at) as at, cv_id
                       from cvsync.cv_change
                      where kind = 'delete' and at >= $1
                      group by cv_id
                     having max(at) < $2) as gone
              where not exists (select from cvsync.cv where cv.cv_id = gone.cv_id)
              order by at, cv_id
             offset $3
              limit $4
         )
         select page.cv_id, case when cv.cv_id is not null then coalesce(cv.status, 'OPEN') end
           from page
           left join cvsync.cv on cv.cv_id = page.cv_id
          order by page.at, page.cv_id",
    )
    .bind(van)
    .bind(tot)
    .bind(offset)
    .bind(limit)
    .fetch_all(tx)
    .await?;
    Ok(Changes { total, page })
}

/// The filters of a search, and the kind of term in `cv_search.codes` that each one looks for.
pub const FILTERS: [(&str, &str); 10] = [
    ("studies", "studie"),
    ("gewensteRegios", "regio"),
    ("rijbewijzen", "rijbewijs"),
    ("attesten", "attest"),
    ("talen", "taal"),
    ("technischeCompetenties", "competentie"),
    ("softSkills", "softskill"),
    ("arbeidsRegimes", "arbeidsregime"),
    ("arbeidsStelsels", "arbeidsstelsel"),
    ("beroepsprofielen", "beroep"),
];

/// A search looks at no more matches than these, so that it takes no longer however many there are.
pub const MOST_FOUND: i64 = 10_000;

/// And of those that hold the words it ranks so many.
pub const MOST_RANKED: i64 = 1_000;

/// The conditions of a search, and the page that is wanted.
#[derive(Debug)]
pub struct Search {
    /// For each of [`FILTERS`] the terms of which a CV has one.
    pub terms: [Option<Vec<String>>; FILTERS.len()],
    /// Words that it holds, as a search engine takes them: Dutch, in any form; `or` between alternatives, `-` before what it
    /// must not hold.
    pub words: Option<String>,
    /// The document's fields that are wanted.
    pub velden: Vec<String>,
    /// How many results are left out.
    pub offset: i64,
    /// How many follow at most.
    pub limit: i64,
}

/// The most bytes of results on a page. A document can have 2 MiB and more.
pub const LARGEST_PAGE: i64 = 16 << 20;

/// One page of what matches.
pub struct Found {
    /// How many match; [`MOST_FOUND`] where they are more.
    pub total: i64,
    /// The CVs of the page.
    pub ids: Vec<Uuid>,
    /// JSON objects of the fields that were asked for, and `cvId`.
    pub page: Vec<String>,
    /// Whether the page is not whole, because its results have more than [`LARGEST_PAGE`] bytes.
    pub too_large: bool,
}

const SEARCH: &str = "
     with found as materialized (
         select cv_id
           from cvsync.cv_search
          where ($1::text[]  is null or codes && $1)
            and ($2::text[]  is null or codes && $2)
            and ($3::text[]  is null or codes && $3)
            and ($4::text[]  is null or codes && $4)
            and ($5::text[]  is null or codes && $5)
            and ($6::text[]  is null or codes && $6)
            and ($7::text[]  is null or codes && $7)
            and ($8::text[]  is null or codes && $8)
            and ($9::text[]  is null or codes && $9)
            and ($10::text[] is null or codes && $10)
            and ($11::text   is null or tekst @@ cvsync.words($11))
          limit $15
     ), ranked as materialized (
         select cv_id, ts_rank(tekst, cvsync.words($11)) as rank
           from (select cv_id from found limit $16) as few
           join cvsync.cv_search using (cv_id)
          where $11 is not null
     ), page as materialized (
         select cv_id, rank
           from found
           left join ranked using (cv_id)
          order by rank desc nulls last, cv_id
         offset $13
          limit $14
     )
     select (select count(*) from found),
            coalesce(array_agg(cv_id order by rank desc nulls last, cv_id) filter (where bytes <= $17), '{}'),
            coalesce(array_agg(json order by rank desc nulls last, cv_id) filter (where bytes <= $17), '{}'),
            coalesce(max(bytes) > $17, false)
       from (select rank, cv_id, json,
                    sum(octet_length(json)) over (order by rank desc nulls last, cv_id) as bytes
               from (select rank, cv_id,
                            (coalesce(
                                (select jsonb_object_agg(key, value)
                                   from jsonb_each(document)
                                  where cardinality($12::text[]) > 0 and key = any($12)),
                                '{}') || jsonb_build_object('cvId', cv_id))::text as json
                       from page
                       join cvsync.cv using (cv_id)) as results) as sized";

/// The CVs that match: the best first if the search has words, else in the order of ids. Pages fit together while
/// no more than [`MOST_FOUND`] match, [`MOST_RANKED`] where words are looked for, and nothing changes.
///
/// A missing filter is `null`, which the planner folds away, since it plans with the values. The remaining parts are
/// conditions that the two indexes of `cv_search` answer without a look at any document.
pub async fn search(tx: &mut PgConnection, search: &Search) -> Result<Found, StoreError> {
    let mut search_for = query_as(SEARCH);
    for terms in &search.terms {
        search_for = search_for.bind(terms);
    }
    let (total, ids, page, too_large) = search_for
        .bind(&search.words)
        .bind(&search.velden)
        .bind(search.offset)
        .bind(search.limit)
        .bind(MOST_FOUND)
        .bind(MOST_RANKED)
        .bind(LARGEST_PAGE)
        .fetch_one(tx)
        .await?;
    Ok(Found {
        total,
        ids,
        page,
        too_large,
    })
}
