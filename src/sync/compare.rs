//! The whole source against the table, in flat memory: what is listed is taken note of in the database, which then tells what only
//! one side has. What the source says about each of these decides.

use std::time::Duration;

use sqlx::PgConnection;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::list::Lister;
use super::plan::Plan;
use super::request::{Compare, Comparison, Stage, Task};
use super::settle::Listed;
use super::{Pipeline, SyncError};
use crate::model::{Difference, Standing, Tally};
use crate::store::reconcile::{self, Noted, Part};
use crate::store::{Store, StoreError, cv};
use crate::vdab::{Answer, BulkPage};

/// How many ids a statement compares, however few of them differ.
const COMPARED: i64 = 2_000;

/// How often a comparison says that it is under way; see [`reconcile::keep`].
const KEPT_EVERY: Duration = Duration::from_secs(10);

/// A statement that takes longer is left to the next time.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a run removes the listings of comparisons that are over. The next run goes on.
const SWEEP: Duration = Duration::from_secs(20);

impl Lister<'_> {
    /// Goes on with a comparison; returns what is left of it.
    pub(super) async fn compare(
        &mut self,
        mut compare: Compare,
    ) -> Result<Option<Compare>, SyncError> {
        self.horizon = compare.horizon;
        let was_pending = compare.is_pending();
        while !self.stopped() {
            if !self.advance(&mut compare).await? {
                return Ok(None);
            }
            // What is pending is counted apart.
            if self.yields() || compare.is_pending() != was_pending {
                break;
            }
        }
        compare.horizon = self.horizon;
        Ok(Some(compare))
    }

    /// One step: windows until it has to yield, or a part of the ids; false if there is nothing left to do.
    async fn advance(&mut self, compare: &mut Compare) -> Result<bool, SyncError> {
        let comparison = compare.comparison;
        if !compare.left.is_empty() {
            compare.left = self.fetch_all(std::mem::take(&mut compare.left)).await?;
            return Ok(true);
        }
        match &mut compare.stage {
            Stage::Whole(plan) => {
                if self.windows(plan).await? {
                    compare.stage = Stage::Since(self.changed_since(comparison));
                }
            }
            Stage::Since(plan) => {
                if self.windows(plan).await? {
                    compare.stage = Stage::Listed(None);
                }
            }
            Stage::Listed(after) => {
                let part = self.part(comparison, *after, Side::Listed(false)).await?;
                if after.is_none() && part.last.is_none() {
                    self.expect_nothing_stored().await?;
                }
                compare.listed += part.read;
                compare.stage = match part.last {
                    None => Stage::Unlisted(None),
                    last => Stage::Listed(last),
                };
                compare.left = part.differ;
            }
            Stage::Unlisted(after) => {
                let part = self.part(comparison, *after, Side::Unlisted).await?;
                compare.stage = match part.last {
                    None => Stage::Pending(None),
                    last => Stage::Unlisted(last),
                };
                compare.left = part.differ;
            }
            Stage::Pending(after) => {
                let part = self.part(comparison, *after, Side::Listed(true)).await?;
                if part.last.is_none() {
                    return Ok(false);
                }
                *after = part.last;
                compare.left = part.differ;
            }
        }
        Ok(true)
    }

    /// What changed while the whole was listed, and has left the windows that were listed last.
    fn changed_since(&self, comparison: Comparison) -> Plan {
        let now = self.pipeline.vdab.time().now();
        let since = comparison.began - self.settle_lag();
        Plan::again(since, now, self.settle_lag(), &[], self.pipeline.widest())
    }

    /// Takes note of a page, for the comparison once all is listed.
    pub(super) async fn note(
        &self,
        comparison: Comparison,
        listed: &mut Listed,
        page: &Answer<BulkPage>,
    ) -> Result<(), SyncError> {
        let words = self.pipeline.vdab.words();
        let items = &page.value.items;
        listed.labels.count(items, words);
        listed.ids += items.len() as u64;
        listed.skipped += items.len() as u64;
        self.pipeline.progress.taken(items.len() as u64);
        let ids = items
            .iter()
            .filter_map(|item| Some((item.id.valid()?.0, words.standing(item.status.as_deref()))));
        let ids: Vec<_> = ids.collect();
        let window = listed.planned.window;
        let noted = Noted {
            ids: ids.iter().map(|(id, _)| *id).collect(),
            gone: ids.iter().map(|(_, it)| *it == Standing::Gone).collect(),
            live: ids.iter().map(|(_, it)| *it == Standing::Live).collect(),
            van: window.van(),
            settled: window.tot() + self.settle_lag(),
            pending: comparison.watermark.is_some_and(|at| window.tot() > at),
        };
        let run = comparison.run();
        let is_kept = self
            .pipeline
            .note("taking note of a page", async |tx| {
                let is_kept = reconcile::keep(tx, run).await?;
                if is_kept {
                    reconcile::note(tx, run, &noted).await?;
                }
                Ok(is_kept)
            })
            .await?;
        is_kept.then_some(()).ok_or(SyncError::ListingLost)
    }

    /// A source that lists nothing at all, while much is stored, is not believed.
    async fn expect_nothing_stored(&self) -> Result<(), SyncError> {
        let stored = self.pipeline.read("counting both sides", cv::count).await?;
        if stored > 0 {
            return Err(SyncError::Empty { stored });
        }
        Ok(())
    }

    /// The next ids behind `after`, and which of them differ.
    async fn part(
        &self,
        comparison: Comparison,
        after: Option<Uuid>,
        side: Side,
    ) -> Result<Part, SyncError> {
        let horizon = self.horizon.unwrap_or_default().date_naive();
        let run = comparison.run();
        let (part, is_kept) = self
            .pipeline
            .note("comparing", async |tx| {
                let part = match side {
                    Side::Listed(pending) => {
                        reconcile::listed(tx, run, after, pending, COMPARED).await?
                    }
                    Side::Unlisted => {
                        reconcile::unlisted(tx, run, after, horizon, COMPARED).await?
                    }
                };
                // Afterwards: whoever removes a listing says so before.
                Ok((part, reconcile::keep(tx, run).await?))
            })
            .await?;
        is_kept.then_some(part).ok_or(SyncError::ListingLost)
    }
}

/// Adds a part of a comparison to the difference. Only CVs that the responses confirmed count: the others changed meanwhile.
pub(super) fn count(difference: &mut Difference, written: Tally, rest: Option<&Task>) {
    difference.missing += written.inserted;
    difference.extra += written.deleted;
    difference.stale += written.updated;
    difference.held += written.held;
    if let Some(Task::Compare(compare)) = rest {
        difference.listed = compare.listed;
    }
}

/// Where ids are read from.
#[derive(Clone, Copy)]
enum Side {
    /// What the source lists; behind the watermark or not.
    Listed(bool),
    /// What is stored.
    Unlisted,
}

/// A comparison that is under way. Where this is dropped its listing is removed by a later run.
#[derive(Debug)]
pub(super) struct Listing {
    run: i64,
    _kept: AbortOnDropHandle<()>,
}

impl Listing {
    /// Begins the listing of a comparison.
    pub(super) async fn begin(
        pipeline: &Pipeline,
        comparison: Comparison,
    ) -> Result<Self, SyncError> {
        let run = comparison.run();
        pipeline
            .note("beginning a comparison", async |tx| {
                reconcile::begin(tx, run).await
            })
            .await?;
        let kept = keep_until_dropped(pipeline.store.clone(), run);
        Ok(Self {
            run,
            _kept: AbortOnDropHandle::new(tokio::spawn(kept)),
        })
    }

    /// The comparison is over, whatever its end.
    pub(super) async fn end(self, store: &Store) {
        let end = async |tx: &mut PgConnection| reconcile::end(tx, self.run).await;
        let store = store.bookkeeping().within(PATIENCE);
        if let Err(error) = store.write("ending a comparison", end).await {
            tracing::debug!("the listing of a comparison is removed later: {error}");
        }
    }
}

async fn keep_until_dropped(store: Store, run: i64) {
    let store = store.bookkeeping().within(PATIENCE);
    loop {
        tokio::time::sleep(KEPT_EVERY).await;
        let keep = async |tx: &mut PgConnection| reconcile::keep(tx, run).await;
        if let Err(error) = store.write("keeping a comparison", keep).await {
            tracing::debug!("cannot say that a comparison is under way: {error}");
        }
    }
}

/// Removes listings of comparisons that are over, or whose process died; some of it, so that nobody waits for long.
pub(super) async fn sweep(store: &Store) {
    if let Ok(Err(error)) = tokio::time::timeout(SWEEP, remove_over(store)).await {
        tracing::warn!("what comparisons listed is removed later: {error}");
    }
}

async fn remove_over(store: &Store) -> Result<(), StoreError> {
    const WHAT: &str = "removing the listing of a comparison";
    let store = store.bookkeeping();
    let mut run = i64::MIN;
    loop {
        let over = async |tx: &mut PgConnection| reconcile::over(tx, run).await;
        let Some(over) = store.write(WHAT, over).await? else {
            return Ok(());
        };
        run = over;
        let mut after = None;
        loop {
            let remove = async |tx: &mut PgConnection| reconcile::remove(tx, run, after).await;
            after = store.write(WHAT, remove).await?;
            if after.is_none() {
                break;
            }
        }
    }
}
