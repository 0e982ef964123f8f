//! A batch of outcomes, in one transaction: what was accepted, what changed, what was set aside.
//!
//! Invariant: an outcome is written only where nothing newer is known (`cv_seen.as_of`), so late, repeated and
//! concurrent writes are harmless by construction.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};

use sqlx::PgConnection;
use uuid::Uuid;

use super::parked_cv::Park;
use super::sql::query_as;
use super::{Store, StoreError, approved_delete, cv, cv_change, cv_seen, held_delete, parked_cv};
use crate::model::{Brake, DeleteLoad, Document, Fate, Outcome, ParkClass, Tally};

/// The effect of one outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// A document that was not there.
    Inserted,
    /// A document with new content.
    Updated,
    /// A document, or an absence, that was known already.
    Unchanged,
    /// A stored document, which was removed.
    Deleted,
    /// Something newer was known, or stood in the same batch.
    Superseded,
    /// Parked for a later attempt.
    Parked,
    /// A delete that the brake holds back.
    Held,
    /// A delete that is held back because VDAB gave no proof.
    Unproven,
}

impl Applied {
    pub fn count_in(self, tally: &mut Tally) {
        *match self {
            Self::Inserted => &mut tally.inserted,
            Self::Updated => &mut tally.updated,
            Self::Unchanged => &mut tally.unchanged,
            Self::Deleted => &mut tally.deleted,
            Self::Superseded => &mut tally.superseded,
            Self::Parked => &mut tally.parked,
            Self::Held | Self::Unproven => &mut tally.held,
        } += 1;
    }
}

/// A stored `as_of` up to `latest` counts in this transaction, even if the database's clock is behind it. Returns whether
/// every confirmed CV is to be announced; see [`feed::announcing_since`](super::feed::announcing_since).
async fn begin(tx: &mut PgConnection, latest: DateTime<Utc>) -> Result<bool, StoreError> {
    let (_, announcing): (String, bool) = query_as(
        "select set_config('cvsync.latest', $1, true), announcing_since is not null
           from cvsync.feed",
    )
    .bind(latest.to_rfc3339())
    .fetch_one(tx)
    .await?;
    Ok(announcing)
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
            apply(tx, batch, brake, latest).await
        })
        .await
    }
}

/// Writes a batch; the result has the batch's order. If PostgreSQL refuses a value, nothing of it is written. A batch that is
/// written again changes nothing. A stored `as_of` later than both `latest` and the database's clock is not believed.
pub async fn apply<'a>(
    tx: &mut PgConnection,
    batch: impl IntoIterator<Item = &'a Outcome>,
    brake: Brake,
    latest: DateTime<Utc>,
) -> Result<Vec<Applied>, StoreError> {
    let batch: &[&Outcome] = &batch.into_iter().collect::<Vec<_>>();
    let announcing = begin(tx, latest).await?;
    let mut newest = newest_by_id(batch);
    let Deletes {
        held,
        unproven,
        approved,
    } = hold_back(tx, batch, &newest, brake).await?;
    newest.retain(|(_, at)| !held.contains(at) && !unproven.contains(at));
    let accepted = confirm(tx, batch, &newest).await?;
    let known = cv::hashes(tx, &live_ids(batch, &accepted)).await?;
    let gone = gone_ids(batch, &accepted);
    let deleted = delete(tx, &gone).await?;

    let mut changed = Vec::new();
    let mut results = Vec::with_capacity(batch.len());
    let mut parked = BTreeMap::new();
    for (at, outcome) in batch.iter().enumerate() {
        results.push(match &outcome.fate {
            Fate::Parked(id, class, wait) => {
                let park = Park {
                    class: *class,
                    as_of: outcome.as_of,
                    wait: *wait,
                };
                parked.insert(parked_cv::key(id), park);
                Applied::Parked
            }
            Fate::Unproven { id, .. } if unproven.contains(&at) => {
                let park = Park {
                    class: ParkClass::Unproven,
                    as_of: outcome.as_of,
                    wait: Duration::ZERO,
                };
                parked.insert(id.to_string(), park);
                Applied::Parked
            }
            Fate::Gone(_) if held.contains(&at) => Applied::Held,
            Fate::Unproven { .. } if held.contains(&at) => Applied::Unproven,
            Fate::Live(..) | Fate::Gone(_) | Fate::Unproven { .. } if !accepted.contains(&at) => {
                Applied::Superseded
            }
            Fate::Live(id, document) => {
                let result = compare(known.get(&id.0), document);
                if result != Applied::Unchanged || announcing {
                    changed.push((*id, document));
                }
                result
            }
            Fate::Gone(id) | Fate::Unproven { id, .. } if deleted.contains(&id.0) => {
                Applied::Deleted
            }
            Fate::Gone(_) | Fate::Unproven { .. } => Applied::Unchanged,
        });
    }
    set_aside(tx, batch, &accepted, &held, parked).await?;
    let announced_gone: Vec<Uuid> = if announcing {
        gone
    } else {
        deleted.iter().copied().collect()
    };
    if !changed.is_empty() || !announced_gone.is_empty() {
        let turn = cv_change::take_turn(tx).await?;
        if !changed.is_empty() {
            cv::upsert(tx, &changed, turn.at).await?;
        }
        let upserted: Vec<Uuid> = changed.iter().map(|(id, _)| id.0).collect();
        cv_change::append(tx, &upserted, &announced_gone, turn).await?;
        let approved = deleted.iter().filter(|id| approved.contains(id)).count();
        if approved > 0 {
            approved_delete::record(tx, approved, turn.at).await?;
        }
    }
    Ok(results)
}

/// The place in the batch of the newest outcome for each CV, ordered by id.
fn newest_by_id(batch: &[&Outcome]) -> Vec<(Uuid, usize)> {
    let mut newest = HashMap::<Uuid, usize>::new();
    for (at, outcome) in batch.iter().enumerate() {
        if let Fate::Live(id, _) | Fate::Gone(id) | Fate::Unproven { id, .. } = &outcome.fate {
            let best = newest.entry(id.0).or_insert(at);
            if batch[*best].as_of <= outcome.as_of {
                *best = at;
            }
        }
    }
    let mut newest: Vec<_> = newest.into_iter().collect();
    newest.sort_unstable();
    newest
}

/// The deletes in a batch by what becomes of them, as indexes in the batch.
#[derive(Default)]
struct Deletes {
    /// They are in `held_delete`.
    held: HashSet<usize>,
    /// They contradict the list without proof, and nothing is stored that could be kept.
    unproven: HashSet<usize>,
    /// Those that a person approved: they are applied, with proof or without.
    approved: HashSet<Uuid>,
}

/// Holds back those deletes of the batch of which there is no proof, or which the brake does not let pass. `as_of` does not
/// move for them: the document stays.
async fn hold_back(
    tx: &mut PgConnection,
    batch: &[&Outcome],
    newest: &[(Uuid, usize)],
    brake: Brake,
) -> Result<Deletes, StoreError> {
    let gone = newest.iter().filter(|(_, at)| is_gone(&batch[*at].fate));
    let (ids, as_of): (Vec<_>, Vec<_>) = gone.map(|(id, at)| (*id, batch[*at].as_of)).unzip();
    if ids.is_empty() {
        return Ok(Deletes::default());
    }
    let is_unproven = |at: &usize| matches!(batch[*at].fate, Fate::Unproven { .. });
    let contradicts_list = |at: &usize| {
        let fate = &batch[*at].fate;
        matches!(
            fate,
            Fate::Unproven {
                listed_live: true,
                ..
            }
        )
    };
    let (stored, as_of) = cv_seen::would_delete(tx, &ids, &as_of).await?;
    let approved = held_delete::approved_among(tx, &stored).await?;
    let approved: HashSet<Uuid> = approved.into_iter().collect();
    let places: HashMap<Uuid, usize> = newest.iter().copied().collect();
    let undecided = stored.into_iter().zip(as_of);
    let undecided = undecided.filter(|(id, _)| !approved.contains(id));
    let (unproven, proven): (Vec<_>, Vec<_>) =
        undecided.partition(|(id, _)| is_unproven(&places[id]));
    let mut held = Vec::new();
    if !unproven.is_empty() {
        let (ids, as_of): (Vec<_>, Vec<_>) = unproven.into_iter().unzip();
        held_delete::hold_unproven(tx, &ids, &as_of).await?;
        held.extend(ids);
    }
    if !proven.is_empty() && brake.holds(load(tx, proven.len()).await?) {
        let (ids, as_of): (Vec<_>, Vec<_>) = proven.into_iter().unzip();
        held_delete::hold(tx, &ids, &as_of).await?;
        held.extend(ids);
    }
    let kept = cv::hashes(tx, &ids).await?;
    let not_kept = newest
        .iter()
        .filter(|(id, at)| contradicts_list(at) && !kept.contains_key(id));
    Ok(Deletes {
        held: held.iter().map(|id| places[id]).collect(),
        unproven: not_kept.map(|(_, at)| *at).collect(),
        approved,
    })
}

async fn load(tx: &mut PgConnection, wanted: usize) -> Result<DeleteLoad, StoreError> {
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    Ok(DeleteLoad {
        wanted: wanted as u64,
        done: count(approved_delete::unapproved_deletes_of_a_day(tx).await?),
        held: count(held_delete::count_braked(tx).await?),
        stored: count(cv::count(tx).await?),
    })
}

fn is_gone(fate: &Fate) -> bool {
    matches!(fate, Fate::Gone(_) | Fate::Unproven { .. })
}

/// Moves `as_of`; returns the places in the batch of those outcomes that may be written.
async fn confirm(
    tx: &mut PgConnection,
    batch: &[&Outcome],
    newest: &[(Uuid, usize)],
) -> Result<HashSet<usize>, StoreError> {
    if newest.is_empty() {
        return Ok(HashSet::new());
    }
    let ids: Vec<_> = newest.iter().map(|(id, _)| *id).collect();
    let as_of: Vec<_> = newest.iter().map(|(_, at)| batch[*at].as_of).collect();
    let gone: Vec<_> = newest
        .iter()
        .map(|(_, at)| is_gone(&batch[*at].fate))
        .collect();
    let accepted = cv_seen::confirm(tx, &ids, &as_of, &gone).await?;
    Ok(newest
        .iter()
        .filter(|(id, _)| accepted.contains(id))
        .map(|(_, at)| *at)
        .collect())
}

fn live_ids(batch: &[&Outcome], accepted: &HashSet<usize>) -> Vec<Uuid> {
    accepted
        .iter()
        .filter_map(|at| match &batch[*at].fate {
            Fate::Live(id, _) => Some(id.0),
            Fate::Gone(_) | Fate::Unproven { .. } | Fate::Parked(..) => None,
        })
        .collect()
}

fn gone_ids(batch: &[&Outcome], accepted: &HashSet<usize>) -> Vec<Uuid> {
    accepted
        .iter()
        .filter_map(|at| match &batch[*at].fate {
            Fate::Gone(id) | Fate::Unproven { id, .. } => Some(id.0),
            Fate::Live(..) | Fate::Parked(..) => None,
        })
        .collect()
}

async fn delete(tx: &mut PgConnection, gone: &[Uuid]) -> Result<HashSet<Uuid>, StoreError> {
    if gone.is_empty() {
        return Ok(HashSet::new());
    }
    Ok(cv::delete(tx, gone).await?.into_iter().collect())
}

fn compare(known: Option<&Vec<u8>>, document: &Document) -> Applied {
    match known {
        None => Applied::Inserted,
        Some(hash) if hash == document.hash() => Applied::Unchanged,
        Some(_) => Applied::Updated,
    }
}

async fn set_aside(
    tx: &mut PgConnection,
    batch: &[&Outcome],
    accepted: &HashSet<usize>,
    held: &HashSet<usize>,
    parked: BTreeMap<String, Park>,
) -> Result<(), StoreError> {
    // VDAB has answered for these, so from now on their rows in `held_delete` decide when they are asked for.
    let (ids, as_of): (Vec<String>, Vec<DateTime<Utc>>) = held
        .iter()
        .map(|at| &batch[*at])
        .filter_map(|outcome| match &outcome.fate {
            Fate::Gone(id) | Fate::Unproven { id, .. } => Some((id.to_string(), outcome.as_of)),
            Fate::Live(..) | Fate::Parked(..) => None,
        })
        .unzip();
    if !ids.is_empty() {
        parked_cv::clear(tx, &ids, &as_of).await?;
    }
    let (succeeded, as_of): (Vec<Uuid>, Vec<DateTime<Utc>>) = accepted
        .iter()
        .map(|at| &batch[*at])
        .filter_map(|outcome| match &outcome.fate {
            Fate::Live(id, _) | Fate::Gone(id) | Fate::Unproven { id, .. } => {
                Some((id.0, outcome.as_of))
            }
            Fate::Parked(..) => None,
        })
        .unzip();
    if !succeeded.is_empty() {
        let ids: Vec<String> = succeeded.iter().map(Uuid::to_string).collect();
        parked_cv::clear(tx, &ids, &as_of).await?;
        held_delete::clear(tx, &succeeded, &as_of).await?;
    }
    if !parked.is_empty() {
        parked_cv::park(tx, &parked).await?;
    }
    Ok(())
}
