//! How long the statements take that walk through whole tables, on millions of narrow rows of which hardly any match.
//!
//! `cargo run --release --example many_rows -- 5000000`
//!
//! Prints for each statement how often it runs for the whole table, and how long the slowest one took. None may come near the limit
//! of a minute that each statement has.

#![allow(clippy::disallowed_methods, reason = "a benchmark of its own")]

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use cvsync::config;
use cvsync::demo::postgres::{Cluster, Options};
use cvsync::store::{Store, cv, cv_seen, reconcile};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

const RUN: i64 = 1;

/// As in a comparison.
const PART: i64 = 2_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let rows = std::env::args()
        .nth(1)
        .map_or(Ok(5_000_000), |n| n.parse::<i64>())?;
    let cluster = Cluster::start(Options::default()).await?;
    let url = cluster.url_of("cvsync");
    let store = Store::new(&config::Database::at(&url).map_err(anyhow::Error::msg)?)?;
    store.migrate().await?;
    let begun = Instant::now();
    fill(&url, rows).await?;
    println!("{rows} rows made in {:.0?}", begun.elapsed());
    let month_ago = Utc::now() - TimeDelta::days(30);
    let epoch = DateTime::UNIX_EPOCH.date_naive();
    let mut tx = store.begin().await?;

    let mut walk = Walk::new("reconcile: what is listed");
    let mut after = None;
    loop {
        let part = walk
            .timed(reconcile::listed(&mut tx, RUN, after, false, PART))
            .await?;
        anyhow::ensure!(part.differ.is_empty(), "nothing differs");
        after = part.last;
        if after.is_none() {
            break;
        }
    }
    walk.tell();
    let mut walk = Walk::new("reconcile: what is stored");
    loop {
        let part = walk
            .timed(reconcile::unlisted(&mut tx, RUN, after, epoch, PART))
            .await?;
        anyhow::ensure!(part.differ.is_empty(), "nothing differs");
        after = part.last;
        if after.is_none() {
            break;
        }
    }
    walk.tell();
    let mut walk = Walk::new("re-check: what was not confirmed");
    loop {
        let (_, last) = walk
            .timed(cv_seen::unconfirmed(&mut tx, after, month_ago, 100))
            .await?;
        after = last;
        if after.is_none() {
            break;
        }
    }
    walk.tell();
    let mut walk = Walk::new("housekeeping: old tombstones");
    loop {
        after = walk
            .timed(cv_seen::forget_tombstones(&mut tx, after, month_ago))
            .await?;
        if after.is_none() {
            break;
        }
    }
    walk.tell();
    let mut walk = Walk::new("numbers: ages");
    walk.timed(cv_seen::ages(&mut tx, &[0.5, 0.99, 1.0]))
        .await?;
    walk.tell();
    let mut walk = Walk::new("numbers: how many CVs");
    walk.timed(cv::count(&mut tx)).await?;
    walk.tell();
    let mut walk = Walk::new("verify: a sample of 500");
    walk.timed(cv::sample(&mut tx, 500)).await?;
    walk.tell();
    tx.commit().await?;
    let mut walk = Walk::new("reconcile: the listing is removed");
    loop {
        let mut tx = store.begin().await?;
        after = walk.timed(reconcile::remove(&mut tx, RUN, after)).await?;
        tx.commit().await?;
        if after.is_none() {
            break;
        }
    }
    walk.tell();
    Ok(())
}

async fn fill(url: &str, rows: i64) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    let statements = [
        format!(
            "insert into cvsync.cv (cv_id, document, content_hash)
             select md5(n::text)::uuid, '{{}}', '' from generate_series(1, {rows}) as n"
        ),
        "insert into cvsync.cv_seen select cv_id, now(), false from cvsync.cv".to_owned(),
        format!(
            "insert into cvsync.reconcile_listed (run, cv_id, gone, live, van, settled)
             select {RUN}, cv_id, false, true, now() - interval '2 days', now() - interval '1 day' from cvsync.cv"
        ),
        "vacuum analyze".to_owned(),
    ];
    for statement in statements {
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&mut connection)
            .await?;
    }
    Ok(())
}

/// A statement that is made again and again.
struct Walk {
    name: &'static str,
    times: u32,
    all: Duration,
    slowest: Duration,
}

impl Walk {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            times: 0,
            all: Duration::ZERO,
            slowest: Duration::ZERO,
        }
    }

    async fn timed<T>(&mut self, statement: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        let answer = statement.await;
        let took = begun.elapsed();
        self.times += 1;
        self.all += took;
        self.slowest = self.slowest.max(took);
        answer
    }

    fn tell(&self) {
        println!(
            "{:36} {:5} statements in {:8.1?}, the slowest {:8.1?}",
            self.name, self.times, self.all, self.slowest
        );
    }
}
