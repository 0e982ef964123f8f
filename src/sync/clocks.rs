//! Wrong clocks: CVs that were written while clocks disagreed are noted, and fetched again once the clocks agree.
//!
//! `SourceTime` protects against a single wrong clock. But two of them may agree on a time that is too late. Then an `as_of` is
//! later than the response proves. Such rows are set to "never confirmed" before the next relist or reconcile.

use std::sync::{MutexGuard, PoisonError};
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{Pipeline, SyncError};
use crate::model::clocks::TOLERANCE;
use crate::model::window::instant;
use crate::store::cv_seen::{self, Distrusted};
use crate::store::{clock_doubt, coverage};
use crate::vdab::SourceTime;

/// The earliest and the latest `as_of`.
pub(super) type Span = (DateTime<Utc>, DateTime<Utc>);

/// Two estimates of the same clock differ by less.
const SAME_TIME: TimeDelta = TimeDelta::seconds(5);

/// A date that must not lie in the future.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{name} must not lie in the future, got {}, while it is {}; set an earlier date, or correct the clock of this machine or of the database server if that is wrong",
    instant(*at),
    instant(*now)
)]
pub struct InFuture {
    /// The variable or the argument.
    pub name: &'static str,
    pub at: DateTime<Utc>,
    pub now: DateTime<Utc>,
}

impl InFuture {
    /// # Errors
    /// If the date is later than the clocks of the source and the database show.
    pub fn refuse(name: &'static str, at: DateTime<Utc>, time: &SourceTime) -> Result<(), Self> {
        let now = time.judge();
        if at > now + TOLERANCE {
            return Err(Self { name, at, now });
        }
        Ok(())
    }
}

impl Pipeline {
    /// Reads the database's clock, and refuses a first sync that begins in the future: it would find nothing and seem complete.
    ///
    /// # Errors
    /// [`InFuture`], or the error of the database.
    pub async fn refuse_future_start(&self) -> anyhow::Result<()> {
        let (reading, watermark) = self
            .read("reading the database's clock", async |tx| {
                let reading = clock_doubt::database_time(tx).await?;
                Ok((reading, coverage::watermark(tx).await?))
            })
            .await?;
        let time = self.vdab.time();
        time.database_says(reading, Instant::now());
        if watermark.is_some() {
            // The first sync began long ago. The clock is wrong, but delays nothing.
            return Ok(());
        }
        InFuture::refuse("CVSYNC_SYNC_FROM", self.settings.from, time)?;
        Ok(())
    }

    /// Notes the `as_of` of outcomes, before they are written, if it may be too late.
    pub(super) async fn note_doubt(
        &self,
        as_of: impl Iterator<Item = DateTime<Utc>> + Clone,
    ) -> Result<(), SyncError> {
        let (Some(van), Some(tot)) = (as_of.clone().min(), as_of.max()) else {
            return Ok(());
        };
        let time = self.vdab.time();
        // The clock may have been corrected since the request. Then the `as_of` lies in the future.
        let doubtful = time.doubt() || tot > time.latest_now() + SAME_TIME;
        if !doubtful {
            return Ok(());
        }
        self.write("noting that clocks disagree", async |tx| {
            clock_doubt::widen(tx, van, tot).await
        })
        .await?;
        let mut own = self.own_doubt();
        *own = Some(own.map_or((van, tot), |(from, to)| (from.min(van), to.max(tot))));
        Ok(())
    }

    /// The span that this process has noted.
    fn own_doubt(&self) -> MutexGuard<'_, Option<Span>> {
        self.doubt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets rows to "never confirmed" whose `as_of` lies in the future, or was written while clocks disagreed.
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
                .write("looking for rows of a wrong clock", async |tx| {
                    cv_seen::unconfirm(tx, last, distrusted).await
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

    /// The span of `as_of` to distrust; `None` while clocks still disagree.
    ///
    /// If this process noted the whole span, and its time did not go back when the disagreement ended, one clock was slow, and no
    /// `as_of` is wrong.
    async fn doubt_to_resolve(&self) -> Result<Option<Span>, SyncError> {
        let doubt = self
            .read("reading whether clocks disagreed", clock_doubt::read)
            .await?;
        let Some((van, tot)) = doubt.filter(|_| !self.vdab.time().doubt()) else {
            return Ok(None);
        };
        let is_own = *self.own_doubt() == Some((van, tot));
        if is_own && self.vdab.time().was_late() == Some(false) {
            self.resolve(van, tot).await?;
            return Ok(None);
        }
        Ok(Some((van, tot)))
    }

    async fn resolve(&self, van: DateTime<Utc>, tot: DateTime<Utc>) -> Result<(), SyncError> {
        *self.own_doubt() = None;
        self.write("noting that clocks agree", async |tx| {
            clock_doubt::clear(tx, van, tot).await
        })
        .await
    }
}
