//! Writes a batch of outcomes in one transaction.
//!
//! Invariant: an outcome is written only if no newer state is stored (`cv_seen.as_of`). So late, repeated and concurrent writes
//! are harmless by construction.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::batch::{Applied, Batch, Proof, Upsert};
use super::cv_seen::State;
use super::sql::{query, script};
use super::suppressed_cv::HOLD_STILL;
use super::{
    Store, StoreError, approved_delete, cv, cv_change, cv_seen, held_delete, matching, parked_cv,
    suppressed_cv,
};
use crate::model::clocks::TOLERANCE;
use crate::model::{Brake, CvId, DeleteLoad, Document, Outcome};

/// The state in which a batch begins.
struct Begun {
    /// When commits were lost, if CVs are still to be announced because of that; see
    /// [`feed::announcing_since`](super::feed::announcing_since).
    announcing_since: Option<DateTime<Utc>>,
    any_suppressed: bool,
}

/// Lets no suppression begin until the transaction ends. A stored `as_of` up to `latest` counts in it, even if the database's
/// clock is behind that.
async fn begin(tx: &mut PgConnection, latest: DateTime<Utc>) -> Result<Begun, StoreError> {
    let (_, since, any_suppressed): (String, Option<i64>, bool) = script(
        tx,
        format!(
            "{HOLD_STILL};
             select set_config('cvsync.latest', '{}', true),
                    (extract(epoch from announcing_since) * 1000000)::bigint,
                    exists (select from cvsync.suppressed_cv)
               from cvsync.feed",
            latest.to_rfc3339()
        ),
    )
    .await?;
    Ok(Begun {
        announcing_since: since.and_then(DateTime::from_timestamp_micros),
        any_suppressed,
    })
}

/// The suppressed CVs among the outcomes.
async fn suppressed(
    tx: &mut PgConnection,
    outcomes: &[&Outcome],
) -> Result<HashSet<Uuid>, StoreError> {
    let ids = outcomes.iter().filter_map(|outcome| outcome.fate.id());
    let ids: Vec<Uuid> = ids.map(|id| id.0).collect();
    suppressed_cv::among(tx, &ids).await
}

/// The CVs of the batch that are announced, changed or not: none of them was confirmed since commits were lost.
async fn to_announce(
    tx: &mut PgConnection,
    batch: &Batch<'_>,
    announcing_since: Option<DateTime<Utc>>,
) -> Result<HashSet<Uuid>, StoreError> {
    let Some(since) = announcing_since else {
        return Ok(HashSet::new());
    };
    let ids = batch.upserts.keys().chain(batch.deletes.keys());
    let ids: Vec<Uuid> = ids.copied().collect();
    cv_seen::not_confirmed_since(tx, &ids, since + TOLERANCE).await
}

impl Store {
    /// Writes a batch in a transaction of its own; see [`apply`].
    ///
    /// # Errors
    /// [`StoreError`]; the batch can be given again as it is.
    pub async fn apply(
        &self,
        batch: &[Outcome],
        brake: Brake,
        latest: DateTime<Utc>,
    ) -> Result<Vec<Applied>, StoreError> {
        self.write("writing a batch", async |tx| {
            apply(tx, batch, brake, &[], latest).await
        })
        .await
    }
}

/// Writes a batch; the result has the batch's order. CVs that do not have one of the terms `keep` of each kind are not stored. If PostgreSQL refuses a value, nothing of it is written. A batch that is
/// written again changes nothing. A stored `as_of` later than both `latest` and the database's clock is not believed.
pub async fn apply<'a>(
    tx: &mut PgConnection,
    outcomes: impl IntoIterator<Item = &'a Outcome>,
    brake: Brake,
    keep: &[String],
    latest: DateTime<Utc>,
) -> Result<Vec<Applied>, StoreError> {
    let outcomes: Vec<_> = outcomes.into_iter().collect();
    let begun = begin(tx, latest).await?;
    let suppressed = if begun.any_suppressed {
        suppressed(tx, &outcomes).await?
    } else {
        HashSet::new()
    };
    let mut batch = Batch::split(&outcomes, &suppressed);
    filter(tx, &mut batch, keep).await?;
    let HeldBack { held, approved } = hold_back(tx, &mut batch, brake).await?;
    let announced = to_announce(tx, &batch, begun.announcing_since).await?;
    confirm(tx, &mut batch).await?;
    let changed = compare(tx, &mut batch, &announced).await?;
    let deleted = delete(tx, &mut batch).await?;
    set_aside(tx, &batch, held).await?;
    let gone = batch.deletes.keys().copied();
    let gone = gone.filter(|id| deleted.contains(id) || announced.contains(id));
    let gone: Vec<Uuid> = gone.collect();
    if !changed.is_empty() || !gone.is_empty() {
        let turn = cv_change::take_turn(tx).await?;
        if !changed.is_empty() {
            cv::upsert(tx, &changed, turn.at).await?;
        }
        let upserted: Vec<Uuid> = changed.iter().map(|(id, _)| id.0).collect();
        cv_change::append(tx, &upserted, &gone, turn).await?;
        // The brake must not count a CV that is announced as gone and was not stored.
        let passes_the_brake = |id: &&Uuid| approved.contains(*id) || !deleted.contains(*id);
        let passed = gone.iter().filter(passes_the_brake).count();
        if passed > 0 {
            approved_delete::record(tx, passed, turn.at).await?;
        }
    }
    Ok(batch.results)
}

async fn filter(
    tx: &mut PgConnection,
    batch: &mut Batch<'_>,
    keep: &[String],
) -> Result<(), StoreError> {
    if keep.is_empty() || batch.upserts.is_empty() {
        return Ok(());
    }
    let upserts = batch.upserts.iter();
    let (ids, documents): (Vec<_>, Vec<_>) = upserts
        .map(|(id, upsert)| (*id, upsert.document.json()))
        .unzip();
    let matching = matching::matching(tx, &ids, &documents, keep).await?;
    batch.filter(&matching);
    Ok(())
}

#[derive(Default)]
struct HeldBack {
    /// Deletes in `held_delete`, with their `as_of`.
    held: Vec<(Uuid, DateTime<Utc>)>,
    /// Deletes that a person approved. They are applied, with or without proof.
    approved: HashSet<Uuid>,
}

/// Takes the deletes out of the batch that lack proof or that the brake holds. Their `as_of` does not move, since the document
/// stays.
async fn hold_back(
    tx: &mut PgConnection,
    batch: &mut Batch<'_>,
    brake: Brake,
) -> Result<HeldBack, StoreError> {
    if batch.deletes.is_empty() {
        return Ok(HeldBack::default());
    }
    let deletes = batch.deletes.iter();
    let (ids, as_of): (Vec<_>, Vec<_>) = deletes.map(|(id, delete)| (*id, delete.as_of)).unzip();
    let (stored, as_of) = cv_seen::would_delete(tx, &ids, &as_of).await?;
    let approved = held_delete::approved_among(tx, &stored).await?;
    let approved: HashSet<Uuid> = approved.into_iter().collect();
    let undecided = stored.into_iter().zip(as_of);
    let undecided = undecided.filter(|(id, _)| !approved.contains(id));
    let (proven, unproven): (Vec<_>, Vec<_>) =
        undecided.partition(|(id, _)| !matches!(batch.deletes[id].proof, Proof::Unproven { .. }));
    let mut held = Vec::new();
    if !unproven.is_empty() {
        let (ids, as_of): (Vec<_>, Vec<_>) = unproven.into_iter().unzip();
        held_delete::hold_unproven(tx, &ids, &as_of).await?;
        held.extend(ids);
    }
    if !proven.is_empty() && brake.holds(load(tx, proven.len()).await?) {
        let (ids, as_of): (Vec<_>, Vec<_>) = proven.into_iter().unzip();
        let filtered = ids
            .iter()
            .map(|id| batch.deletes[id].proof == Proof::Filtered);
        held_delete::hold(tx, &ids, &as_of, &filtered.collect::<Vec<_>>()).await?;
        held.extend(ids);
    }
    park_contradictions(tx, batch).await?;
    Ok(HeldBack {
        held: batch.hold(&held),
        approved,
    })
}

/// Parks CVs that are listed as live, are absent without proof, and are not stored.
async fn park_contradictions(
    tx: &mut PgConnection,
    batch: &mut Batch<'_>,
) -> Result<(), StoreError> {
    let contradiction = Proof::Unproven { listed_live: true };
    let deletes = batch.deletes.iter();
    let contradicting = deletes.filter(|(_, delete)| delete.proof == contradiction);
    let contradicting: Vec<Uuid> = contradicting.map(|(id, _)| *id).collect();
    if contradicting.is_empty() {
        return Ok(());
    }
    let stored = cv::hashes(tx, &contradicting).await?;
    for id in contradicting {
        if !stored.contains_key(&id) {
            batch.park_unproven(id);
        }
    }
    Ok(())
}

/// The deletes that the brake judges, of which a transaction wants so many.
pub(super) async fn load(tx: &mut PgConnection, wanted: usize) -> Result<DeleteLoad, StoreError> {
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    Ok(DeleteLoad {
        wanted: wanted as u64,
        done: count(approved_delete::unapproved_deletes_of_a_day(tx).await?),
        held: count(held_delete::count_braked(tx).await?),
        stored: count(cv::count(tx).await?),
    })
}

/// Moves `as_of`, in the order of ids, and leaves out of the batch the CVs of which a newer state is stored.
async fn confirm(tx: &mut PgConnection, batch: &mut Batch<'_>) -> Result<(), StoreError> {
    let upserts = batch.upserts.iter();
    let upserts = upserts.map(|(id, upsert)| (*id, upsert.as_of, State::Stored));
    let deletes = batch.deletes.iter();
    let deletes = deletes.map(|(id, delete)| (*id, delete.as_of, state(delete.proof)));
    let mut states: Vec<_> = upserts.chain(deletes).collect();
    if states.is_empty() {
        return Ok(());
    }
    states.sort_unstable();
    let ids: Vec<_> = states.iter().map(|(id, _, _)| *id).collect();
    let as_of: Vec<_> = states.iter().map(|(_, as_of, _)| *as_of).collect();
    let states: Vec<_> = states.iter().map(|(_, _, state)| *state).collect();
    batch.retain(&cv_seen::confirm(tx, &ids, &as_of, &states).await?);
    Ok(())
}

fn state(proof: Proof) -> State {
    match proof {
        Proof::Filtered => State::Filtered,
        Proof::Proven | Proof::Unproven { .. } => State::Gone,
    }
}

/// The documents to write: changed ones, and those of `announced` CVs.
async fn compare<'a>(
    tx: &mut PgConnection,
    batch: &mut Batch<'a>,
    announced: &HashSet<Uuid>,
) -> Result<Vec<(CvId, &'a Document)>, StoreError> {
    let ids: Vec<Uuid> = batch.upserts.keys().copied().collect();
    let stored = cv::hashes(tx, &ids).await?;
    let mut changed = Vec::new();
    for (id, Upsert { at, document, .. }) in &batch.upserts {
        let result = match stored.get(id) {
            None => Applied::Inserted,
            Some(hash) if hash == document.hash() => Applied::Unchanged,
            Some(_) => Applied::Updated,
        };
        batch.results[*at] = result;
        if result != Applied::Unchanged || announced.contains(id) {
            changed.push((CvId(*id), *document));
        }
    }
    Ok(changed)
}

async fn delete(tx: &mut PgConnection, batch: &mut Batch<'_>) -> Result<HashSet<Uuid>, StoreError> {
    if batch.deletes.is_empty() {
        return Ok(HashSet::new());
    }
    let ids: Vec<Uuid> = batch.deletes.keys().copied().collect();
    let deleted: HashSet<Uuid> = cv::delete(tx, &ids).await?.into_iter().collect();
    for (id, delete) in &batch.deletes {
        batch.results[delete.at] = match delete.proof {
            _ if !deleted.contains(id) => Applied::Unchanged,
            Proof::Filtered => Applied::Filtered,
            Proof::Proven | Proof::Unproven { .. } => Applied::Deleted,
        };
    }
    Ok(deleted)
}

/// Takes CVs off `parked_cv` and `held_delete` that were applied with an answer as of then or later. Those that are held now go
/// off `parked_cv` alone: their row in `held_delete` decides from now on when they are retried.
async fn clear(
    tx: &mut PgConnection,
    applied: &[(Uuid, DateTime<Utc>)],
    held: &[(Uuid, DateTime<Utc>)],
) -> Result<(), StoreError> {
    let (ids, as_of): (Vec<Uuid>, Vec<_>) = applied.iter().chain(held).copied().unzip();
    let is_applied: Vec<bool> = (0..ids.len()).map(|at| at < applied.len()).collect();
    query(
        "with done as materialized (
             select * from unnest($1::uuid[], $2::timestamptz[], $3::boolean[]) as done (cv_id, as_of, is_applied)
         ), retried as (
             delete from cvsync.parked_cv as parked
              using done
              where parked.cv_id = done.cv_id::text
                and not cvsync.is_newer(parked.as_of, done.as_of)
         )
         delete from cvsync.held_delete as held
          using done
          where held.cv_id = done.cv_id
            and done.is_applied
            and not cvsync.is_newer(held.as_of, done.as_of)",
    )
    .bind(ids)
    .bind(as_of)
    .bind(is_applied)
    .execute(tx)
    .await?;
    Ok(())
}

/// Parks CVs, and clears the earlier rows of those that were applied or held.
async fn set_aside(
    tx: &mut PgConnection,
    batch: &Batch<'_>,
    held: Vec<(Uuid, DateTime<Utc>)>,
) -> Result<(), StoreError> {
    let upserts = batch.upserts.iter().map(|(id, upsert)| (*id, upsert.as_of));
    let deletes = batch.deletes.iter().map(|(id, delete)| (*id, delete.as_of));
    let applied: Vec<_> = upserts.chain(deletes).collect();
    if !applied.is_empty() || !held.is_empty() {
        clear(tx, &applied, &held).await?;
    }
    if !batch.parked.is_empty() {
        parked_cv::park(tx, &batch.parked).await?;
    }
    Ok(())
}
