//! The demo: a private PostgreSQL, the simulator and the daemon, with nothing to configure.

pub mod postgres;
mod settings;
mod view;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use tokio_util::sync::CancellationToken;

use self::postgres::Cluster;
use self::settings::Kept;
use crate::clock::Clock;
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
    let kept = Kept::read(&options.folder);
    let (cluster, database_url) = if let Some(url) = &options.database_url {
        (None, url.expose_secret().to_owned())
    } else {
        let cluster = private_postgres(&options.folder, kept.postgres).await?;
        let url = cluster.url_of("cvsync");
        (Some(cluster), url)
    };
    let simulator = simulate(&options, kept.simulator, &clock).await?;
    let env = |page| settings::env(&kept, &simulator.base_url(), &database_url, page);
    let config = settings::config(&env(kept.page))?;
    let daemon = Daemon::prepare(config, clock.clone(), token.clone())?;
    if let Some(page) = daemon.addr() {
        settings::write(&options.folder, &env(page))?;
    }
    view::introduce(
        &options,
        cluster.as_ref(),
        &simulator,
        daemon.addr(),
        &kept.admin_token,
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

async fn private_postgres(folder: &Path, port: Option<u16>) -> anyhow::Result<Cluster> {
    Cluster::start(postgres::Options {
        data: folder.join("postgres"),
        port,
        ..postgres::Options::default()
    })
    .await
}

async fn simulate(
    options: &Options,
    listen: SocketAddr,
    clock: &Clock,
) -> anyhow::Result<Simulator> {
    let simulated = simulator::Options {
        listen,
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
