//! The real binary as a process of its own: started, asked over HTTP, signalled, killed.

use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::running::PATIENCE;
use crate::world::World;

/// A command of cvsync with this environment and nothing else of ours.
pub(crate) fn cvsync<'a>(
    args: &[&str],
    env: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cvsync"));
    command.args(args).env_clear().kill_on_drop(true);
    for (name, value) in env {
        command.env(name, value);
    }
    command
}

/// Runs a command; returns its exit code, stdout and stderr.
pub(crate) async fn output<'a>(
    args: &[&str],
    env: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> (Option<i32>, String, String) {
    let done = cvsync(args, env)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (done.status.code(), text(done.stdout), text(done.stderr))
}

/// A process that runs, mostly a daemon.
pub(crate) struct Process {
    child: Child,
    address: String,
    log: Arc<Mutex<String>>,
    readers: [JoinHandle<()>; 2],
}

impl Process {
    /// `cvsync run` between the world's source and its database, with these variables besides.
    pub(crate) fn run(world: &World, env: &[(&str, &str)]) -> Self {
        Self::start(world, &["run"], env)
    }

    /// Any other command, likewise.
    pub(crate) fn start(world: &World, args: &[&str], env: &[(&str, &str)]) -> Self {
        let address = free_address();
        let base = world.environment();
        let mut command = cvsync(args, base.iter().map(|(n, v)| (*n, v.as_str())));
        command.env("CVSYNC_HTTP_ADDR", &address);
        for (name, value) in env {
            command.env(name, value);
        }
        Self::spawn(command, address)
    }

    /// A command as it is, which listens on `address`, if at all.
    pub(crate) fn spawn(mut command: Command, address: String) -> Self {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let readers = [
            keep(child.stdout.take().unwrap(), &log),
            keep(child.stderr.take().unwrap(), &log),
        ];
        Self {
            child,
            address,
            log,
            readers,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Status and body of a path; `None` while the port is closed.
    pub(crate) async fn get(&self, path: &str) -> Option<(u16, String)> {
        let url = format!("http://{}{path}", self.address);
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = client
            .get(url)
            .timeout(Duration::from_secs(30))
            .send()
            .await
            .ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.text().await.ok()?))
    }

    /// Waits until `path` answers as wanted.
    pub(crate) async fn until(&self, path: &str, wanted: impl Fn(u16, &str) -> bool) -> String {
        let mut last = None;
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            last = self.get(path).await;
            if let Some((status, body)) = &last
                && wanted(*status, body)
            {
                return body.clone();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{path} last answered {last:?}; the log:\n{}", self.log());
    }

    /// Waits until its first sync has finished, the backlog included.
    pub(crate) async fn until_synced(&self) {
        self.until_status(|status| {
            status["last_run"]["summary"].is_object()
                && status["watermark"].is_string()
                && status["backlog"].is_null()
        })
        .await;
    }

    /// Waits until `/api/status` is as wanted.
    pub(crate) async fn until_status(
        &self,
        wanted: impl Fn(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        let wanted = |_, body: &str| wanted(&serde_json::from_str(body).unwrap());
        let body = self.until("/api/status", wanted).await;
        serde_json::from_str(&body).unwrap()
    }

    /// Everything it printed so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().unwrap().to_string();
        let done = std::process::Command::new("kill")
            .args([signal, &pid])
            .status()
            .unwrap();
        assert!(done.success());
    }

    /// Waits for its end, but no longer than `limit`, and then for the rest of what it printed.
    pub(crate) async fn ended_within(&mut self, limit: Duration) -> ExitStatus {
        let ended = tokio::time::timeout(limit, self.child.wait()).await;
        let status = ended
            .unwrap_or_else(|_| panic!("still running after {limit:?}; the log:\n{}", self.log()))
            .unwrap();
        for reader in self
            .readers
            .iter_mut()
            .filter(|reader| !reader.is_finished())
        {
            // A child of its own may hold the pipe open.
            let _ = tokio::time::timeout(limit, reader).await;
        }
        status
    }

    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

fn keep(
    stream: impl AsyncRead + Unpin + Send + 'static,
    log: &Arc<Mutex<String>>,
) -> JoinHandle<()> {
    let log = Arc::clone(log);
    tokio::spawn(async move {
        let mut lines = BufReader::new(stream).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let mut log = log.lock().unwrap();
            log.push_str(&line);
            log.push('\n');
        }
    })
}

/// An address that is free now. Another program could take it before the test does, but that is unlikely.
pub(crate) fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}
