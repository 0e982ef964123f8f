//! Stops the server when this process ends for any reason: a shell that waits until its pipe closes.

use std::process::Stdio;

use anyhow::Context;
use tokio::process::{Child, Command};

/// SIGQUIT stops a server at once; the next start recovers.
const SCRIPT: &str = "read -r _; kill -s QUIT \"$0\" 2>/dev/null";

/// Stops `pid` when it is dropped or when this process ends.
#[derive(Debug)]
pub(super) struct Guard(Child);

impl Guard {
    pub(super) fn over(pid: u32) -> anyhow::Result<Self> {
        let child = Command::new("sh")
            .args(["-c", SCRIPT])
            .arg(pid.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Not reached by the terminal's Ctrl-C.
            .process_group(0)
            .spawn()
            .context("cannot run sh")?;
        Ok(Self(child))
    }

    /// Ends the watch of a server that has stopped.
    pub(super) async fn dismiss(mut self) -> anyhow::Result<()> {
        self.0.kill().await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pipe closes, as when this process is killed.
    #[tokio::test]
    async fn a_dropped_guard_ends_the_server() {
        let mut guarded = Command::new("sleep").arg("60").spawn().unwrap();
        let guard = Guard::over(guarded.id().unwrap()).unwrap();
        assert!(guarded.try_wait().unwrap().is_none());
        drop(guard);
        assert!(!guarded.wait().await.unwrap().success());
    }
}
