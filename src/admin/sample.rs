//! Figures from the database, read every few seconds, so that no HTTP response waits for the database.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;

use super::Admin;
use crate::model::{Coverage, Job, volume};
use crate::store::feed_consumer::Consumer;
use crate::store::instance::Instance;
use crate::store::lease::Leader;
use crate::store::reconcile_run::ReconcileRun;
use crate::store::refit::Refit;
use crate::store::run_request::RunRequest;
use crate::store::sync_window::SyncWindow;
use crate::store::{
    Store, StoreError, clock_doubt, coverage, cv, cv_change, cv_search, cv_seen, feed,
    feed_consumer, held_delete, instance, job_success, lease, parked_cv, reconcile_run, refit,
    run_request, suppressed_cv, sync_window,
};

/// Time between two samples.
const PERIOD: Duration = Duration::from_secs(5);

/// Time between two readings of [`Ages`], which scan a table.
const AGES_PERIOD: Duration = Duration::from_mins(5);

/// The median, the 99th percentile and the maximum.
pub(super) const QUANTILES: [f64; 3] = [0.5, 0.99, 1.0];

/// Time limit of a sample.
const PATIENCE: Duration = Duration::from_secs(10);

/// The changes of the last hours are compared with the same hours of the weeks before.
const HOURS: TimeDelta = TimeDelta::hours(6);
const WEEKS: i64 = 4;

/// The most consumers of the feed in metrics and status.
const CONSUMERS: i64 = 20;

/// Windows and requested runs on the page.
const WINDOWS: i64 = 12;
const ASKED: i64 = 5;

#[derive(Clone, Debug, Default)]
pub struct Numbers {
    /// The settled spans.
    pub coverage: Coverage,
    pub last_success: BTreeMap<Job, DateTime<Utc>>,
    /// Parked CVs by error class.
    pub parked: BTreeMap<String, i64>,
    /// Deletes that nobody has approved.
    pub held_deletes: i64,
    /// When the oldest of them was held.
    pub held_since: Option<DateTime<Utc>>,
    /// CVs that must not be stored.
    pub suppressed: i64,
    /// The progress of bringing documents into the shape of the settings.
    pub refit: Option<Refit>,
    /// Whether CVs were confirmed while clocks disagreed and wait for the next relist or reconcile.
    pub clock_doubt: bool,
    /// Since when every CV that is confirmed is announced.
    pub announcing_since: Option<DateTime<Utc>>,
    pub leader: Option<Leader>,
    /// CVs stored; an estimate for large tables.
    pub stored: i64,
    /// Seconds since the oldest parked CV was parked.
    pub parked_oldest_age: f64,
    pub feed_seq: i64,
    /// At most 20, those that are furthest behind.
    pub consumers: Vec<Consumer>,
    /// CVs that PostgreSQL cannot index for search.
    pub unsearchable: i64,
    /// Changes in the last six hours, and the usual number if known.
    pub changes: Option<(i64, Option<i64>)>,
    /// Read every five minutes, because it scans a table.
    pub ages: Arc<Ages>,
    pub page: Arc<PageNumbers>,
}

#[derive(Clone, Debug, Default)]
pub struct Ages {
    pub tombstones: i64,
    /// CVs that do not match CVSYNC_KEEP.
    pub filtered: i64,
    /// Seconds since documents were last confirmed, for each of [`QUANTILES`]; empty without documents.
    pub verified: Vec<f64>,
}

/// Figures that only the page shows.
#[derive(Clone, Debug, Default)]
pub struct PageNumbers {
    pub windows: Vec<SyncWindow>,
    pub reconciled: Option<ReconcileRun>,
    pub instances: Vec<Instance>,
    /// The latest runs that were requested.
    pub asked: Vec<RunRequest>,
}

/// Reads the numbers until `token` is cancelled.
pub(crate) async fn sample_until(token: CancellationToken, admin: &Admin) {
    admin.has_tables(&token).await;
    let store = admin.store.within(PATIENCE);
    let mut ages = Arc::new(Ages::default());
    let mut ages_at: Option<Instant> = None;
    loop {
        // Without documents the read is fast, so it is repeated until there are some.
        if ages_at.is_none_or(|at| ages.verified.is_empty() || at.elapsed() >= AGES_PERIOD)
            && let Ok(read) = read_ages(&store).await
        {
            ages = Arc::new(read);
            ages_at = Some(Instant::now());
        }
        // Metrics that are pushed are never scraped.
        admin.view.count_closed_time();
        let of_run = admin.view.coverage();
        let sample = async |tx: &mut PgConnection| Numbers::read(tx, Arc::clone(&ages)).await;
        let sample = store.read("reading the numbers", sample).await;
        admin.board.set_sample(sample, of_run);
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            () = admin.board.early.notified() => {}
            () = token.cancelled() => return,
        }
    }
}

async fn read_ages(store: &Store) -> Result<Ages, StoreError> {
    let ages = async |tx: &mut PgConnection| cv_seen::ages(tx, &QUANTILES).await;
    let (tombstones, filtered, verified) = store.read("reading ages", ages).await?;
    Ok(Ages {
        tombstones,
        filtered,
        verified: verified.unwrap_or_default(),
    })
}

impl Numbers {
    /// Reads all but `ages`.
    pub async fn read(tx: &mut PgConnection, ages: Arc<Ages>) -> Result<Self, StoreError> {
        // As it is stored: the verdict says if a time in it lies in the future.
        let coverage = coverage::read(&mut *tx, DateTime::<Utc>::MAX_UTC).await?;
        let (held_deletes, held_since) = held_delete::count(&mut *tx).await?;
        Ok(Self {
            changes: changes(&mut *tx, coverage.live_edge()).await?,
            coverage,
            parked_oldest_age: parked_cv::oldest_age(&mut *tx).await?,
            feed_seq: cv_change::last_seq(&mut *tx).await?,
            consumers: feed_consumer::slowest(&mut *tx, CONSUMERS).await?,
            unsearchable: cv_search::set_aside(&mut *tx).await?,
            ages,
            last_success: job_success::shown(&mut *tx).await?,
            parked: parked_cv::count(&mut *tx).await?.into_iter().collect(),
            held_deletes,
            suppressed: suppressed_cv::count(&mut *tx).await?,
            refit: refit::current(&mut *tx).await?,
            held_since,
            announcing_since: feed::announcing_since(&mut *tx).await?,
            clock_doubt: clock_doubt::read(&mut *tx).await?.is_some(),
            leader: lease::leader(&mut *tx).await?,
            stored: cv::count(&mut *tx).await?,
            page: Arc::new(page(&mut *tx).await?),
        })
    }
}

async fn page(tx: &mut PgConnection) -> Result<PageNumbers, StoreError> {
    Ok(PageNumbers {
        windows: sync_window::latest(&mut *tx, WINDOWS).await?,
        reconciled: reconcile_run::latest(&mut *tx).await?,
        instances: instance::all(&mut *tx).await?,
        asked: run_request::latest(&mut *tx, ASKED).await?,
    })
}

/// Changes that were listed in the hours before the live edge, and the usual number in the same hours of the weeks before.
async fn changes(
    tx: &mut PgConnection,
    edge: Option<DateTime<Utc>>,
) -> Result<Option<(i64, Option<i64>)>, StoreError> {
    let Some(now) = edge else {
        return Ok(None);
    };
    let mut counts = Vec::new();
    for weeks in 0..=WEEKS {
        let end = now - TimeDelta::weeks(weeks);
        counts.push(sync_window::listed_between(&mut *tx, end - HOURS, end).await?);
    }
    Ok(Some((counts[0], volume::usual(&counts[1..]))))
}
