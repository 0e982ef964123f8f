//! Clears the folder of a predecessor: a server that still runs, or its stale lock file.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use tokio::time::{Instant, sleep};

use super::folder::Folder;
use super::signal;

const PATIENCE: Duration = Duration::from_secs(20);

/// Stops the server that still runs in `folder`, and removes a stale lock file that PostgreSQL would believe.
///
/// PostgreSQL itself ignores the lock file of a process that no longer exists. It believes any process of the same user that
/// now has this id, such as after the restart of a container.
pub(super) async fn clear(folder: &Folder) -> anyhow::Result<()> {
    let Some(pid) = claimant(folder) else {
        return Ok(());
    };
    let begun = Instant::now();
    while runs_in(pid, folder) {
        if begun.elapsed() > PATIENCE {
            bail!(
                "a previous PostgreSQL still runs as process {pid} and does not stop; stop it with: kill -QUIT {pid}"
            );
        }
        signal("INT", pid).await?;
        sleep(Duration::from_millis(100)).await;
    }
    if process(pid).exists() && claimant(folder) == Some(pid) {
        folder.forget_postmaster()?;
    }
    Ok(())
}

fn claimant(folder: &Folder) -> Option<u32> {
    folder.postmaster().first()?.parse().ok()
}

/// Whether this process is a server of this folder, which its command line names.
fn runs_in(pid: u32, folder: &Folder) -> bool {
    let command_line = fs::read(process(pid).join("cmdline")).unwrap_or_default();
    command_line
        .split(|byte| *byte == 0)
        .any(|argument| argument == folder.data().as_os_str().as_encoded_bytes())
}

/// Only on Linux. Elsewhere PostgreSQL decides.
fn process(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}"))
}
