//! A private PostgreSQL from installed binaries, in its own folder, on a loopback port.
//!
//! **Invariant**: the server stops when the process that started it ends for any reason (`guard`). If it still runs, the next
//! start in the folder stops it (`leftover`) and continues with its data.

#![allow(clippy::disallowed_methods, reason = "no PgBouncer stands before it")]

mod binaries;
mod folder;
mod guard;
mod leftover;
mod server;
mod user;

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use self::binaries::Binaries;
use self::folder::Folder;
use self::server::Server;
use self::user::User;

/// The name of the superuser and of the first database.
const NAME: &str = "cvsync";

/// Time limit for the sessions of a killed server to end.
const SESSIONS_NOTICE: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub struct Options {
    /// The folder of the cluster; created if it does not exist, otherwise reused.
    pub data: PathBuf,
    /// Whether the folder stays after [`Cluster::stop`].
    pub keep: bool,
    /// Server settings, such as `fsync` and `off`.
    pub settings: Vec<(String, String)>,
    /// A port on 127.0.0.1; any free one by default.
    pub port: Option<u16>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            data: PathBuf::new(),
            keep: true,
            settings: Vec::new(),
            port: None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Ends sessions and writes all data.
    Fast,
    /// Stops at once; the next start recovers as after a crash.
    Immediate,
}

/// A PostgreSQL that runs, or was killed and can be restarted. A drop stops the server at once.
#[derive(Debug)]
pub struct Cluster {
    binaries: Binaries,
    folder: Folder,
    user: User,
    settings: Vec<(String, String)>,
    port: u16,
    url: String,
    keep: bool,
    server: Option<Server>,
}

impl Cluster {
    /// Starts a server in the folder, after `initdb` in a new folder.
    ///
    /// # Errors
    /// PostgreSQL is not installed, another process uses the folder, or the server does not start. The last error contains the
    /// end of
    /// its log.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let folder = Folder::open(&options.data)?;
        let binaries = Binaries::find(folder.version().as_deref())?;
        let user = User::find(folder.root()).await?;
        let password = folder.initialize(&binaries, &user).await?;
        let port = options.port.map_or_else(free_port, Ok)?;
        folder.write_passfile(port, &password)?;
        let mut settings = server::settings(port);
        settings.extend(options.settings);
        let mut cluster = Self {
            binaries,
            folder,
            user,
            settings,
            port,
            url: format!("postgres://{NAME}:{password}@127.0.0.1:{port}/postgres"),
            keep: options.keep,
            server: None,
        };
        cluster.launch().await?;
        cluster.create_database().await?;
        Ok(cluster)
    }

    /// The superuser's URL of the database `postgres`, with the password.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The superuser's URL of another database; `cvsync` exists from the start.
    #[must_use]
    pub fn url_of(&self, database: &str) -> String {
        let server = self.url.strip_suffix("postgres").unwrap_or(&self.url);
        format!("{server}{database}")
    }

    /// The start of a shell command that connects to a database as the superuser, without the password.
    #[must_use]
    pub(super) fn psql(&self, database: &str) -> String {
        let file = self.folder.passfile().display().to_string();
        let file = file.replace('\'', r"'\''");
        let port = self.port;
        format!("PGPASSFILE='{file}' psql postgres://{NAME}@127.0.0.1:{port}/{database}")
    }

    /// The process id of the server, unless it was killed.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Server::pid)
    }

    /// The directory of the server's Unix socket, for `psql -h`.
    #[must_use]
    pub fn socket_dir(&self) -> &Path {
        self.folder.data()
    }

    /// Stops the server, and removes the folder unless `keep` is set.
    pub async fn stop(mut self, stop: Stop) -> anyhow::Result<()> {
        self.halt(stop).await?;
        if !self.keep {
            self.folder.remove()?;
        }
        Ok(())
    }

    /// Stops a running server, and starts it again on the same port.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.halt(Stop::Fast).await?;
        self.launch().await
    }

    /// Kills the server, like an operating system without memory; [`restart`](Self::restart) starts it again.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        match self.server.take() {
            Some(server) => server.kill().await,
            None => Ok(()),
        }
    }

    async fn halt(&mut self, stop: Stop) -> anyhow::Result<()> {
        match self.server.take() {
            Some(server) => server.stop(stop).await,
            None => Ok(()),
        }
    }

    async fn launch(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            leftover::clear(&self.folder).await?;
            let started =
                Server::start(&self.binaries, &self.folder, &self.user, &self.settings).await;
            match started {
                Err(_)
                    if self.folder.log_tail().contains("shared memory block")
                        && begun.elapsed() < SESSIONS_NOTICE =>
                {
                    sleep(Duration::from_millis(100)).await;
                }
                started => {
                    self.server = Some(started?);
                    return Ok(());
                }
            }
        }
    }

    async fn create_database(&self) -> anyhow::Result<()> {
        let mut connection = PgConnection::connect(&self.url)
            .await
            .context("cannot connect to the private PostgreSQL")?;
        let there: bool =
            sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
                .bind(NAME)
                .fetch_one(&mut connection)
                .await?;
        if !there {
            sqlx::query(AssertSqlSafe(format!("create database {NAME}")))
                .execute(&mut connection)
                .await?;
        }
        connection.close().await?;
        Ok(())
    }
}

/// A port outside the range of outgoing connections. Otherwise, while the server is down, a client that keeps
/// connecting could get the server's port as its own and even reach itself.
fn free_port() -> anyhow::Result<u16> {
    (0..1_000)
        .map(|_| fastrand::u16(20_000..32_000))
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .context("no free port between 20000 and 32000")
}

/// Sends a signal by its name. A process that no longer exists is not an error.
async fn signal(name: &str, pid: u32) -> anyhow::Result<()> {
    Command::new("sh")
        .args(["-c", "kill -s \"$0\" \"$1\" 2>/dev/null"])
        .arg(name)
        .arg(pid.to_string())
        .status()
        .await
        .context("cannot run sh")?;
    Ok(())
}
