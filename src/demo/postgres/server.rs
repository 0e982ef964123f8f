//! The server as a process: a child of ours in a process group of its own, so that Ctrl-C does not reach it before us.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::process::Child;
use tokio::time::{Instant, sleep, timeout};

use super::binaries::Binaries;
use super::folder::Folder;
use super::guard::Guard;
use super::user::User;
use super::{Stop, signal};

/// Recovery after a crash is part of a start.
const START: Duration = Duration::from_mins(2);

/// A fast stop writes everything that is in memory.
const STOP: Duration = Duration::from_secs(30);

/// A `postgres` that answers.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    guard: Guard,
    pid: u32,
}

/// Reachable from this machine alone. The socket's folder is the data directory, in which the server runs, by its short
/// name: the path of a Unix socket may have no more than 107 bytes.
pub(super) fn settings(port: u16) -> Vec<(String, String)> {
    let port = port.to_string();
    [
        ("listen_addresses", "127.0.0.1"),
        ("port", &port),
        ("unix_socket_directories", "."),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

impl Server {
    /// Starts and waits until it answers.
    pub(super) async fn start(
        binaries: &Binaries,
        folder: &Folder,
        user: &User,
        settings: &[(String, String)],
    ) -> anyhow::Result<Self> {
        let log = folder.new_log()?;
        let mut command = user.command(binaries.program("postgres"));
        command.arg("-D").arg(folder.data());
        for (name, value) in settings {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .context("cannot run postgres")?;
        let pid = child.id().context("postgres ended at once")?;
        let mut server = Self {
            child,
            guard: Guard::over(pid)?,
            pid,
        };
        match server.answers(folder).await {
            Ok(()) => Ok(server),
            Err(error) => {
                server.kill().await?;
                Err(error)
            }
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    pub(super) async fn stop(mut self, stop: Stop) -> anyhow::Result<()> {
        let name = match stop {
            Stop::Fast => "INT",
            Stop::Immediate => "QUIT",
        };
        signal(name, self.pid).await?;
        match timeout(STOP, self.child.wait()).await {
            Ok(status) => {
                status?;
                self.guard.dismiss().await
            }
            Err(_) => self.kill().await,
        }
    }

    pub(super) async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await?;
        self.guard.dismiss().await
    }

    /// Waits until the server's own note says that it is ready.
    async fn answers(&mut self, folder: &Folder) -> anyhow::Result<()> {
        let begun = Instant::now();
        let pid = self.pid.to_string();
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "PostgreSQL did not start ({status}):\n{}",
                    folder.log_tail()
                );
            }
            let note = folder.postmaster();
            if note.first() == Some(&pid) && note.get(7).is_some_and(|state| state == "ready") {
                return Ok(());
            }
            if begun.elapsed() > START {
                bail!(
                    "PostgreSQL is not ready after {START:?}:\n{}",
                    folder.log_tail()
                );
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}
