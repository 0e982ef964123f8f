//! The times and the plans of the ten questions in docs/data.md.
//!
//! `cargo bench --bench questions`            over 200,000 CVs
//! `cargo bench --bench questions -- 20000`   over as many as you like
//!
//! Loads a new private PostgreSQL with default settings, asks each question 30 times over one connection, and prints the median and the
//! longest time, including planning. All pages are in memory by then. For comparison, it also times one count that reads all documents.
//! Then it asks the questions again while 1,000 more CVs wait in the pending lists of the indexes.

#![allow(clippy::disallowed_methods, reason = "a benchmark of its own")]

mod support;

use std::time::{Duration, Instant};

use cvsync::clock::Clock;
use cvsync::demo::postgres::{Cluster, Options, Stop};
use cvsync::model::{Brake, CvId, Document, Fate, Outcome};
use cvsync::simulator::{self, Simulator};
use cvsync::store::Store;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

const CANDIDATES: u32 = 200_000;
const TIMES: usize = 30;
/// The CVs that are stored at the end, in the same way as by the daemon.
const LATE: usize = 1_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let candidates = support::argument().map_or(Ok(CANDIDATES), |n| n.parse())?;
    let folder = tempfile::tempdir()?;
    let cluster = Cluster::start(Options {
        data: folder.path().join("data"),
        ..Options::default()
    })
    .await?;
    let url = cluster.url_of("cvsync");
    let store = Store::new(&cvsync::config::Database::at(&url).map_err(anyhow::Error::msg)?)?;
    store.migrate().await?;
    let mut connection = PgConnection::connect(&url).await?;
    let late = load(&mut connection, candidates).await?;
    println!("question  rows  median ms    max ms");
    ask_all(&mut connection, true).await?;
    let begun = Instant::now();
    let count: i64 = sqlx::query_scalar(
        "select count(*) from cvsync.cv where document -> 'gewensteJob' -> 'regios' ? 'BE231A'",
    )
    .fetch_one(&mut connection)
    .await?;
    println!(
        "without an index: {count} rows in {} ms",
        begun.elapsed().as_millis()
    );
    for batch in late.chunks(100) {
        store
            .apply(batch, Brake::on(0.2), chrono::DateTime::UNIX_EPOCH)
            .await?;
    }
    println!("\nwith {} CVs that were stored just before:", late.len());
    ask_all(&mut connection, false).await?;
    connection.close().await?;
    cluster.stop(Stop::Immediate).await
}

async fn ask_all(connection: &mut PgConnection, plans: bool) -> anyhow::Result<()> {
    for (number, question) in (1..).zip(questions()) {
        let mut took = Vec::new();
        let mut rows = 0;
        for _ in 0..TIMES {
            let begun = Instant::now();
            rows = sqlx::query(question)
                .persistent(false)
                .fetch_all(&mut *connection)
                .await?
                .len();
            took.push(begun.elapsed());
        }
        took.sort_unstable();
        let ms = |at: usize| took.get(at).map_or(0.0, Duration::as_secs_f64) * 1e3;
        println!(
            "{number:>8}  {rows:>4}  {:>9.1}  {:>8.1}",
            ms(TIMES / 2),
            ms(TIMES - 1)
        );
        if plans {
            let plan: Vec<String> =
                sqlx::query_scalar(AssertSqlSafe(format!("explain (costs off) {question}")))
                    .fetch_all(&mut *connection)
                    .await?;
            println!("    {}", plan.join("\n    "));
        }
    }
    Ok(())
}

/// The questions in their order.
fn questions() -> impl Iterator<Item = &'static str> {
    include_str!("../docs/data.md")
        .split("\n### ")
        .skip(1)
        .filter_map(|section| section.split("```sql\n").nth(1)?.split("```").next())
}

/// Stores all CVs except the last few, which it returns.
async fn load(connection: &mut PgConnection, candidates: u32) -> anyhow::Result<Vec<Outcome>> {
    let begun = Instant::now();
    let options = simulator::Options {
        candidates,
        ..simulator::Options::default()
    };
    let simulator = Simulator::start(options, Clock::default()).await?;
    let handle = simulator.handle();
    let ids: Vec<Uuid> = handle.world(|world| world.live_ids().collect());
    let (early, late) = ids.split_at(ids.len().saturating_sub(LATE));
    for part in early.chunks(1_000) {
        let documents: Vec<String> =
            handle.world(|world| part.iter().filter_map(|id| world.document(*id)).collect());
        sqlx::query(
            "insert into cvsync.cv (cv_id, status, wijzigings_datum, document, content_hash)
             select (document ->> 'cvId')::uuid, document ->> 'status', cvsync.as_date(document ->> 'wijzigingsDatum'), document, ''
               from (select text::jsonb as document from unnest($1::text[]) as text offset 0) as new",
        )
        .persistent(false)
        .bind(documents)
        .execute(&mut *connection)
        .await?;
    }
    println!(
        "{} CVs stored in {} s",
        early.len(),
        begun.elapsed().as_secs()
    );
    let begun = Instant::now();
    for part in early.chunks(1_000) {
        sqlx::query("select cvsync.make_searchable($1)")
            .bind(part)
            .execute(&mut *connection)
            .await?;
    }
    println!("made searchable in {} s", begun.elapsed().as_secs());
    for name in ["cv_search", "cv_search_codes", "cv_search_tekst"] {
        let size: i64 = sqlx::query_scalar("select pg_table_size(('cvsync.' || $1)::regclass)")
            .bind(name)
            .fetch_one(&mut *connection)
            .await?;
        println!("{name} has {} MB", size / 1_000_000);
    }
    let begun = Instant::now();
    run(connection, "vacuum analyze cvsync.cv, cvsync.cv_search").await?;
    let size: i64 = sqlx::query_scalar("select pg_table_size('cvsync.cv')")
        .fetch_one(&mut *connection)
        .await?;
    println!(
        "vacuum analyze in {} s; the table has {} MB",
        begun.elapsed().as_secs(),
        size / 1_000_000
    );
    late.iter()
        .filter_map(|id| Some((*id, handle.world(|world| world.document(*id))?)))
        .map(|(id, text)| {
            let (_, document) = Document::read(text.as_bytes(), &[])?;
            Ok(Outcome {
                window: None,
                as_of: handle.world(|world| world.now()),
                fate: Fate::Live(CvId(id), document),
            })
        })
        .collect()
}

async fn run(connection: &mut PgConnection, sql: &str) -> anyhow::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(connection)
        .await?;
    Ok(())
}
