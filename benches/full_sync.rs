//! The pace and the cost of a full sync: the real binary with a simulator and a private PostgreSQL.
//!
//! `cargo bench --bench full_sync`            20,000 CVs, then a second sync without changes
//! `cargo bench --bench full_sync -- 200000`  as many CVs as you like
//! `cargo bench --bench full_sync -- indexes` the cost of readers' indexes and search: with and without them, in turn
//! `cargo bench --bench full_sync -- observed` the cost of traces and metrics, and the response times of the status page meanwhile
//! `cargo bench --bench full_sync -- quota`   the used share of a quota of 600 per minute (four minutes)
//!
//! Compare figures only within one run. "PostgreSQL's pace" is the pace of one writer that only stores the same documents.

#![allow(clippy::disallowed_methods, reason = "a benchmark of its own")]

mod support;

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use chrono::{DateTime, Utc};
use cvsync::clock::Clock;
use cvsync::demo::postgres::{Cluster, Options, Stop};
use cvsync::model::{Brake, CvId, Document, Fate, Outcome};
use cvsync::simulator::{self, Operation, Simulator};
use cvsync::store::Store;
use sqlx::{Connection, PgConnection};
use tokio::process::Command;

use self::support::children_cpu_seconds;

const CANDIDATES: u32 = 20_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let argument = support::argument();
    let folder = tempfile::tempdir()?;
    let cluster = Cluster::start(Options {
        data: folder.path().join("data"),
        ..Options::default()
    })
    .await?;
    match argument.as_deref() {
        Some("quota") => quota(&cluster).await?,
        Some("indexes") => indexes(&cluster).await?,
        Some("observed") => observed(&cluster).await?,
        Some(number) => full_sync(&cluster, number.parse().context("how many CVs?")?).await?,
        None => full_sync(&cluster, CANDIDATES).await?,
    }
    cluster.stop(Stop::Immediate).await
}

async fn full_sync(cluster: &Cluster, candidates: u32) -> anyhow::Result<()> {
    let ceiling = ceiling(cluster, candidates.min(CANDIDATES)).await?;
    println!("PostgreSQL alone     {ceiling:>8.0} CVs per second, one writer, batches of 500");
    let source = source(candidates, 0).await?;
    let full = sync(&source, cluster).await?;
    let count = f64::from(candidates);
    let pace = count / full.took.as_secs_f64();
    println!(
        "full sync            {pace:>8.0} CVs per second, {:.0} % of PostgreSQL's pace",
        pace / ceiling * 100.0
    );
    println!(
        "  {candidates} CVs in {:.1} s; for 1,000 of them {:.3} s of the daemon's CPU; at most {} MiB",
        full.took.as_secs_f64(),
        full.cpu / count * 1e3,
        full.peak_kib / 1024
    );
    let again = sync(&source, cluster).await?;
    println!(
        "without changes      {:>8.2} s in total",
        again.took.as_secs_f64()
    );
    let first = first_request(&source, cluster).await?;
    println!("start to first call  {:>8} ms", first.as_millis());
    Ok(())
}

/// How much of its pace a full sync loses to indexes that the sync itself does not use.
async fn indexes(cluster: &Cluster) -> anyhow::Result<()> {
    const ROUNDS: u32 = 3;
    const READERS: [(&str, &str); 2] = [
        ("cv_changed alone", "drop table cvsync.cv_search cascade"),
        (
            "none",
            "drop table cvsync.cv_search cascade; drop index cvsync.cv_changed",
        ),
    ];
    let source = source(CANDIDATES, 0).await?;
    let url = cluster.url_of("cvsync");
    let store = Store::new(&cvsync::config::Database::at(&url).map_err(anyhow::Error::msg)?)?;
    let mut connection = PgConnection::connect(&url).await?;
    let mut paces = vec![("all", Vec::new())];
    paces.extend(READERS.map(|(name, _)| (name, Vec::new())));
    for _ in 0..ROUNDS {
        for (at, (name, found)) in paces.iter_mut().enumerate() {
            empty(cluster).await?;
            store.migrate().await?;
            if let Some((_, drop)) = at.checked_sub(1).map(|at| READERS[at]) {
                sqlx::raw_sql(drop).execute(&mut connection).await?;
            }
            let run = sync(&source, cluster).await?;
            let pace = f64::from(CANDIDATES) / run.took.as_secs_f64();
            println!("{name:<17}  {pace:>6.0} CVs per second");
            found.push(pace);
        }
    }
    let middle = |found: &[f64]| {
        let mut found = found.to_vec();
        found.sort_by(f64::total_cmp);
        found[found.len() / 2]
    };
    let without = paces.last().map_or(1.0, |(_, found)| middle(found));
    for (name, found) in &paces {
        let lost = (1.0 - middle(found) / without) * 100.0;
        println!("{name:<17}  costs {lost:>3.0} % of the pace without indexes, by the medians");
    }
    connection.close().await?;
    Ok(())
}

/// The cost of observation: one CV in a hundred traced and pushed, compared with none, and the response times meanwhile.
async fn observed(cluster: &Cluster) -> anyhow::Result<()> {
    const ROUNDS: u32 = 4;
    let source = source(CANDIDATES, 0).await?;
    let receiver = axum::Router::new().fallback(async |body: axum::body::Bytes| drop(body));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, receiver).await });
    let pushed = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint),
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.01"),
    ];
    let mut paces = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (env, paces) in [&[][..], &pushed[..]].into_iter().zip(&mut paces) {
            empty(cluster).await?;
            let run = sync_with(&source, cluster, env).await?;
            paces.push(f64::from(CANDIDATES) / run.took.as_secs_f64());
        }
    }
    let [without, with] = paces.map(|mut paces| {
        paces.sort_by(f64::total_cmp);
        println!("{paces:.0?} CVs per second");
        paces[paces.len() / 2]
    });
    println!(
        "pushed, 1 in 100 traced: {with:.0} CVs per second, {without:.0} without: {:.1} % lost, by the medians",
        (1.0 - with / without) * 100.0
    );
    answers(&source, cluster).await
}

async fn empty(cluster: &Cluster) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(&cluster.url_of("cvsync")).await?;
    sqlx::raw_sql("drop schema if exists cvsync cascade")
        .execute(&mut connection)
        .await?;
    Ok(connection.close().await?)
}

/// The response times of the page, the status and the metrics while a sync runs at full speed.
async fn answers(source: &Simulator, cluster: &Cluster) -> anyhow::Result<()> {
    const ADDRESS: &str = "127.0.0.1:18181";
    const PATHS: [&str; 3] = ["/metrics", "/api/status", "/"];
    empty(cluster).await?;
    let client = reqwest::Client::builder().no_proxy().build()?;
    let mut took = BTreeMap::new();
    let env = [("CVSYNC_HTTP_ADDR", ADDRESS)];
    let mut run = std::pin::pin!(sync_with(source, cluster, &env));
    for path in PATHS.iter().cycle() {
        let begun = Instant::now();
        let asked = client.get(format!("http://{ADDRESS}{path}")).send();
        let answer = tokio::select! {
            run = &mut run => {
                run?;
                break;
            }
            answer = async { asked.await?.bytes().await } => answer,
        };
        match answer {
            Ok(_) => took
                .entry(path)
                .or_insert_with(Vec::new)
                .push(begun.elapsed()),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    for (path, mut took) in took {
        took.sort_unstable();
        let at = |share: usize| took[(took.len() - 1) * share / 100];
        println!(
            "{path:<12} median {:?}, 99 % within {:?}, of {}",
            at(50),
            at(99),
            took.len()
        );
    }
    Ok(())
}

/// Stores documents in the same way as the pipeline, and does nothing else.
async fn ceiling(cluster: &Cluster, candidates: u32) -> anyhow::Result<f64> {
    let options = simulator::Options {
        candidates,
        ..simulator::Options::default()
    };
    let simulator = Simulator::start(options, Clock::default()).await?;
    let outcomes: Vec<Outcome> = simulator.handle().world(|world| {
        let ids: Vec<_> = world.live_ids().collect();
        ids.into_iter()
            .filter_map(|id| {
                let (_, document) = Document::read(world.document(id)?.as_bytes(), &[]).ok()?;
                Some(Outcome {
                    window: None,
                    as_of: world.now(),
                    fate: Fate::Live(CvId(id), document),
                })
            })
            .collect()
    });
    let store = Store::new(
        &cvsync::config::Database::at(&cluster.url_of("postgres")).map_err(anyhow::Error::msg)?,
    )?;
    store.migrate().await?;
    let begun = Instant::now();
    for batch in outcomes.chunks(500) {
        store
            .apply(batch, Brake::on(0.2), chrono::DateTime::UNIX_EPOCH)
            .await?;
    }
    Ok(f64::from(u32::try_from(outcomes.len())?) / begun.elapsed().as_secs_f64())
}

async fn quota(cluster: &Cluster) -> anyhow::Result<()> {
    let source = source(4_000, 600).await?;
    let mut child = command(&source, cluster, 600, "sync").spawn()?;
    let details = || source.handle().calls(Operation::Detail);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let before = details();
    tokio::time::sleep(Duration::from_mins(3)).await;
    let used = f64::from(u32::try_from(details() - before)?) / 1_800.0;
    let refused = source
        .handle()
        .call_log()
        .iter()
        .filter(|call| call.status == Some(429))
        .count();
    println!(
        "quota of 600         {:>8.1} % used in three minutes, {refused} responses were 429",
        used * 100.0
    );
    child.start_kill()?;
    child.wait().await?;
    Ok(())
}

async fn source(candidates: u32, rate_per_minute: u32) -> anyhow::Result<Simulator> {
    let options = simulator::Options {
        candidates,
        rate_per_minute: Some(rate_per_minute),
        ..simulator::Options::default()
    };
    Ok(Simulator::start(options, Clock::default()).await?)
}

fn command(source: &Simulator, cluster: &Cluster, rate_per_minute: u32, what: &str) -> Command {
    let mut command = Command::new(support::CVSYNC);
    command
        .arg(what)
        .env_clear()
        .env("CVSYNC_HTTP_ADDR", "off")
        .env("CVSYNC_API_BASE_URL", source.base_url())
        .env("CVSYNC_API_KEY", "test-key")
        .env("CVSYNC_API_RATE_PER_MINUTE", rate_per_minute.to_string())
        .env("CVSYNC_DATABASE_URL", cluster.url_of("cvsync"))
        .env("CVSYNC_SYNC_FROM", "2026-01-01")
        .env("CVSYNC_LOG", "warn")
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// The work of one process, and its cost.
struct Run {
    took: Duration,
    cpu: f64,
    peak_kib: u64,
}

/// The first run of a daemon, which also makes CVs searchable.
async fn sync(source: &Simulator, cluster: &Cluster) -> anyhow::Result<Run> {
    sync_with(source, cluster, &[]).await
}

async fn sync_with(
    source: &Simulator,
    cluster: &Cluster,
    env: &[(&str, &str)],
) -> anyhow::Result<Run> {
    let mut database = PgConnection::connect(&cluster.url_of("cvsync")).await?;
    let before = watermark(&mut database).await;
    let (cpu, begun) = (children_cpu_seconds()?, Instant::now());
    let mut child = command(source, cluster, 1_000_000, "run")
        .envs(env.iter().copied())
        .spawn()?;
    let pid = child.id().context("the daemon ended at once")?;
    let mut peak_kib = 0;
    while watermark(&mut database).await == before {
        ensure!(child.try_wait()?.is_none(), "the daemon ended");
        peak_kib = peak_kib.max(peak(pid).unwrap_or(0));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let took = begun.elapsed();
    Command::new("kill").arg(pid.to_string()).status().await?;
    child.wait().await?;
    Ok(Run {
        took,
        cpu: children_cpu_seconds()? - cpu,
        peak_kib,
    })
}

/// Up to here everything is stored: the first sync sets it once its last window is settled. `None` before that.
async fn watermark(database: &mut PgConnection) -> Option<DateTime<Utc>> {
    sqlx::query_scalar("select position from cvsync.watermark")
        .fetch_optional(database)
        .await
        .ok()
        .flatten()
}

async fn first_request(source: &Simulator, cluster: &Cluster) -> anyhow::Result<Duration> {
    let calls = || source.handle().calls(Operation::Bulk);
    let (before, begun) = (calls(), Instant::now());
    let mut child = command(source, cluster, 1_000_000, "sync").spawn()?;
    while calls() == before {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let took = begun.elapsed();
    child.wait().await?;
    Ok(took)
}

/// The peak memory of a process.
fn peak(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
