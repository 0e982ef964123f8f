//! The listing of a comparison: the listed ids as rows in the database, which then shows the ids that only one side has.

use std::collections::HashSet;
use std::time::Duration;

use sqlx::PgConnection;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::request::Comparison;
use super::settle::Listed;
use super::{Pipeline, SyncError, delta};
use crate::model::{Lane, Standing};
use crate::store::reconcile::{self, Noted, Part};
use crate::store::{Store, StoreError, suppressed_cv};
use crate::vdab::{Answer, BulkPage};

/// The most ids that one statement compares.
const COMPARED: i64 = 2_000;

/// How often a comparison reports that it is under way; see [`reconcile::keep`].
const KEPT_EVERY: Duration = Duration::from_secs(10);

/// A statement that takes longer is left to the next time.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a run removes the listings of earlier comparisons. The next run continues.
const SWEEP: Duration = Duration::from_secs(20);

/// The listing of a comparison under way. After it is dropped, a later run removes its rows.
#[derive(Debug)]
pub(super) struct Listing {
    run: i64,
    _kept: AbortOnDropHandle<()>,
}

impl Listing {
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

    /// Ends it, whether the comparison succeeded or failed.
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
            tracing::debug!("cannot report that a comparison is under way: {error}");
        }
    }
}

/// Adds the ids of a page.
pub(super) async fn note(
    pipeline: &Pipeline,
    comparison: Comparison,
    listed: &mut Listed,
    page: &Answer<BulkPage>,
) -> Result<(), SyncError> {
    let words = pipeline.vdab.words();
    let items = &page.value.items;
    listed.labels.count(items, words);
    listed.ids += items.len() as u64;
    listed.skipped += items.len() as u64;
    pipeline
        .progress
        .of(Lane::Backlog)
        .taken(items.len() as u64);
    let window = listed.planned.window;
    let mut noted = Noted {
        ids: Vec::with_capacity(items.len()),
        gone: Vec::with_capacity(items.len()),
        live: Vec::with_capacity(items.len()),
        van: window.van(),
        settled: window.tot() + delta(pipeline.settings.settle_lag),
        pending: comparison.watermark.is_some_and(|at| window.tot() > at),
    };
    for item in items {
        if let Some(id) = item.id.valid() {
            let standing = words.standing(item.status.as_deref());
            noted.ids.push(id.0);
            noted.gone.push(standing == Standing::Gone);
            noted.live.push(standing == Standing::Live);
        }
    }
    let run = comparison.run();
    let is_kept = pipeline
        .note("taking note of a page", async |tx| {
            let is_kept = reconcile::keep(tx, run).await?;
            if is_kept {
                let suppressed = suppressed_cv::among(tx, &noted.ids).await?;
                reconcile::note(tx, run, &without(&noted, &suppressed)).await?;
            }
            Ok(is_kept)
        })
        .await?;
    is_kept.then_some(()).ok_or(SyncError::ListingLost)
}

/// The page without these ids, which are not compared.
fn without(noted: &Noted, ids: &HashSet<Uuid>) -> Noted {
    let kept = |at: &usize| !ids.contains(&noted.ids[*at]);
    let kept = || (0..noted.ids.len()).filter(kept);
    Noted {
        ids: kept().map(|at| noted.ids[at]).collect(),
        gone: kept().map(|at| noted.gone[at]).collect(),
        live: kept().map(|at| noted.live[at]).collect(),
        ..noted.clone()
    }
}

/// The side of a comparison from which ids are read.
#[derive(Clone, Copy)]
pub(super) enum Side {
    /// The ids that the source lists in windows up to the watermark.
    Listed,
    /// The ids that the source lists in windows after the watermark.
    Pending,
    /// The ids that are stored and not listed.
    Unlisted,
    /// The ids that do not match CVSYNC_KEEP and are not listed.
    Filtered,
}

/// The next ids after `after`, and which of them differ. `horizon` is the end of the first window that listed any id.
pub(super) async fn part(
    pipeline: &Pipeline,
    comparison: Comparison,
    side: Side,
    after: Option<Uuid>,
    horizon: chrono::NaiveDate,
) -> Result<Part, SyncError> {
    let run = comparison.run();
    let (part, is_kept) = pipeline
        .note("comparing", async |tx| {
            let part = match side {
                Side::Listed => reconcile::listed(tx, run, after, false, COMPARED).await?,
                Side::Pending => reconcile::listed(tx, run, after, true, COMPARED).await?,
                Side::Unlisted => reconcile::unlisted(tx, run, after, horizon, COMPARED).await?,
                Side::Filtered => {
                    reconcile::filtered(tx, run, after, comparison.began, COMPARED).await?
                }
            };
            // Checked afterwards, since a listing is marked as over before its rows are removed.
            Ok((part, reconcile::keep(tx, run).await?))
        })
        .await?;
    is_kept.then_some(part).ok_or(SyncError::ListingLost)
}

/// Removes listings of comparisons that are over, or whose process died, for a limited time.
pub(super) async fn sweep(store: &Store) {
    if let Ok(Err(error)) = tokio::time::timeout(SWEEP, remove_over(store)).await {
        tracing::warn!("the listings of earlier comparisons are removed later: {error}");
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
