//! The numbers that only the database knows, read every few seconds, so that no answer has to wait for it.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use super::Admin;
use crate::store::lease::Leader;
use crate::store::{
    Store, StoreError, cv, held_delete, job_success, lease, parked_cv, reconcile, watermark,
};

/// How often.
const PERIOD: Duration = Duration::from_secs(5);

/// An answer that takes longer counts as none.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the database holds.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    /// Where the watermark stands.
    pub watermark: Option<DateTime<Utc>>,
    /// When each job last came to its end.
    pub last_success: BTreeMap<String, DateTime<Utc>>,
    /// Parked CVs by error class.
    pub parked: BTreeMap<String, i64>,
    /// Deletes that the brake holds back.
    pub held_deletes: i64,
    /// What the latest comparison with the source found: missing and extra.
    pub difference: Option<(i64, i64)>,
    /// Who leads.
    pub leader: Option<Leader>,
    /// CVs stored; an estimate where they are many.
    pub stored: i64,
}

/// Reads the numbers until `token` is cancelled.
pub async fn sample_until(token: CancellationToken, admin: &Admin) {
    loop {
        let sample = tokio::time::timeout(PATIENCE, read(&admin.pipeline.store))
            .await
            .unwrap_or_else(|_| Err(StoreError::Passing("it does not answer".to_owned())));
        admin.board.set_sample(sample);
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            () = token.cancelled() => return,
        }
    }
}

async fn read(store: &Store) -> Result<Numbers, StoreError> {
    let mut tx = store.begin().await?;
    let numbers = Numbers {
        watermark: watermark::read(&mut tx).await?,
        last_success: job_success::all(&mut tx).await?.into_iter().collect(),
        parked: parked_cv::count(&mut tx).await?.into_iter().collect(),
        held_deletes: held_delete::count(&mut tx).await?,
        difference: reconcile::last(&mut tx).await?,
        leader: lease::leader(&mut tx).await?,
        stored: cv::count(&mut tx).await?,
    };
    tx.commit().await?;
    Ok(numbers)
}
