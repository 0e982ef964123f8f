//! Work of the leader beside its runs: lend calls to tools, make CVs searchable, bring documents into shape, keep reference data,
//! remove old records of access. Runs never wait for it.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use sqlx::PgConnection;
use tokio::sync::watch;

use super::schedule::Ticker;
use crate::clock::Clock;
use crate::model::Job;
use crate::store::cv_access;
use crate::store::pause::Pause;
use crate::sync::{Pipeline, loan, refit, searchable};

/// How often it is asked whether reference data is due: soon after the first sync.
const PERIOD: Duration = Duration::from_secs(5);

/// How often old records of access are removed, and the pause between two batches of them.
const TRIM_EVERY: Duration = Duration::from_mins(1);
const BETWEEN_TRIMS: Duration = Duration::from_millis(100);

/// Diplomas that are looked up in one go: ten minutes at their pace.
const LOOK_UPS: usize = 600;

/// The first pause after a failure, or if work is left over. Each further failure doubles it.
const AGAIN: Duration = Duration::from_hours(1);

/// The longest pause.
const SELDOM: Duration = Duration::from_hours(24);

/// All of it, for as long as this instance leads.
pub(super) async fn keep(
    pipeline: &Pipeline,
    clock: &Clock,
    pause: watch::Receiver<Option<Pause>>,
) -> Infallible {
    tokio::select! {
        never = loan::lend(&pipeline.vdab, &pipeline.store) => never,
        never = searchable::follow(pipeline) => never,
        never = refit::follow(pipeline, pause.clone()) => never,
        never = keep_reference(pipeline, clock, pause) => never,
        never = trim_accesses(pipeline) => never,
    }
}

/// Removes records of the mirror that are older than their retention, a few at a time.
async fn trim_accesses(pipeline: &Pipeline) -> Infallible {
    let Some(retention) = pipeline.settings.access_retention else {
        return std::future::pending().await;
    };
    loop {
        let trim = async |tx: &mut PgConnection| cv_access::trim(tx, retention).await;
        let trimmed = pipeline.store.write("removing old accesses", trim).await;
        let rest = match trimmed {
            Ok(true) => BETWEEN_TRIMS,
            Ok(false) => TRIM_EVERY,
            Err(error) => {
                tracing::debug!("cannot remove old records of access: {error}");
                TRIM_EVERY
            }
        };
        tokio::time::sleep(rest).await;
    }
}

async fn keep_reference(
    pipeline: &Pipeline,
    clock: &Clock,
    mut pause: watch::Receiver<Option<Pause>>,
) -> Infallible {
    let Some(schedule) = &pipeline.settings.reference.schedule else {
        return std::future::pending().await;
    };
    // Until it was done once it is due as soon as there are CVs.
    let mut done: Option<Ticker> = None;
    let mut not_before = Instant::now();
    let mut pause_after_failure = AGAIN;
    loop {
        tokio::time::sleep(PERIOD).await;
        if pause.borrow_and_update().is_some() || Instant::now() < not_before {
            continue;
        }
        let due = if let Some(ticker) = &mut done {
            ticker.is_due(clock.now())
        } else {
            let last = pipeline.last_success().await.unwrap_or_default();
            done = last
                .get(&Job::Reference)
                .map(|at| Ticker::new(schedule.clone(), (*at).min(clock.now())));
            done.is_none() && pipeline.coverage.borrow().watermark.is_some()
        };
        if !due {
            continue;
        }
        let ended = tokio::select! {
            ended = refresh(pipeline) => ended,
            // A pause drops the work under way, as for runs.
            _ = pause.changed() => continue,
        };
        pipeline.beside(Job::Reference, ended.error());
        match ended {
            Ended::Whole => {
                done = Some(Ticker::new(schedule.clone(), clock.now()));
                pause_after_failure = AGAIN;
            }
            Ended::More => not_before = Instant::now() + AGAIN,
            Ended::Failed(_) => {
                not_before = Instant::now() + pause_after_failure;
                pause_after_failure = (pause_after_failure * 2).min(SELDOM);
            }
        }
    }
}

/// How a refreshment ended.
enum Ended {
    /// Nothing is left to do.
    Whole,
    /// There are more diplomas to look up.
    More,
    /// With the first error.
    Failed(String),
}

impl Ended {
    fn error(&self) -> Option<String> {
        match self {
            Self::Whole | Self::More => None,
            Self::Failed(error) => Some(format!("reference data is out of date: {error}")),
        }
    }
}

async fn refresh(pipeline: &Pipeline) -> Ended {
    let refreshed = match pipeline.refresh_reference(LOOK_UPS).await {
        Ok(refreshed) => refreshed,
        Err(error) => {
            tracing::warn!("reference data stays as it was: {error}");
            return Ended::Failed(error.to_string());
        }
    };
    for list in &refreshed.lists {
        if let Some(error) = &list.error {
            tracing::warn!(list = list.list, "reference data stays as it was: {error}");
        }
    }
    let diplomas = refreshed.diplomas.as_ref();
    if let Some(error) = diplomas.and_then(|diplomas| diplomas.error.as_ref()) {
        tracing::warn!("some diplomas could not be looked up: {error}");
    }
    tracing::info!(
        lists = refreshed.lists.len(),
        codes = refreshed.lists.iter().map(|list| list.codes).sum::<usize>(),
        diplomas_found = diplomas.map_or(0, |diplomas| diplomas.found),
        diplomas_unknown = diplomas.map_or(0, |diplomas| diplomas.unknown),
        diplomas_left = diplomas.map_or(0, |diplomas| diplomas.left),
        "reference data fetched"
    );
    match (refreshed.complete(), refreshed.error()) {
        (true, _) => Ended::Whole,
        (false, None) => Ended::More,
        (false, Some(error)) => Ended::Failed(error),
    }
}
