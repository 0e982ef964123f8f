//! The whole source against the table, in flat memory: what is listed is taken note of in the database, which then tells what only
//! one side has. What the source says about each of these decides.

use uuid::Uuid;

use super::SyncError;
use super::list::Lister;
use super::settle::Listed;
use crate::model::{CvId, Difference, Standing};
use crate::store::{cv, reconcile};
use crate::vdab::{Answer, BulkPage};

/// How many differences are looked up at a time.
const DIFFERENCES: i64 = 1_000;

/// On which side alone a CV is.
#[derive(Clone, Copy)]
enum Side {
    /// The source's.
    Missing,
    /// Ours.
    Extra,
}

impl Lister<'_> {
    /// Takes note of a page, for the comparison once all is listed.
    pub(super) async fn note(
        &self,
        run: i64,
        listed: &mut Listed,
        page: &Answer<BulkPage>,
    ) -> Result<(), SyncError> {
        let words = self.pipeline.vdab.words();
        let items = &page.value.items;
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
        self.pipeline
            .persist("taking note of a page", || async {
                // Not undone by a dry run: it is no result.
                let mut tx = self.pipeline.store.begin().await?;
                reconcile::note(&mut tx, run, &ids, &gone).await?;
                Ok(tx.commit().await?)
            })
            .await
    }

    /// Fetches what only one side has, a page at a time: what the source says about each decides.
    pub(super) async fn differences(&self, run: i64) -> Result<Difference, SyncError> {
        let (listed, stored) = self.sizes(run).await?;
        if listed == 0 && stored > 0 {
            return Err(SyncError::Empty { stored });
        }
        Ok(Difference {
            listed: u64::try_from(listed).unwrap_or(0),
            missing: self.fetch_side(run, Side::Missing).await?,
            extra: self.fetch_side(run, Side::Extra).await?,
        })
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

    async fn fetch_side(&self, run: i64, side: Side) -> Result<u64, SyncError> {
        let horizon = self.horizon.unwrap_or_default().date_naive();
        let (mut after, mut count) = (Uuid::nil(), 0);
        loop {
            let page = self
                .pipeline
                .persist("comparing", || async {
                    let mut tx = self.pipeline.store.begin().await?;
                    let page = match side {
                        Side::Missing => {
                            reconcile::missing(&mut tx, run, after, DIFFERENCES).await?
                        }
                        Side::Extra => {
                            reconcile::extra(&mut tx, run, after, horizon, DIFFERENCES).await?
                        }
                    };
                    tx.commit().await?;
                    Ok(page)
                })
                .await?;
            let Some(last) = page.last() else {
                return Ok(count);
            };
            after = last.0;
            count += page.len() as u64;
            self.fetch(page).await;
        }
    }

    pub(super) async fn forget(&self, run: i64) -> Result<(), SyncError> {
        self.pipeline
            .persist("forgetting what was listed", || async {
                let mut tx = self.pipeline.store.begin().await?;
                reconcile::forget(&mut tx, run).await?;
                Ok(tx.commit().await?)
            })
            .await
    }
}
