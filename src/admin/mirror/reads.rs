//! The database from which the mirror answers: the primary, or a standby of it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;

use super::fences::Fences;
use crate::config::DATABASE_READ_URL;
use crate::model::health::limits;
use crate::model::words::span;
use crate::store::{Store, StoreError, fence};

/// Time between two checks of the standby.
const PERIOD: Duration = Duration::from_secs(5);

/// How long the standby may take to replay a fence before it counts as behind.
pub(super) const REPLAY: Duration = Duration::from_secs(2);

/// Time between two looks whether it has replayed a fence.
pub(super) const LOOK: Duration = Duration::from_millis(25);

#[derive(Debug)]
pub(super) struct Reads {
    store: Store,
    pub(super) fences: Arc<Fences>,
    /// `None` if the mirror reads from the primary.
    standby: Option<Mutex<Standby>>,
}

/// The result of the latest check of the standby.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standby {
    /// How far it is behind the primary; `None` while unknown.
    pub lag: Option<TimeDelta>,
    /// Why it cannot be read; `None` if it can.
    pub error: Option<String>,
}

impl Standby {
    /// Its fault, as a sentence without its end.
    pub(crate) fn trouble(&self) -> Option<String> {
        let late = self.lag.filter(|lag| *lag > limits::REPLICA);
        let error = self.error.as_ref();
        error
            .map(|error| format!("the mirror cannot read from its replica: {error}"))
            .or_else(|| Some(format!("the mirror's replica is {} behind", span(late?))))
    }
}

impl Reads {
    pub(super) fn new(primary: Store, store: Store, is_standby: bool) -> Self {
        Self {
            fences: Arc::new(Fences::new(primary, is_standby)),
            standby: is_standby.then(Mutex::default),
            store,
        }
    }

    pub(super) fn is_standby(&self) -> bool {
        self.standby.is_some()
    }

    /// The result of the latest check, if the mirror reads from a standby.
    pub(super) fn standby(&self) -> Option<Standby> {
        let standby = self.standby.as_ref()?.lock();
        Some(standby.unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Does `work` in one snapshot, which holds every change before the time that `work` is given.
    ///
    /// # Errors
    /// [`StoreError::Passing`] if the snapshot is not of the history in which this instance set its latest fence.
    pub(super) async fn read<T>(
        &self,
        what: &'static str,
        work: impl AsyncFnOnce(&mut PgConnection, DateTime<Utc>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let read = async |tx: &mut PgConnection| {
            if self.is_standby() && fence::home(tx).await? != Some(self.expected_home()?) {
                self.fences.distrust();
                return Err(StoreError::Passing(format!(
                    "the server in {DATABASE_READ_URL} has not replayed the latest history of the primary; check that it is a standby of the server in CVSYNC_DATABASE_URL and follows it: cvsync check"
                )));
            }
            let as_of = fence::as_of(tx).await?;
            work(tx, as_of).await
        };
        self.store.read(what, read).await
    }

    fn expected_home(&self) -> Result<String, StoreError> {
        self.fences.home().ok_or_else(|| {
            StoreError::Passing(
                "the mirror has not reached the primary yet, so it cannot recognise its standby"
                    .to_owned(),
            )
        })
    }

    /// Checks the standby every few seconds until `token` is cancelled.
    pub(super) async fn watch_until(&self, token: &CancellationToken) {
        let Some(standby) = &self.standby else {
            return;
        };
        while !token.is_cancelled() {
            let checked = token.run_until_cancelled(self.check()).await;
            if let Some(checked) = checked {
                *standby.lock().unwrap_or_else(PoisonError::into_inner) = checked;
            }
            token.run_until_cancelled(tokio::time::sleep(PERIOD)).await;
        }
    }

    async fn check(&self) -> Standby {
        // Without the primary, the lag is unknown. Its outage is reported elsewhere.
        let fence = self.fences.after(DateTime::<Utc>::MAX_UTC).await.ok();
        if self.fences.home().is_none() {
            return Standby::default();
        }
        let begun = Instant::now();
        loop {
            let as_of = self
                .read("looking at the read replica", async |_, as_of| Ok(as_of))
                .await;
            let lag = match (fence, &as_of) {
                (Some(fence), Ok(as_of)) => Some((fence - *as_of).max(TimeDelta::zero())),
                _ => None,
            };
            if begun.elapsed() >= REPLAY || (as_of.is_ok() && lag.is_none_or(|lag| lag.is_zero())) {
                let error = as_of.err().map(|error| error.to_string());
                return Standby { lag, error };
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
