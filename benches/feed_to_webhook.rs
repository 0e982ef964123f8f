//! The delay from the commit of a change to the webhook, and the cost of the lock that transactions with changes take.
//!
//! `cargo bench --bench feed_to_webhook`
//!
//! Runs a daemon, a receiver and writers on a private PostgreSQL. A delay starts at `at`, which is read shortly before the commit, and
//! ends when the request arrives. The target is one second. Compare several writers in one database with writers in databases of their
//! own, within the same run.

#![allow(clippy::disallowed_methods, reason = "a benchmark of its own")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::ensure;
use axum::routing::post;
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use cvsync::clock::Clock;
use cvsync::config::{Config, Env};
use cvsync::daemon::Daemon;
use cvsync::demo::postgres::{Cluster, Options, Stop};
use cvsync::model::{Brake, CvId, Document, Fate, Outcome};
use cvsync::simulator::{self, Simulator};
use cvsync::store::Store;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const CHANGES: usize = 200;
const BURST: usize = 5_000;
const BATCH: usize = 500;
const WRITERS: usize = 4;
const BATCHES: usize = 6;

/// The time of arrival of each change, and its `at`.
type Arrived = Arc<Mutex<Vec<(DateTime<Utc>, DateTime<Utc>)>>>;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    support::argument();
    let folder = tempfile::tempdir()?;
    let cluster = Cluster::start(Options {
        data: folder.path().join("data"),
        ..Options::default()
    })
    .await?;
    delays(&cluster).await?;
    turns(&cluster).await?;
    cluster.stop(Stop::Immediate).await
}

async fn delays(cluster: &Cluster) -> anyhow::Result<()> {
    let arrived = Arrived::default();
    let hook = receiver(Arc::clone(&arrived)).await?;
    let options = simulator::Options {
        candidates: 10,
        ..simulator::Options::default()
    };
    let key = options.key.clone();
    let source = Simulator::start(options, Clock::default()).await?;
    let config = Config::load(&Env::new([
        ("CVSYNC_API_BASE_URL", source.base_url()),
        ("CVSYNC_API_KEY", key),
        ("CVSYNC_DATABASE_URL", cluster.url_of("cvsync")),
        ("CVSYNC_HTTP_ADDR", "off".to_owned()),
        (
            "CVSYNC_SYNC_FROM",
            (Utc::now() - Duration::from_hours(24 * 31)).to_rfc3339(),
        ),
        ("CVSYNC_WEBHOOK_URL", hook),
        (
            "CVSYNC_WEBHOOK_SECRET",
            "whsec_ZmVlZF90b193ZWJob29rLCBhIGJlbmNobWFyaw==".to_owned(),
        ),
    ]))?;
    let store = Store::new(&config.database)?;
    let token = CancellationToken::new();
    let daemon = Daemon::prepare(config, Clock::default(), token.clone())?;
    let running = tokio::spawn(daemon.run());
    wait_for(&arrived, 1).await?;

    let before = count(&arrived);
    for number in 0..CHANGES {
        store
            .apply(
                &[change(number)],
                Brake::on(1.0),
                chrono::DateTime::UNIX_EPOCH,
            )
            .await?;
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..200))).await;
    }
    wait_for(&arrived, before + CHANGES).await?;
    tell("one at a time", &arrived, before);

    let before = count(&arrived);
    let begun = Instant::now();
    for batch in (CHANGES..CHANGES + BURST).collect::<Vec<_>>().chunks(BATCH) {
        let batch: Vec<_> = batch.iter().map(|number| change(*number)).collect();
        store
            .apply(&batch, Brake::on(1.0), chrono::DateTime::UNIX_EPOCH)
            .await?;
    }
    let written = begun.elapsed();
    wait_for(&arrived, before + BURST).await?;
    tell("at the pace of one writer", &arrived, before);
    println!(
        "  {BURST} changes were written in {:.1} s and delivered within {:.1} s",
        written.as_secs_f64(),
        begun.elapsed().as_secs_f64()
    );
    token.cancel();
    running.await?
}

/// The pace of four writers in one database, where they wait for the lock, and in four databases, where nobody waits.
async fn turns(cluster: &Cluster) -> anyhow::Result<()> {
    let mut urls = Vec::new();
    let mut connection = PgConnection::connect(cluster.url()).await?;
    for number in 0..WRITERS {
        let name = format!("feed_{number}");
        sqlx::raw_sql(AssertSqlSafe(format!("create database {name}")))
            .execute(&mut connection)
            .await?;
        urls.push(cluster.url_of(&name));
        store(&urls[number])?.migrate().await?;
    }
    let apart = pace(&urls, 0).await?;
    let together = pace(&vec![urls[0].clone(); WRITERS], 1).await?;
    println!(
        "{WRITERS} writers: {apart:.0} changes per second in databases of their own, {together:.0} in one: a share of {:.2}",
        together / apart
    );
    Ok(())
}

/// One writer for each URL, with CVs of its own.
async fn pace(urls: &[String], round: usize) -> anyhow::Result<f64> {
    let begun = Instant::now();
    let mut writers = JoinSet::new();
    for (number, url) in urls.iter().enumerate() {
        let store = store(url)?;
        writers.spawn(async move {
            for batch in 0..BATCHES {
                let first = 1_000_000 * (1 + round * WRITERS + number) + batch * BATCH;
                let batch: Vec<_> = (first..first + BATCH).map(change).collect();
                store
                    .apply(&batch, Brake::on(1.0), chrono::DateTime::UNIX_EPOCH)
                    .await?;
            }
            anyhow::Ok(())
        });
    }
    for done in writers.join_all().await {
        done?;
    }
    let changes = u32::try_from(urls.len() * BATCHES * BATCH)?;
    Ok(f64::from(changes) / begun.elapsed().as_secs_f64())
}

fn store(url: &str) -> anyhow::Result<Store> {
    let database = cvsync::config::Database::at(url).map_err(anyhow::Error::msg)?;
    Ok(Store::new(&database)?)
}

async fn receiver(arrived: Arrived) -> anyhow::Result<String> {
    let take = move |Json(events): Json<Vec<Value>>| async move {
        let now = Utc::now();
        let times = events
            .iter()
            .filter_map(|event| event["time"].as_str()?.parse().ok());
        let times = times.map(|at| (now, at));
        arrived.lock().map(|mut all| all.extend(times)).ok();
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", listener.local_addr()?);
    let router = Router::new().route("/", post(take));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(url)
}

fn count(arrived: &Arrived) -> usize {
    arrived.lock().map_or(0, |all| all.len())
}

async fn wait_for(arrived: &Arrived, changes: usize) -> anyhow::Result<()> {
    let begun = Instant::now();
    while count(arrived) < changes {
        ensure!(
            begun.elapsed() < Duration::from_mins(2),
            "only {} of {changes} changes arrived",
            count(arrived)
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

fn tell(what: &str, arrived: &Arrived, after: usize) {
    let mut delays: Vec<i64> = arrived.lock().map_or(vec![], |all| {
        let delay = |(now, at): &(DateTime<Utc>, DateTime<Utc>)| (*now - *at).num_milliseconds();
        all[after..].iter().map(delay).collect()
    });
    delays.sort_unstable();
    let at = |share: usize| delays[(delays.len() - 1) * share / 100];
    println!(
        "{what}: median {} ms, 99 % within {} ms, at most {} ms",
        at(50),
        at(99),
        at(100)
    );
}

fn change(number: usize) -> Outcome {
    let id = CvId(Uuid::from_u128(number as u128));
    let words = "ervaring ".repeat(800);
    let body = format!(r#"{{"cvId":"{id}","number":{number},"text":"{words}"}}"#);
    let (_, document) = Document::read(body.as_bytes(), &[]).expect("it is JSON with an id");
    Outcome {
        window: None,
        as_of: Utc::now(),
        fate: Fate::Live(id, document),
    }
}
