//! The capacity of the mirror: the real daemon, limited to one core, with many clients and a PostgreSQL with many CVs.
//!
//! `cargo bench --bench mirror`            200,000 CVs
//! `cargo bench --bench mirror -- 20000`   as many as you like
//!
//! Requests for ids have a fixed pace, whether responses arrive or not. A response time starts when its request was due, so that
//! waiting counts. Clients and PostgreSQL need more CPU than the daemon, and share the rest of the machine.

#![allow(clippy::disallowed_methods, reason = "a benchmark of its own")]

mod support;

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use cvsync::clock::Clock;
use cvsync::demo::postgres::{Cluster, Options, Stop};
use cvsync::model::{Brake, CvId, Document, Fate, Outcome};
use cvsync::simulator::{self, Simulator};
use cvsync::store::Store;
use cvsync::sync::searchable;
use futures_util::future::try_join_all;
use sqlx::{Connection, PgConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::support::cpu_seconds;

const CANDIDATES: u32 = 200_000;
/// Requests per second, and for how long.
const PACE: u32 = 5_000;
const TIME: Duration = Duration::from_secs(20);
const CONNECTIONS: u32 = 64;
const SEARCHES: u32 = 400;
const TOKEN: &str = "benchmark";
const ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 18_091);

/// Codes and words that many CVs have, that few have, and both.
const QUERIES: [&str; 10] = [
    "",
    "studies=MAE5AHH",
    "gewensteRegios=BE231A&rijbewijzen=B",
    "studies=MAE5AHH&gewensteRegios=BE231A&talen=N:3&rijbewijzen=B&technischeCompetenties=11721",
    "arbeidsRegimes=V&arbeidsRegimes=D&talen=N&velden=ervaringen&velden=gewensteJob",
    "zoekterm=medewerker",
    "zoekterm=verkoper+-winkel",
    "zoekterm=%22administratief+medewerker%22&talen=N:2",
    "zoekterm=lasser+or+metselaar+or+medewerker&gewensteRegios=BE231A&aantal=200",
    "zoekterm=medewerker&vanaf=5000",
];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let argument = support::argument();
    let candidates = argument.map_or(Ok(CANDIDATES), |number| number.parse());
    let candidates = candidates.context("how many CVs?")?;
    let folder = tempfile::tempdir()?;
    let cluster = Cluster::start(Options {
        data: folder.path().join("data"),
        settings: vec![("shared_buffers".to_owned(), "1GB".to_owned())],
        ..Options::default()
    })
    .await?;
    let ids = load(&cluster, candidates).await?;
    alone(&cluster, &ids).await?;
    for retention in ["off", "365d"] {
        println!("CVSYNC_ACCESS_RETENTION={retention}");
        let mut daemon = daemon(&cluster, retention).await?;
        let pid = daemon.id().context("the daemon ended at once")?;
        details(pid, &ids).await?;
        searches(pid).await?;
        daemon.kill().await?;
    }
    cluster.stop(Stop::Immediate).await
}

async fn load(cluster: &Cluster, candidates: u32) -> anyhow::Result<Vec<Uuid>> {
    let options = simulator::Options {
        candidates,
        ..simulator::Options::default()
    };
    let simulator = Simulator::start(options, Clock::default()).await?;
    let source = simulator.handle();
    let ids: Vec<Uuid> = source.world(|world| world.live_ids().collect());
    let store = Store::new(
        &cvsync::config::Database::at(&cluster.url_of("cvsync")).map_err(anyhow::Error::msg)?,
    )?;
    store.migrate().await?;
    let begun = Instant::now();
    for chunk in ids.chunks(500) {
        let batch: Vec<Outcome> = source.world(|world| {
            let outcome = |id: &Uuid| {
                let (_, document) = Document::read(world.document(*id)?.as_bytes(), &[]).ok()?;
                Some(Outcome {
                    window: None,
                    as_of: world.now(),
                    fate: Fate::Live(CvId(*id), document),
                })
            };
            chunk.iter().filter_map(outcome).collect()
        });
        store
            .apply(&batch, Brake::on(1.0), chrono::DateTime::UNIX_EPOCH)
            .await?;
    }
    searchable::catch_up(&store, &CancellationToken::new()).await;
    let mut connection = PgConnection::connect(&cluster.url_of("cvsync")).await?;
    sqlx::query("vacuum analyze cvsync.cv, cvsync.cv_search")
        .execute(&mut connection)
        .await?;
    println!(
        "{} CVs stored in {:.0} s",
        ids.len(),
        begun.elapsed().as_secs_f64()
    );
    Ok(ids)
}

/// The time that PostgreSQL needs for one document, without other clients, for comparison.
async fn alone(cluster: &Cluster, ids: &[Uuid]) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(&cluster.url_of("cvsync")).await?;
    let (begun, mut times) = (Instant::now(), Vec::new());
    while begun.elapsed() < Duration::from_secs(5) {
        let asked = Instant::now();
        let _: String = sqlx::query_scalar("select document::text from cvsync.cv where cv_id = $1")
            .bind(some(ids, times.len()))
            .fetch_one(&mut connection)
            .await?;
        times.push(asked.elapsed());
    }
    let rate = f64::from(u32::try_from(times.len())?) / begun.elapsed().as_secs_f64();
    println!(
        "PostgreSQL alone     {rate:>8.0} documents per second over one connection; {}",
        spread(times)
    );
    Ok(())
}

/// A daemon on one core, with an unreachable source. It records who was given which CV, unless `retention` is off.
async fn daemon(cluster: &Cluster, retention: &str) -> anyhow::Result<Child> {
    ensure!(
        TcpStream::connect(ADDRESS).await.is_err(),
        "another program listens on {ADDRESS}"
    );
    let child = Command::new("taskset")
        .args(["-c", "0", support::CVSYNC, "run"])
        .env_clear()
        .env("CVSYNC_API_BASE_URL", "http://127.0.0.1:9")
        .env("CVSYNC_API_KEY", "none")
        .env("CVSYNC_DATABASE_URL", cluster.url_of("cvsync"))
        .env("CVSYNC_HTTP_ADDR", ADDRESS.to_string())
        .env("CVSYNC_ADMIN_TOKEN", TOKEN)
        .env("CVSYNC_ACCESS_RETENTION", retention)
        .env("CVSYNC_LOG", "error")
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("taskset did not start")?;
    for _ in 0..100 {
        if TcpStream::connect(ADDRESS).await.is_ok() {
            return Ok(child);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("the daemon does not listen")
}

async fn details(pid: u32, ids: &[Uuid]) -> anyhow::Result<()> {
    for warm in [true, false] {
        let (begun, cpu) = (Instant::now(), cpu_seconds(pid)?);
        let time = if warm { TIME / 4 } else { TIME };
        let clients = (0..CONNECTIONS).map(|client| async move {
            let mut connection = Client::connect().await?;
            let mut times = Vec::new();
            for number in (client..).step_by(CONNECTIONS as usize) {
                let due = begun + Duration::from_secs(1) / PACE * number;
                if due > begun + time {
                    break;
                }
                tokio::time::sleep_until(due.into()).await;
                connection
                    .get(&format!("/{}", some(ids, number as usize)))
                    .await?;
                times.push(due.elapsed());
            }
            Ok::<_, anyhow::Error>(times)
        });
        let times = try_join_all(clients).await?.concat();
        let (took, cpu) = (begun.elapsed().as_secs_f64(), cpu_seconds(pid)? - cpu);
        let count = f64::from(u32::try_from(times.len())?);
        if !warm {
            println!(
                "documents            {:>8.0} per second, of {PACE} requested; {}",
                count / took,
                spread(times)
            );
            println!(
                "  {:.0} % of one core: at this cost, one core serves {:.0} per second",
                cpu / took * 100.0,
                count / cpu
            );
        }
    }
    Ok(())
}

async fn searches(pid: u32) -> anyhow::Result<()> {
    let mut connection = Client::connect().await?;
    let (cpu, mut all) = (cpu_seconds(pid)?, Vec::new());
    for query in QUERIES {
        let mut times = Vec::new();
        let mut found = String::new();
        for _ in 0..SEARCHES / 10 {
            let asked = Instant::now();
            let body = connection.get(&format!("?{query}")).await?;
            times.push(asked.elapsed());
            found = body.chars().take_while(|c| *c != ',').collect();
        }
        all.extend_from_slice(&times);
        println!("  {:<48.48} {:<18} {}", query, found, spread(times));
    }
    println!("searches, one after another: {}", spread(all));
    println!("  {:.1} s of the daemon's CPU", cpu_seconds(pid)? - cpu);
    Ok(())
}

/// One that jumps about.
fn some(ids: &[Uuid], number: usize) -> Uuid {
    ids[number.wrapping_mul(7_919) % ids.len()]
}

fn spread(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |hundredths: usize| {
        let place = (times.len() * hundredths / 100).min(times.len().saturating_sub(1));
        times
            .get(place)
            .map_or(0.0, |time| time.as_secs_f64() * 1e3)
    };
    format!(
        "p50 {:.2} ms, p99 {:.2} ms, at most {:.2} ms",
        at(50),
        at(99),
        at(100)
    )
}

/// A connection that sends one request after another, at almost no cost of its own.
struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    async fn connect() -> anyhow::Result<Self> {
        let stream = TcpStream::connect(ADDRESS).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::new(),
        })
    }

    async fn get(&mut self, path: &str) -> anyhow::Result<String> {
        let request = format!(
            "GET /mirror/v1/kandidaten{path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n\r\n"
        );
        self.stream.write_all(request.as_bytes()).await?;
        self.buffer.clear();
        let mut body: Option<(usize, usize)> = None;
        loop {
            if let Some((start, length)) = body
                && self.buffer.len() >= start + length
            {
                return Ok(String::from_utf8(self.buffer[start..].to_vec())?);
            }
            let read = self.stream.read_buf(&mut self.buffer).await?;
            ensure!(read > 0, "the connection ended");
            if body.is_none()
                && let Some(end) = self
                    .buffer
                    .windows(4)
                    .position(|bytes| bytes == b"\r\n\r\n")
            {
                let head = std::str::from_utf8(&self.buffer[..end])?.to_lowercase();
                ensure!(head.starts_with("http/1.1 200"), "{head}");
                let length = head.split("content-length: ").nth(1).context("no length")?;
                let length = length.lines().next().unwrap_or_default().parse()?;
                body = Some((end + 4, length));
            }
        }
    }
}
