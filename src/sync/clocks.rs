//! Wrong clocks: what was written while clocks disagreed is noted, and fetched anew once they agree.
//!
//! `SourceTime` keeps a single wrong clock from doing harm. Two of them may agree on a time that is too late, and then an `as_of`
//! says more than the answer proved. Such rows are put back to "never confirmed" before the next relist or reconcile.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Pipeline, SyncError};
use crate::model::Outcome;
use crate::store::clock_doubt;
use crate::store::cv_seen::{self, Distrusted};

impl Pipeline {
    /// Takes note of the outcomes' `as_of`, before they are written, where it may be too late.
    pub(super) async fn note_doubt(&self, outcomes: &[Outcome]) -> Result<(), SyncError> {
        let as_of = || outcomes.iter().map(|outcome| outcome.as_of);
        let (Some(van), Some(tot)) = (as_of().min(), as_of().max()) else {
            return Ok(());
        };
        if !self.vdab.time().doubt() {
            return Ok(());
        }
        self.persist("noting that clocks disagree", || async {
            let mut tx = self.store.begin_write().await?;
            clock_doubt::widen(&mut tx, van, tot).await?;
            tx.commit().await
        })
        .await
    }

    /// Puts rows whose `as_of` lies in the future, or was written while clocks disagreed, back to "never confirmed".
    pub(super) async fn distrust(&self) -> Result<(), SyncError> {
        let doubt = self.doubt_to_resolve().await?;
        let distrusted = Distrusted {
            now: self.vdab.time().latest_now(),
            doubt,
        };
        let (mut after, mut found) = (Some(Uuid::nil()), 0);
        while let Some(last) = after
            && !self.token.is_cancelled()
        {
            let (next, rows) = self
                .persist("looking for rows of a wrong clock", || async {
                    let mut tx = self.store.begin_write().await?;
                    let slice = cv_seen::unconfirm(&mut tx, last, distrusted).await?;
                    tx.commit().await?;
                    Ok(slice)
                })
                .await?;
            found += rows;
            after = next;
        }
        if found > 0 {
            tracing::warn!(
                rows = found,
                "a wrong clock had confirmed these CVs; they will be fetched again"
            );
        }
        match doubt {
            Some((van, tot)) if !self.token.is_cancelled() => self.resolve(van, tot).await,
            _ => Ok(()),
        }
    }

    /// The span of `as_of` to distrust: none while clocks still disagree. Where this process has seen the disagreement end
    /// without its time going back, the odd clock was slow, and nothing is wrong.
    async fn doubt_to_resolve(&self) -> Result<Option<(DateTime<Utc>, DateTime<Utc>)>, SyncError> {
        let doubt = self
            .persist("reading whether clocks disagreed", || async {
                let mut tx = self.store.begin().await?;
                let doubt = clock_doubt::read(&mut tx).await?;
                tx.commit().await?;
                Ok(doubt)
            })
            .await?;
        let Some((van, tot)) = doubt.filter(|_| !self.vdab.time().doubt()) else {
            return Ok(None);
        };
        if self.vdab.time().was_late() == Some(false) {
            self.resolve(van, tot).await?;
            return Ok(None);
        }
        Ok(Some((van, tot)))
    }

    async fn resolve(&self, van: DateTime<Utc>, tot: DateTime<Utc>) -> Result<(), SyncError> {
        self.persist("noting that clocks agree", || async {
            let mut tx = self.store.begin_write().await?;
            clock_doubt::clear(&mut tx, van, tot).await?;
            tx.commit().await
        })
        .await
    }
}
