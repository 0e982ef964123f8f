//! Ends the server when we are gone, however we went: a shell that waits for its end of a pipe to close.

use std::process::Stdio;

use anyhow::Context;
use tokio::process::{Child, Command};

/// SIGQUIT stops a server at once and for certain; the next start recovers.
const SCRIPT: &str = "read -r _; kill -s QUIT \"$0\" 2>/dev/null";

/// While this lives, nothing; when it is dropped or our process ends, the end of `pid`.
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
            // Out of reach of the terminal's Ctrl-C.
            .process_group(0)
            .spawn()
            .context("cannot run sh")?;
        Ok(Self(child))
    }

    /// Ends the watch, for the server has ended.
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
