//! The cost of a crash: kills the real binary fifty times at random moments of one sync, and then checks the database.
//!
//! `cargo bench --bench kill_loop`            20,000 CVs, fifty kills, a random seed
//! `cargo bench --bench kill_loop -- 7`       the same moments again, if the machine has the same speed
//!
//! Fails unless the database contains every document of the source at the end.

#![allow(clippy::disallowed_methods, reason = "a check of its own")]

mod support;

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use chrono::TimeDelta;
use cvsync::clock::Clock;
use cvsync::demo::postgres::{Cluster, Options, Stop};
use cvsync::simulator::{self, Operation, Simulator};
use serde_json::Value;
use sqlx::{Connection, PgConnection};
use tokio::process::{Child, Command};
use tokio::time::sleep;
use uuid::Uuid;

const CANDIDATES: u32 = 20_000;
const KILLS: u32 = 50;
const WORKERS: u32 = 16;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let seed = match support::argument() {
        Some(seed) => seed.parse().context("the seed must be a number")?,
        None => fastrand::u64(..1 << 32),
    };
    println!("seed {seed}");
    let folder = tempfile::tempdir()?;
    let cluster = Cluster::start(Options {
        data: folder.path().join("data"),
        settings: vec![("fsync".to_owned(), "off".to_owned())],
        ..Options::default()
    })
    .await?;
    let clock = Clock::default();
    let source = Simulator::start(
        simulator::Options {
            candidates: CANDIDATES,
            // A sync leaves changes within CVSYNC_SETTLE_LAG to the next sync, so they would be missing at the end.
            epoch: Some(clock.now() - TimeDelta::minutes(10)),
            ..simulator::Options::default()
        },
        clock,
    )
    .await?;
    let kills = kill_again_and_again(seed, &source, &cluster).await?;
    let mut last = sync(&source, &cluster)?;
    ensure!(last.wait().await?.success(), "the last sync failed");
    report(kills, &source, &cluster).await?;
    cluster.stop(Stop::Immediate).await
}

/// The state at the kills.
struct Kills {
    number: u32,
    /// For each kill, the requested details that were not stored.
    lost: Vec<u64>,
}

async fn kill_again_and_again(
    seed: u64,
    source: &Simulator,
    cluster: &Cluster,
) -> anyhow::Result<Kills> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut kills = Kills {
        number: 0,
        lost: Vec::new(),
    };
    let details = || source.handle().calls(Operation::Detail);
    while kills.number < KILLS {
        let (before, stored) = (details(), stored(cluster).await.unwrap_or(0));
        let mut process = sync(source, cluster)?;
        // Most kills are in the middle of the sync, some in its first moments.
        let progress = random.u64(..u64::from(2 * CANDIDATES / KILLS));
        let begun = Instant::now();
        while details() < before + progress && begun.elapsed() < Duration::from_secs(10) {
            if process.try_wait()?.is_some() {
                break;
            }
            sleep(Duration::from_micros(200)).await;
        }
        sleep(Duration::from_micros(random.u64(..30_000))).await;
        process.kill().await?;
        // Statements that still run on the server finish.
        sleep(Duration::from_millis(50)).await;
        let kept = self::stored(cluster).await.unwrap_or(0) - stored;
        kills.lost.push((details() - before).saturating_sub(kept));
        kills.number += 1;
    }
    Ok(kills)
}

fn sync(source: &Simulator, cluster: &Cluster) -> anyhow::Result<Child> {
    Command::new(support::CVSYNC)
        .args(["sync", "--json"])
        .env_clear()
        .env("CVSYNC_API_BASE_URL", source.base_url())
        .env("CVSYNC_API_KEY", "test-key")
        .env("CVSYNC_API_RATE_PER_MINUTE", "1000000")
        .env("CVSYNC_DATABASE_URL", cluster.url_of("cvsync"))
        .env("CVSYNC_SYNC_FROM", "2026-01-01")
        .env("CVSYNC_WORKERS", WORKERS.to_string())
        .env("CVSYNC_LOG", "error")
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("cvsync did not start")
}

async fn database(cluster: &Cluster) -> anyhow::Result<PgConnection> {
    Ok(PgConnection::connect(&cluster.url_of("cvsync")).await?)
}

async fn stored(cluster: &Cluster) -> anyhow::Result<u64> {
    let query = sqlx::query_scalar("select count(*) from cvsync.cv");
    let count: i64 = query.fetch_one(&mut database(cluster).await?).await?;
    Ok(u64::try_from(count)?)
}

async fn report(mut kills: Kills, source: &Simulator, cluster: &Cluster) -> anyhow::Result<()> {
    let expected = source.handle().world(|world| world.live_documents());
    let rows: Vec<(Uuid, String)> = sqlx::query_as("select cv_id, document::text from cvsync.cv")
        .fetch_all(&mut database(cluster).await?)
        .await?;
    let found: BTreeMap<Uuid, Value> = rows
        .into_iter()
        .map(|(id, text)| Ok((id, serde_json::from_str(&text)?)))
        .collect::<anyhow::Result<_>>()?;
    ensure!(found == expected, "the database differs from the source");
    println!("equal                {:>8} documents", expected.len());
    let calls = source.handle().calls(Operation::Detail);
    let beyond = calls - expected.len() as u64;
    let bound = u64::from(kills.number * WORKERS);
    println!(
        "fetched again        {beyond:>8} details after {} kills; {} times workers x kills ({bound})",
        kills.number,
        tenths(beyond, bound)
    );
    kills.lost.sort_unstable();
    let place = |share: usize| kills.lost[(kills.lost.len() - 1) * share / 100];
    println!(
        "lost with each kill  {:>8} median, {} in 10 % of kills, at most {}",
        place(50),
        place(90),
        place(100)
    );
    Ok(())
}

fn tenths(number: u64, of: u64) -> String {
    let tenths = number * 10 / of.max(1);
    format!("{}.{}", tenths / 10, tenths % 10)
}
