//! The history per minute, for the plots: the leader writes it, all instances read it.

use std::time::{Duration, Instant};

use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;

use super::facts::coverage;
use super::{Admin, Phase};
use crate::model::{Lane, Tally};
use crate::store::Store;
use crate::store::StoreError;
use crate::store::history::{self, Minute};

/// Time between two readings of the lag.
const PERIOD: Duration = Duration::from_secs(15);

const MINUTE: Duration = Duration::from_mins(1);

/// Time limit of reads and writes: a missing minute does no harm.
const PATIENCE: Duration = Duration::from_secs(5);

/// The current minute.
#[derive(Debug)]
struct Under {
    since: Instant,
    lag_seconds: Option<i64>,
    /// The counts at its start.
    done: Tally,
    calls: [u64; 2],
}

/// Writes and reads until `token` is cancelled.
pub(crate) async fn keep_history_until(token: CancellationToken, admin: &Admin) {
    admin.has_tables(&token).await;
    let mut under = Under {
        // Work before this point counts for the first minute.
        done: Tally::default(),
        calls: [0; 2],
        ..Under::begin(admin)
    };
    attempt(read(admin)).await;
    loop {
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            () = token.cancelled() => return,
        }
        under.lag_seconds = under.lag_seconds.max(lag(admin));
        if under.since.elapsed() >= MINUTE {
            if admin.phase() == Phase::Leading {
                attempt(write(admin, &under)).await;
            }
            under = Under::begin(admin);
            attempt(read(admin)).await;
        }
    }
}

impl Under {
    fn begin(admin: &Admin) -> Self {
        Self {
            since: Instant::now(),
            lag_seconds: lag(admin),
            done: done(admin),
            calls: admin.view.answers_by_operation(),
        }
    }
}

fn lag(admin: &Admin) -> Option<i64> {
    let lag = admin.view.now() - coverage(admin)?.live_edge()?;
    Some(lag.num_seconds())
}

/// The counts of all runs, the current one included.
pub(super) fn done(admin: &Admin) -> Tally {
    let mut done = admin.board.done();
    for lane in Lane::ALL {
        if let Some(run) = admin.view.progress().of(*lane).snapshot() {
            done += run.tally;
        }
    }
    done
}

async fn write(admin: &Admin, under: &Under) -> Result<(), StoreError> {
    let now = done(admin);
    // Counts can fall: a run that a pause ends takes its counts with it.
    let more =
        |now: u64, before: u64| i64::try_from(now.saturating_sub(before)).unwrap_or(i64::MAX);
    let numbers = admin
        .board
        .sample()
        .and_then(Result::ok)
        .unwrap_or_default();
    // Each operation has its own quota. A recorded minute is mostly a few seconds longer, so the calls are scaled.
    let calls = admin.view.answers_by_operation();
    let calls = calls.iter().zip(&under.calls);
    let busiest = calls.map(|(now, before)| more(*now, *before)).max();
    let seconds = i64::try_from(under.since.elapsed().as_secs()).unwrap_or(i64::MAX);
    let busiest = busiest.unwrap_or(0).saturating_mul(60) / seconds.max(60);
    let minute = Minute {
        lag_seconds: under.lag_seconds,
        upserted: more(
            now.inserted + now.updated,
            under.done.inserted + under.done.updated,
        ),
        deleted: more(now.deleted, under.done.deleted),
        calls: busiest,
        parked: numbers.parked.values().sum(),
        stored: numbers.stored,
        ..Minute::default()
    };
    let record = async |tx: &mut PgConnection| history::record(tx, &minute).await;
    store(admin).write("recording a minute", record).await
}

async fn read(admin: &Admin) -> Result<(), StoreError> {
    let minutes = store(admin)
        .read("reading the last day", history::last_day)
        .await?;
    admin.board.set_history(minutes);
    Ok(())
}

/// These rows need no lease.
fn store(admin: &Admin) -> Store {
    admin.store.bookkeeping().within(PATIENCE)
}

async fn attempt(work: impl Future<Output = Result<(), StoreError>>) {
    // Other code reports an unreachable database.
    if let Err(error) = work.await {
        tracing::debug!("cannot record or read the history of a minute: {error}");
    }
}
