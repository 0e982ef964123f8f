//! The demo: a private PostgreSQL, the simulator and the daemon, with nothing to configure.

pub mod postgres;
mod view;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Context;
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::postgres::Cluster;
use crate::clock::Clock;
use crate::config::{Config, Env};
use crate::daemon::Daemon;
use crate::model::window::instant;
use crate::simulator::{self, Simulator};
use crate::telemetry::Screen;

/// The API key of the simulator and the daemon.
const KEY: &str = "demo-key";

/// Slow enough to watch 10,000 CVs arrive, in about 20 seconds.
const CALLS_PER_MINUTE: u32 = 30_000;

#[derive(Clone, Debug)]
pub struct Options {
    /// Number of CVs at the start.
    pub candidates: u32,
    /// CVs that are added, changed or removed per second.
    pub changes_per_second: f64,
    /// The folder of the private PostgreSQL and of the state that outlives a restart.
    pub folder: PathBuf,
    /// Whether the folder stays when the demo ends.
    pub keep: bool,
    /// A database to use instead of a private one.
    pub database_url: Option<SecretString>,
}

/// Runs until `token` is cancelled, then stops everything it started.
///
/// # Errors
/// The part that could not be started, and the remedy.
pub async fn run(
    options: Options,
    screen: &Screen,
    token: CancellationToken,
) -> anyhow::Result<()> {
    std::fs::create_dir_all(&options.folder).with_context(|| {
        format!(
            "cannot create the folder {} (--folder)",
            options.folder.display()
        )
    })?;
    let clock = Clock::default();
    let (cluster, database_url) = if let Some(url) = &options.database_url {
        (None, url.expose_secret().to_owned())
    } else {
        let cluster = private_postgres(&options.folder).await?;
        let url = cluster.url_of("cvsync");
        (Some(cluster), url)
    };
    let simulator = simulate(&options, &clock).await?;
    let admin_token = Uuid::new_v4().simple().to_string();
    let daemon = Daemon::prepare(
        configure(&simulator, &database_url, &admin_token).await?,
        clock.clone(),
        token.clone(),
    )
    .await?;
    view::introduce(
        &options,
        cluster.as_ref(),
        &simulator,
        daemon.addr(),
        &admin_token,
    );
    let admin = std::sync::Arc::clone(&daemon.admin);
    let ended = tokio::select! {
        ended = Box::pin(daemon.run()) => ended,
        () = view::watch(&admin, &clock, screen) => Ok(()),
    };
    simulator.shutdown().await;
    if let Some(cluster) = cluster {
        cluster.stop(postgres::Stop::Fast).await?;
    }
    if !options.keep && options.database_url.is_none() {
        std::fs::remove_dir_all(&options.folder)
            .with_context(|| format!("cannot remove {}", options.folder.display()))?;
    }
    ended
}

async fn private_postgres(folder: &Path) -> anyhow::Result<Cluster> {
    Cluster::start(postgres::Options {
        data: folder.join("postgres"),
        ..postgres::Options::default()
    })
    .await
}

async fn simulate(options: &Options, clock: &Clock) -> anyhow::Result<Simulator> {
    let simulated = simulator::Options {
        candidates: options.candidates,
        key: KEY.to_owned(),
        changes_per_second: options.changes_per_second,
        history: TimeDelta::days(30),
        rate_per_minute: Some(CALLS_PER_MINUTE),
        epoch: Some(epoch(&options.folder, clock.now())?),
        ..simulator::Options::default()
    };
    Simulator::start(simulated, clock.clone())
        .await
        .context("cannot start the simulator")
}

/// The start of the simulated world: the same as before if a killed demo is restarted.
fn epoch(folder: &Path, now: DateTime<Utc>) -> anyhow::Result<DateTime<Utc>> {
    let file = folder.join("epoch");
    let known = std::fs::read_to_string(&file)
        .ok()
        .and_then(|text| text.trim().parse().ok());
    if let Some(epoch) = known {
        return Ok(epoch);
    }
    let epoch = now.trunc_subsecs(3);
    std::fs::write(&file, instant(epoch))
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(epoch)
}

/// The settings of a partner, but with a schedule on which you can watch changes arrive.
async fn configure(
    simulator: &Simulator,
    database_url: &str,
    admin_token: &str,
) -> anyhow::Result<Config> {
    let env = Env::new([
        ("CVSYNC_API_BASE_URL", simulator.base_url()),
        ("CVSYNC_API_KEY", KEY.to_owned()),
        ("CVSYNC_API_RATE_PER_MINUTE", CALLS_PER_MINUTE.to_string()),
        ("CVSYNC_DATABASE_URL", database_url.to_owned()),
        ("CVSYNC_SYNC_FROM", "2026-01-01T00:00:00Z".to_owned()),
        ("CVSYNC_SCHEDULE", "*/5 * * * * *".to_owned()),
        ("CVSYNC_SETTLE_LAG", "2s".to_owned()),
        ("CVSYNC_WINDOW_OVERLAP", "1m".to_owned()),
        ("CVSYNC_HTTP_ADDR", http_addr().await.to_string()),
        ("CVSYNC_ADMIN_TOKEN", admin_token.to_owned()),
    ]);
    Ok(Config::load(&env)?)
}

/// The default address, or a free port if that is taken.
async fn http_addr() -> SocketAddr {
    let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
    match TcpListener::bind(usual).await {
        Ok(_) => usual,
        Err(_) => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
    }
}
