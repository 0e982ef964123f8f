//! Makes CVs searchable, after the syncs and beside them: it follows the change feed into `cv_search`, a slice at a time.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;

use super::Pipeline;
use crate::model::Job;
use crate::pauses::Pauses;
use crate::store::{Store, StoreError, cv_search, lease};
use crate::telemetry::Throttle;

static FAILED: Throttle = Throttle::new();

/// Changes in one transaction, a tenth of a second's work for PostgreSQL. After an error it is one change, since one slow
/// document may make the whole slice time out.
const SLICE: i64 = 100;

/// How often it looks for changes.
const PERIOD: Duration = Duration::from_millis(500);

/// The longest pause between two attempts while the database is down.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// While a run is under way, each slice is followed by a rest that is this many times as long.
const REST: u32 = 4;

/// Follows the feed until it is dropped.
pub async fn follow(pipeline: &Pipeline) -> Infallible {
    let fresh = || Pauses::new(PERIOD, LONGEST_PAUSE);
    let mut pauses = fresh();
    let mut size = SLICE;
    loop {
        let begun = Instant::now();
        let done = slice(&pipeline.store, size).await;
        let trouble = done
            .as_ref()
            .err()
            .map(|error| format!("search does not follow the changes: {error}"));
        pipeline.beside(Job::Search, trouble);
        let pause = match done {
            Ok(done) => {
                pauses = fresh();
                size = SLICE;
                match done {
                    true => PERIOD,
                    false if pipeline.progress.shown().is_some() => begun.elapsed() * REST,
                    false => Duration::ZERO,
                }
            }
            Err(error) => {
                if let Some(total) = FAILED.due("", 1) {
                    tracing::warn!(total, "retrying to make CVs searchable: {error}");
                }
                size = 1;
                pauses.next_pause()
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Follows the feed to its end, unless a daemon does: for commands that sync without one.
///
/// If `token` or the database stops it, the next command continues.
pub async fn catch_up(store: &Store, token: &CancellationToken) {
    let mut rest = Ok(!is_led(store).await.unwrap_or(false));
    while let Ok(true) = rest
        && !token.is_cancelled()
    {
        rest = slice(store, SLICE).await.map(|done| !done);
    }
    if let Err(error) = rest {
        tracing::warn!("not all CVs can be searched for yet: {error}");
    }
}

async fn is_led(store: &Store) -> Result<bool, StoreError> {
    let leader = store.read("looking for the leader", lease::leader).await?;
    Ok(leader.is_some_and(|leader| leader.alive))
}

/// True if no change is left.
async fn slice(store: &Store, size: i64) -> Result<bool, StoreError> {
    let is_behind = store.read("looking for changes to index", cv_search::is_behind);
    if !is_behind.await? {
        return Ok(true);
    }
    let take_up = async |tx: &mut PgConnection| cv_search::take_up(tx, size).await;
    let taken = store.write("making CVs searchable", take_up).await?;
    if taken.set_aside > 0 {
        tracing::error!(
            cvs = taken.set_aside,
            "PostgreSQL cannot index these CVs, so searches do not find them; see the table cvsync.cv_unsearchable"
        );
    }
    Ok(i64::try_from(taken.changes).unwrap_or(i64::MAX) < size)
}
