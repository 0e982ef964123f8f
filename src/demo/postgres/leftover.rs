//! What a predecessor left in the folder: a server that still runs, or the claim of one that does not.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use tokio::time::{Instant, sleep};

use super::folder::Folder;
use super::signal;

const PATIENCE: Duration = Duration::from_secs(20);

/// Ends the server that still runs in `folder`, and drops a claim that PostgreSQL would believe although it is void.
///
/// PostgreSQL itself sees through the claim of a process that is gone. It believes any process of the same user that has
/// got its number since, as after the restart of a container.
pub(super) async fn clear(folder: &Folder) -> anyhow::Result<()> {
    let Some(pid) = claimant(folder) else {
        return Ok(());
    };
    let begun = Instant::now();
    while runs_in(pid, folder) {
        if begun.elapsed() > PATIENCE {
            bail!("the PostgreSQL that still runs as process {pid} does not stop");
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

/// Linux only; where there is no such folder, PostgreSQL's own judgement has to do.
fn process(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}"))
}
