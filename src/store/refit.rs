//! The table `refit`: how far the leader is with bringing stored documents into a new shape. Each statement reads a bounded number
//! of rows.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use super::apply::load;
use super::run_request::{self, Requested, What};
use super::sql::{query, query_as, query_scalar};
use super::suppressed_cv::HOLD_STILL;
use super::{StoreError, cv, cv_change, cv_seen, held_delete};
use crate::model::words::{count as count_of, number};
use crate::model::{Brake, RefitStage};

/// Documents that one transaction examines.
const DOCUMENTS: i64 = 200;

/// CVs that one run fetches.
const FETCHED: i64 = 500;

/// The work under way.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Refit {
    /// The word of a [`RefitStage`].
    pub stage: String,
    /// CVs that the stage has examined.
    pub examined: i64,
    /// CVs that the stage examines; an estimate for large tables.
    pub total: i64,
    #[serde(skip)]
    after: Option<Uuid>,
    /// Stored CVs that do not match the filter and are neither deleted nor held yet.
    #[serde(skip)]
    not_matching: i64,
    #[serde(skip)]
    request: Option<i64>,
}

/// `pruning: 400 of about 1,000 CVs`
impl fmt::Display for Refit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = self.stage.replace('_', " ");
        let examined = number(self.examined);
        write!(
            f,
            "{stage}: {examined} of about {}",
            count_of(self.total, "CV")
        )
    }
}

/// The result of a part of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    More,
    /// A run must end first.
    Waits,
    /// The run of this request failed, and is to be requested again.
    Failed(i64),
    /// The stage has ended.
    Last,
}

/// How stored documents are pruned.
pub(crate) struct Pruning<'a, F> {
    /// CVs without a term of each kind are deleted. Empty if all stay.
    pub terms: &'a [String],
    /// The text and the hash of a document without the excluded fields; `None` if it has none of them.
    pub strip: F,
    pub brake: Brake,
}

pub(crate) async fn current(tx: &mut PgConnection) -> Result<Option<Refit>, StoreError> {
    Ok(
        query_as("select stage, examined, total, after, not_matching, request from cvsync.refit")
            .fetch_optional(tx)
            .await?,
    )
}

/// Begins a stage.
pub(crate) async fn begin(tx: &mut PgConnection, stage: RefitStage) -> Result<(), StoreError> {
    let total = match stage {
        RefitStage::FetchingFiltered => cv_seen::estimate(tx).await?,
        RefitStage::Counting | RefitStage::Pruning | RefitStage::FetchingStored => {
            cv::count(tx).await?
        }
    };
    query(
        "insert into cvsync.refit (stage, total)
         values ($1, $2)
         on conflict (one) do update
            set stage      = excluded.stage,
                total      = excluded.total,
                after      = null,
                examined   = 0,
                request    = null,
                started_at = excluded.started_at",
    )
    .bind(stage.as_str())
    .bind(total)
    .execute(tx)
    .await?;
    Ok(())
}

/// Counts the CVs of a part that do not match.
pub(crate) async fn count(
    tx: &mut PgConnection,
    refit: &Refit,
    terms: &[String],
) -> Result<Part, StoreError> {
    let (examined, not_matching, last): (i64, i64, Option<Uuid>) = query_as(
        "with part as materialized (
             select cv_id, document
               from cvsync.cv
              where $1::uuid is null or cv_id > $1
              order by cv_id
              limit $2
         )
         select count(*),
                count(*) filter (where not cvsync.keeps(document, $3)),
                (select cv_id from part order by cv_id desc limit 1)
           from part",
    )
    .bind(refit.after)
    .bind(DOCUMENTS)
    .bind(terms)
    .fetch_one(&mut *tx)
    .await?;
    advance(tx, last, examined, not_matching).await
}

/// Deletes the CVs of a part that do not match, or holds their deletes, and removes fields from the others.
pub(crate) async fn prune(
    tx: &mut PgConnection,
    refit: &Refit,
    pruning: Pruning<'_, impl Fn(&str) -> Option<(String, [u8; 32])>>,
) -> Result<Part, StoreError> {
    query(HOLD_STILL).execute(&mut *tx).await?;
    let ids = next_stored(tx, refit.after, DOCUMENTS).await?;
    // As every writer: `cv_seen` before `cv`.
    query("select from cvsync.cv_seen where cv_id = any($1) order by cv_id for update")
        .bind(&ids)
        .execute(&mut *tx)
        .await?;
    let leaving = not_matching(tx, &ids, pruning.terms).await?;
    let counted = usize::try_from(refit.not_matching).unwrap_or(0);
    let wanted = counted.max(leaving.len());
    let mut deleted = Vec::new();
    if !leaving.is_empty() && pruning.brake.holds(load(tx, wanted).await?) {
        hold(tx, &leaving).await?;
    } else if !leaving.is_empty() {
        leave_out(tx, &leaving).await?;
        deleted = cv::delete(tx, &leaving).await?;
    }
    let rewritten = stripped(tx, &ids, pruning.strip).await?;
    if !deleted.is_empty() || !rewritten.is_empty() {
        let turn = cv_change::take_turn(tx).await?;
        cv::rewrite(tx, &rewritten, turn.at).await?;
        let upserted: Vec<Uuid> = rewritten.iter().map(|(id, ..)| *id).collect();
        cv_change::append(tx, &upserted, &deleted, turn).await?;
    }
    let examined = i64::try_from(ids.len()).unwrap_or(i64::MAX);
    let decided = i64::try_from(leaving.len()).unwrap_or(0);
    advance(tx, ids.last().copied(), examined, -decided).await
}

/// Has the next CVs of a stage fetched, once those before are.
pub(crate) async fn fetch(
    tx: &mut PgConnection,
    refit: &Refit,
    stage: RefitStage,
) -> Result<Part, StoreError> {
    if let Some(request) = refit.request {
        match run_request::state(tx, request).await? {
            Requested::Waits => return Ok(Part::Waits),
            Requested::Failed => return Ok(Part::Failed(request)),
            Requested::Settled => {}
        }
        query("update cvsync.refit set request = null")
            .execute(tx)
            .await?;
        return Ok(Part::More);
    }
    let (ids, last, examined) = if stage == RefitStage::FetchingFiltered {
        cv_seen::filtered(tx, refit.after, FETCHED).await?
    } else {
        let ids = next_stored(tx, refit.after, FETCHED).await?;
        let examined = i64::try_from(ids.len()).unwrap_or(i64::MAX);
        let last = ids.last().copied();
        (ids, last, examined)
    };
    if !ids.is_empty() {
        let request = run_request::add(tx, What::Resync, &ids).await?;
        query("update cvsync.refit set request = $1")
            .bind(request)
            .execute(&mut *tx)
            .await?;
    }
    advance(tx, last, examined, 0).await
}

/// Moves on to `last`; without it, the stage has ended.
async fn advance(
    tx: &mut PgConnection,
    last: Option<Uuid>,
    examined: i64,
    not_matching: i64,
) -> Result<Part, StoreError> {
    if last.is_none() {
        return Ok(Part::Last);
    }
    query(
        "update cvsync.refit
            set after        = $1,
                examined     = examined + $2,
                not_matching = greatest(0, not_matching + $3)",
    )
    .bind(last)
    .bind(examined)
    .bind(not_matching)
    .execute(tx)
    .await?;
    Ok(Part::More)
}

async fn next_stored(
    tx: &mut PgConnection,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Uuid>, StoreError> {
    Ok(query_scalar(
        "select cv_id
           from cvsync.cv
          where $1::uuid is null or cv_id > $1
          order by cv_id
          limit $2",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(tx)
    .await?)
}

async fn not_matching(
    tx: &mut PgConnection,
    ids: &[Uuid],
    terms: &[String],
) -> Result<Vec<Uuid>, StoreError> {
    if terms.is_empty() {
        return Ok(Vec::new());
    }
    Ok(query_scalar(
        "select cv_id
           from cvsync.cv
          where cv_id = any($1)
            and not cvsync.keeps(document, $2)
          order by cv_id",
    )
    .bind(ids)
    .bind(terms)
    .fetch_all(tx)
    .await?)
}

/// Holds the deletes of these CVs, of the age of what is stored.
async fn hold(tx: &mut PgConnection, ids: &[Uuid]) -> Result<(), StoreError> {
    let rows: Vec<(Uuid, DateTime<Utc>)> =
        query_as("select cv_id, as_of from cvsync.cv_seen where cv_id = any($1)")
            .bind(ids)
            .fetch_all(&mut *tx)
            .await?;
    let (ids, as_of): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
    held_delete::hold(tx, &ids, &as_of, &vec![true; ids.len()]).await
}

/// Gives these CVs the state `filtered`, as of the time at which they were confirmed.
async fn leave_out(tx: &mut PgConnection, ids: &[Uuid]) -> Result<(), StoreError> {
    query(
        "insert into cvsync.cv_seen (cv_id, as_of, gone, withheld)
         select cv_id, 'epoch', false, 'filtered'
           from unnest($1::uuid[]) as leaving (cv_id)
         on conflict (cv_id) do update
            set gone     = excluded.gone,
                withheld = excluded.withheld",
    )
    .bind(ids)
    .execute(&mut *tx)
    .await?;
    query("delete from cvsync.held_delete where cv_id = any($1)")
        .bind(ids)
        .execute(tx)
        .await?;
    Ok(())
}

async fn stripped(
    tx: &mut PgConnection,
    ids: &[Uuid],
    strip: impl Fn(&str) -> Option<(String, [u8; 32])>,
) -> Result<Vec<(Uuid, String, [u8; 32])>, StoreError> {
    let documents: Vec<(Uuid, String)> =
        query_as("select cv_id, document::text from cvsync.cv where cv_id = any($1)")
            .bind(ids)
            .fetch_all(tx)
            .await?;
    let stripped = documents.into_iter().filter_map(|(id, json)| {
        let (json, hash) = strip(&json)?;
        Some((id, json, hash))
    });
    Ok(stripped.collect())
}
