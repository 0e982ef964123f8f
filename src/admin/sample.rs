//! The numbers that only the database knows, read every few seconds, so that no answer has to wait for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;

use super::{Admin, Phase};
use crate::model::volume;
use crate::store::instance::Instance;
use crate::store::lease::Leader;
use crate::store::reconcile::ReconcileRun;
use crate::store::run_request::RunRequest;
use crate::store::sync_window::SyncWindow;
use crate::store::{
    Store, StoreError, cv, held_delete, instance, job_success, lease, parked_cv, reconcile,
    run_request, sync_window, watermark,
};

/// How often.
const PERIOD: Duration = Duration::from_secs(5);

/// How often it looks whether there is anything to read yet.
const BEFORE_THE_FIRST: Duration = Duration::from_millis(100);

/// An answer that takes longer counts as none.
const PATIENCE: Duration = Duration::from_secs(10);

/// Changes of so many hours are compared with those of so many weeks before.
const HOURS: TimeDelta = TimeDelta::hours(6);
const WEEKS: i64 = 4;

/// Lines of the ledger, and of what was asked for, on the page.
const WINDOWS: i64 = 12;
const ASKED: i64 = 5;

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
    /// How many changes were listed lately, and how many are usual, where that is far more.
    pub quiet: Option<(i64, i64)>,
    /// Who leads.
    pub leader: Option<Leader>,
    /// CVs stored; an estimate where they are many.
    pub stored: i64,
    /// What the page shows besides.
    pub page: Arc<PageNumbers>,
}

/// What only the page shows.
#[derive(Clone, Debug, Default)]
pub struct PageNumbers {
    /// The latest lines of the ledger.
    pub windows: Vec<SyncWindow>,
    /// The latest comparison.
    pub reconciled: Option<ReconcileRun>,
    /// Who runs.
    pub instances: Vec<Instance>,
    /// What was asked for lately.
    pub asked: Vec<RunRequest>,
}

/// Reads the numbers until `token` is cancelled.
pub async fn sample_until(token: CancellationToken, admin: &Admin) {
    while admin.phase() == Phase::Starting && !token.is_cancelled() {
        // There may be no tables yet.
        tokio::time::sleep(BEFORE_THE_FIRST).await;
    }
    loop {
        let sample = tokio::time::timeout(PATIENCE, read(&admin.pipeline.store))
            .await
            .unwrap_or_else(|_| Err(StoreError::Passing("it does not answer".to_owned())));
        admin.board.set_sample(sample);
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            () = admin.board.look.notified() => {}
            () = token.cancelled() => return,
        }
    }
}

async fn read(store: &Store) -> Result<Numbers, StoreError> {
    let mut tx = store.begin().await?;
    let watermark = watermark::read(&mut tx).await?;
    let numbers = Numbers {
        watermark,
        quiet: quiet(&mut tx, watermark).await?,
        last_success: job_success::all(&mut tx).await?.into_iter().collect(),
        parked: parked_cv::count(&mut tx).await?.into_iter().collect(),
        held_deletes: held_delete::count(&mut tx).await?,
        difference: reconcile::last(&mut tx).await?,
        leader: lease::leader(&mut tx).await?,
        stored: cv::count(&mut tx).await?,
        page: Arc::new(page(&mut tx).await?),
    };
    tx.commit().await?;
    Ok(numbers)
}

async fn page(tx: &mut PgConnection) -> Result<PageNumbers, StoreError> {
    Ok(PageNumbers {
        windows: sync_window::latest(&mut *tx, WINDOWS).await?,
        reconciled: reconcile::latest(&mut *tx).await?,
        instances: instance::all(&mut *tx).await?,
        asked: run_request::latest(&mut *tx, ASKED).await?,
    })
}

/// Compares the hours before the watermark with the same hours of the weeks before.
async fn quiet(
    tx: &mut PgConnection,
    watermark: Option<DateTime<Utc>>,
) -> Result<Option<(i64, i64)>, StoreError> {
    let Some(now) = watermark else {
        return Ok(None);
    };
    let mut counts = Vec::new();
    for weeks in 0..=WEEKS {
        let end = now - TimeDelta::weeks(weeks);
        counts.push(sync_window::listed_between(&mut *tx, end - HOURS, end).await?);
    }
    let (lately, earlier) = (counts[0], &counts[1..]);
    Ok(volume::missed(lately, earlier).map(|usual| (lately, usual)))
}
