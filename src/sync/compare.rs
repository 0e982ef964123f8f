//! The whole source against the table, in flat memory: what is listed is taken note of in the database, which then tells what only
//! one side has. What the source says about each of these decides.

use uuid::Uuid;

use super::SyncError;
use super::list::Lister;
use super::plan::Plan;
use super::request::Comparison;
use super::settle::Listed;
use crate::model::{CvId, Difference, Standing};
use crate::store::{cv, reconcile};
use crate::vdab::{Answer, BulkPage};

/// How many differences are looked up at a time.
const DIFFERENCES: i64 = 1_000;

/// Which side has more of a CV.
#[derive(Clone, Copy)]
enum Side {
    /// The source: it is not here, or not as it is there.
    Missing,
    /// Ours: it is not there.
    Extra,
}

impl Lister<'_> {
    /// What changed while the whole was listed, and has left the windows that were listed last.
    pub(super) fn changed_since(&self, comparison: Comparison) -> Plan {
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
        let (ids, gone): (Vec<_>, Vec<_>) = items
            .iter()
            .filter_map(|item| {
                let id = CvId::parse(item.cv_id.as_deref()?)?;
                let gone = words.standing(item.status.as_deref()) == Standing::Gone;
                Some((id.0, gone))
            })
            .unzip();
        let window = listed.planned.window;
        let pending = comparison.watermark.is_some_and(|at| window.tot() > at);
        let run = comparison.run();
        self.pipeline
            .persist("taking note of a page", || async {
                // Not undone by a dry run: it is no result.
                let mut tx = self.pipeline.store.begin().await?;
                reconcile::note(&mut tx, run, window.van(), pending, &ids, &gone).await?;
                Ok(tx.commit().await?)
            })
            .await
    }

    /// Fetches what differs, a page at a time: what the source says about each decides whether it is a difference.
    pub(super) async fn differences(
        &self,
        comparison: Comparison,
    ) -> Result<Difference, SyncError> {
        let run = comparison.run();
        let (listed, stored) = self.sizes(run).await?;
        if listed == 0 && stored > 0 {
            return Err(SyncError::Empty { stored });
        }
        self.fetch_side(run, Side::Missing, false).await?;
        self.fetch_side(run, Side::Extra, false).await?;
        Ok(Difference {
            listed: u64::try_from(listed).unwrap_or(0),
            ..Difference::default()
        })
    }

    /// Fetches what changed behind the watermark, and ends the comparison.
    pub(super) async fn rest(&self, comparison: Comparison) -> Result<(), SyncError> {
        let run = comparison.run();
        self.fetch_side(run, Side::Missing, true).await?;
        self.fetch_side(run, Side::Extra, true).await?;
        self.forget(run).await
    }

    /// How many CVs the source lists, and how many are stored.
    async fn sizes(&self, run: i64) -> Result<(i64, i64), SyncError> {
        self.pipeline
            .persist("counting both sides", || async {
                let mut tx = self.pipeline.store.begin().await?;
                let sizes = (
                    reconcile::listed(&mut tx, run).await?,
                    cv::count(&mut tx).await?,
                );
                tx.commit().await?;
                Ok(sizes)
            })
            .await
    }

    async fn fetch_side(&self, run: i64, side: Side, pending: bool) -> Result<(), SyncError> {
        let horizon = self.horizon.unwrap_or_default().date_naive();
        let mut after = Uuid::nil();
        loop {
            let page = self
                .pipeline
                .persist("comparing", || async {
                    let mut tx = self.pipeline.store.begin().await?;
                    let page = match side {
                        Side::Missing => {
                            reconcile::missing(&mut tx, run, after, pending, DIFFERENCES).await?
                        }
                        Side::Extra => {
                            reconcile::extra(&mut tx, run, after, horizon, pending, DIFFERENCES)
                                .await?
                        }
                    };
                    tx.commit().await?;
                    Ok(page)
                })
                .await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = last.0;
            self.fetch(page).await?;
        }
    }

    async fn forget(&self, run: i64) -> Result<(), SyncError> {
        self.pipeline
            .persist("forgetting what was listed", || async {
                let mut tx = self.pipeline.store.begin().await?;
                reconcile::forget(&mut tx, run).await?;
                Ok(tx.commit().await?)
            })
            .await
    }
}
