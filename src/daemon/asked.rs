//! Runs that a person asked for over HTTP, of whichever instance: taken up one at a time by the one that leads.

use std::time::Duration;

use sqlx::PgConnection;

use crate::model::CvId;
use crate::store::run_request::{self, What};
use crate::store::{Store, ended_suppression};
use crate::sync::Request;

/// A database that answers later is asked again at the next ring: nothing that is due by itself waits for this.
const PATIENCE: Duration = Duration::from_secs(1);

/// A run that was asked for and is taken up.
#[derive(Debug)]
pub(super) struct Asked {
    id: i64,
    pub request: Request,
}

/// Whether any request waits, or a suppression has ended.
pub(super) async fn waits(store: &Store) -> bool {
    let any = async |tx: &mut PgConnection| {
        Ok(run_request::any(tx).await? || ended_suppression::any(tx).await?)
    };
    let store = store.within(PATIENCE);
    let waits = store.read("looking for runs that were asked for", any);
    waits.await.unwrap_or(false)
}

/// The one that has waited longest.
pub(super) async fn take(store: &Store) -> Option<Asked> {
    // It is asked each second, and a write costs a flush, also one that finds nothing.
    if !waits(store).await {
        return None;
    }
    let take = async |tx: &mut PgConnection| {
        let lifted = ended_suppression::lift(tx).await?;
        if !lifted.is_empty() {
            run_request::ask(tx, What::Resync, &lifted).await?;
        }
        let Some(row) = run_request::take(tx).await? else {
            return Ok(None);
        };
        let request = match row.what {
            What::Sync => Request::Live,
            What::Resync => Request::These(row.ids.into_iter().map(CvId).collect()),
            What::Approve => Request::Approved,
        };
        Ok(Some(Asked {
            id: row.id,
            request,
        }))
    };
    let store = store.within(PATIENCE);
    let asked = store.write("taking up what was asked for", take);
    asked.await.unwrap_or_else(|error| {
        tracing::debug!("cannot look for runs that were asked for: {error}");
        None
    })
}

impl Asked {
    /// Records that the run has ended. If that fails, the run is repeated, which does no harm.
    pub(super) async fn done(self, store: &Store, failed: bool) {
        let done = async |tx: &mut PgConnection| run_request::done(tx, self.id, failed).await;
        let store = store.within(PATIENCE);
        if let Err(error) = store.write("recording what was asked for", done).await {
            tracing::warn!("a run that was asked for is made once more: {error}");
        }
    }
}
