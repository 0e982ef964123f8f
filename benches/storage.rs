//! The cost of PostgreSQL's part of a full sync, by batch size, TOAST compression and method of writing.
//!
//! `cargo bench --bench storage`
//!
//! One writer writes the same 20,000 documents again and again into a new private PostgreSQL (fsync on). Prints documents per second
//! and the server's CPU time for 1,000 documents.

#![allow(clippy::disallowed_methods, reason = "a benchmark of its own")]

mod support;

use std::time::Instant;

use anyhow::Context;
use cvsync::clock::Clock;
use cvsync::demo::postgres::{Cluster, Options};
use cvsync::model::Document;
use cvsync::simulator::{self, Simulator};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

const DOCUMENTS: u32 = 20_000;

struct Cv {
    id: Uuid,
    json: String,
    hash: Vec<u8>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    support::argument();
    let documents = documents().await?;
    let bytes: usize = documents.iter().map(|cv| cv.json.len()).sum();
    println!(
        "{} documents of {} bytes on average",
        documents.len(),
        bytes / documents.len()
    );
    println!("compression  batch  way     docs/s  server CPU s/1000  table MB");
    for compression in ["pglz", "lz4"] {
        for batch in [100, 500, 2_000] {
            measure(&documents, compression, batch, "unnest").await?;
        }
    }
    measure(&documents, "lz4", 500, "copy").await
}

async fn documents() -> anyhow::Result<Vec<Cv>> {
    let options = simulator::Options {
        candidates: DOCUMENTS,
        ..simulator::Options::default()
    };
    let simulator = Simulator::start(options, Clock::default()).await?;
    let texts: Vec<(Uuid, String)> = simulator.handle().world(|world| {
        let ids: Vec<Uuid> = world.live_ids().collect();
        ids.into_iter()
            .filter_map(|id| Some((id, world.document(id)?)))
            .collect()
    });
    texts
        .into_iter()
        .map(|(id, text)| {
            let (_, document) = Document::read(text.as_bytes(), &[])?;
            Ok(Cv {
                id,
                json: document.json().to_owned(),
                hash: document.hash().to_vec(),
            })
        })
        .collect()
}

async fn measure(
    documents: &[Cv],
    compression: &str,
    batch: usize,
    way: &str,
) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let cluster = Cluster::start(Options {
        data: folder.path().join("data"),
        ..Options::default()
    })
    .await?;
    let mut connection = PgConnection::connect(&cluster.url_of("cvsync")).await?;
    run(
        &mut connection,
        "create table cv (cv_id uuid primary key, document jsonb, content_hash bytea)",
    )
    .await?;
    let set = format!("alter table cv alter column document set compression {compression}");
    run(&mut connection, &set).await?;
    let (before, begun) = (cpu_seconds(&cluster)?, Instant::now());
    for part in documents.chunks(batch) {
        let mut tx = connection.begin().await?;
        let ids: Vec<Uuid> = part.iter().map(|cv| cv.id).collect();
        let texts: Vec<&str> = part.iter().map(|cv| cv.json.as_str()).collect();
        let hashes: Vec<&[u8]> = part.iter().map(|cv| cv.hash.as_slice()).collect();
        if way == "copy" {
            run(
                &mut tx,
                "create temporary table incoming (like cv including compression) on commit drop",
            )
            .await?;
            let mut copy = tx.copy_in_raw("copy incoming from stdin").await?;
            for cv in part {
                let hash: Vec<String> = cv.hash.iter().map(|byte| format!("{byte:02x}")).collect();
                let hash = hash.concat();
                let json = cv.json.replace('\\', "\\\\");
                copy.send(format!("{}\t{json}\t\\\\x{hash}\n", cv.id).into_bytes())
                    .await?;
            }
            copy.finish().await?;
            run(&mut tx, "insert into cv select * from incoming on conflict (cv_id) do update set document = excluded.document").await?;
        } else {
            sqlx::query(
                "insert into cv
                 select cv_id, document::jsonb, content_hash
                   from unnest($1::uuid[], $2::text[], $3::bytea[]) as new (cv_id, document, content_hash)
                 on conflict (cv_id) do update set document = excluded.document",
            )
            .persistent(false)
            .bind(ids)
            .bind(texts)
            .bind(hashes)
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
    }
    let (took, cpu) = (
        begun.elapsed().as_secs_f64(),
        cpu_seconds(&cluster)? - before,
    );
    let size: i64 = sqlx::query_scalar("select pg_total_relation_size('cv')")
        .fetch_one(&mut connection)
        .await?;
    let count = f64::from(u32::try_from(documents.len())?);
    println!(
        "{compression:<11}  {batch:>5}  {way:<6}  {:>6.0}  {:>17.3}  {:>8}",
        count / took,
        cpu / count * 1e3,
        size / 1_000_000
    );
    connection.close().await?;
    cluster.stop(cvsync::demo::postgres::Stop::Immediate).await
}

async fn run(connection: &mut PgConnection, sql: &str) -> anyhow::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(connection)
        .await?;
    Ok(())
}

/// The CPU time of the server process and of its living children.
fn cpu_seconds(cluster: &Cluster) -> anyhow::Result<f64> {
    let server = cluster.pid().context("the server does not run")?;
    let mut ticks = 0;
    for entry in std::fs::read_dir("/proc")? {
        let Ok(stat) = std::fs::read_to_string(entry?.path().join("stat")) else {
            continue;
        };
        let fields: Vec<&str> = stat
            .rsplit(") ")
            .next()
            .unwrap_or_default()
            .split(' ')
            .collect();
        let of = |at: usize| {
            fields
                .get(at)
                .and_then(|f| f.parse::<u64>().ok())
                .unwrap_or(0)
        };
        let pid = stat
            .split(' ')
            .next()
            .and_then(|pid| pid.parse::<u32>().ok());
        if pid == Some(server) || of(1) == u64::from(server) {
            ticks += of(11) + of(12);
        }
    }
    // Linux counts CPU time in hundredths of a second here.
    Ok(f64::from(u32::try_from(ticks)?) / 100.0)
}
