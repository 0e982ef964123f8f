//! The server process: a child in its own process group, so that Ctrl-C does not reach it before its parent.

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

/// Time limit of a start, which includes recovery after a crash.
const START: Duration = Duration::from_mins(2);

/// Time limit of a fast stop, which writes all data in memory.
const STOP: Duration = Duration::from_secs(30);

/// A `postgres` that accepts connections.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    guard: Guard,
    pid: u32,
}

/// Reachable only from this machine. The socket is in the data directory, which is the server's working directory and has the
/// short name `.`: the path of a Unix socket has at most 107 bytes.
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
    /// Starts it and waits until it accepts connections.
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
        let pid = child.id().context("postgres exited immediately")?;
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

    /// Waits until `postmaster.pid` says that the server is ready.
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
