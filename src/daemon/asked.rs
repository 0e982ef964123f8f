//! Runs that a person asked for over HTTP, of whichever instance: taken up one at a time by the one that leads.

use std::time::Duration;

use crate::model::CvId;
use crate::store::run_request::{self, What};
use crate::store::{Store, within};
use crate::sync::Request;

/// A database that answers later is asked again at the next ring: nothing that is due by itself waits for this.
const PATIENCE: Duration = Duration::from_secs(1);

/// A run that was asked for and is taken up.
#[derive(Debug)]
pub struct Asked {
    id: i64,
    /// What it is.
    pub request: Request,
}

/// Whether any waits.
pub async fn waits(store: &Store) -> bool {
    within(PATIENCE, async {
        let mut tx = store.begin().await?;
        let any = run_request::any(&mut tx).await?;
        tx.commit().await?;
        Ok(any)
    })
    .await
    .unwrap_or(false)
}

/// The one that has waited longest.
pub async fn take(store: &Store) -> Option<Asked> {
    // It is asked each second, and a write costs a flush, also one that finds nothing.
    if !waits(store).await {
        return None;
    }
    let asked = within(PATIENCE, async {
        let mut tx = store.begin_write().await?;
        let Some(row) = run_request::take(&mut tx).await? else {
            return Ok(None);
        };
        let request = match row.what {
            What::Sync => Request::UpToNow,
            What::Resync => Request::These(row.ids.into_iter().map(CvId).collect()),
            What::Approve => Request::Approved,
        };
        tx.commit().await?;
        Ok(Some(Asked {
            id: row.id,
            request,
        }))
    });
    asked.await.unwrap_or_else(|error| {
        tracing::debug!("cannot look for runs that were asked for: {error}");
        None
    })
}

impl Asked {
    /// It came to its end. Where that cannot be written down it is made once more, which does no harm.
    pub async fn done(self, store: &Store, failed: bool) {
        let recorded = within(PATIENCE, async {
            let mut tx = store.begin_write().await?;
            run_request::done(&mut tx, self.id, failed).await?;
            tx.commit().await
        });
        if let Err(error) = recorded.await {
            tracing::warn!("a run that was asked for is made once more: {error}");
        }
    }
}
