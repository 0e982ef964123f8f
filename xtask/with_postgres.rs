//! Runs a command with a throwaway PostgreSQL in `CVSYNC_TEST_DATABASE_URL`: `with_postgres cargo test`.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};

use anyhow::Context;
use cvsync::demo::postgres::{Cluster, Options, Stop};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    let program = args
        .next()
        .context("name the command to run, such as `with_postgres cargo test`")?;
    // The server must be able to enter the folder: under root it runs as another user.
    let folder = tempfile::Builder::new()
        .prefix("cvsync-")
        .permissions(Permissions::from_mode(0o711))
        .tempdir()?;
    let settings = [("fsync", "off"), ("max_connections", "300")];
    let cluster = Cluster::start(Options {
        data: folder.path().join("postgres"),
        settings: settings
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ..Options::default()
    })
    .await?;
    let child = Command::new(&program)
        .args(args)
        .env("CVSYNC_TEST_DATABASE_URL", cluster.url())
        .spawn()
        .with_context(|| format!("cannot run {}", program.display()))?;
    let status = wait(child).await?;
    cluster.stop(Stop::Immediate).await?;
    Ok(ExitCode::from(code(status)))
}

/// Waits for the command to end. The terminal sends Ctrl-C to the command too. A SIGTERM is passed on.
async fn wait(mut child: Child) -> anyhow::Result<ExitStatus> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    loop {
        tokio::select! {
            status = child.wait() => return Ok(status?),
            _ = interrupt.recv() => (),
            _ = terminate.recv() => if let Some(pid) = child.id() {
                Command::new("sh").args(["-c", "kill \"$0\""]).arg(pid.to_string()).status().await?;
            },
        }
    }
}

/// The exit code that a shell would report.
fn code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    u8::try_from(code).unwrap_or(1)
}
