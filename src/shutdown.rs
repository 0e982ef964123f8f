//! Stops the process in two steps: the first signal requests it, the second forces it.

use std::io::Write;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::sync::mpsc::{self, Sender};
use std::time::Duration;
use std::{fs, io, thread};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Container engines kill a process 10 seconds after the signal. cvsync divides them among the steps below, in this order.
const BUDGET: Duration = Duration::from_secs(10);

/// Finish the current batch.
pub(crate) const DRAIN: Duration = Duration::from_secs(5);

/// Answer open HTTP requests.
pub(crate) const ANSWER: Duration = Duration::from_secs(1);

/// Push the last metrics.
pub(crate) const METRICS: Duration = Duration::from_millis(750);

/// Push the last traces. A command that cannot push finds the reason in this time.
pub(crate) const TRACES: Duration = Duration::from_millis(1_750);

/// Close the connections to PostgreSQL.
pub(crate) const CLOSE: Duration = Duration::from_millis(500);

/// Write the last log lines.
pub(crate) const LAST_LINES: Duration = Duration::from_millis(500);

/// After this time the process ends by force, with its last log lines. It waits for something that cannot be cancelled, such
/// as a reader of stdout.
const BY_FORCE: Duration = DRAIN
    .saturating_add(ANSWER)
    .saturating_add(METRICS)
    .saturating_add(TRACES)
    .saturating_add(CLOSE);

const _: () = assert!(BY_FORCE.saturating_add(LAST_LINES).as_millis() <= BUDGET.as_millis());

/// The usual stack size of a main thread.
const STACK: usize = 8 << 20;

/// Ends [`run`].
static END: OnceLock<Sender<ExitCode>> = OnceLock::new();

/// Runs `work` on another thread, and returns its exit code. Returns earlier if the process must end by force. Then the caller
/// must return from `main`, which ends the other threads.
pub(crate) fn run(work: impl FnOnce() -> ExitCode + Send + 'static) -> ExitCode {
    let (end, ended) = mpsc::channel();
    let _ = END.set(end.clone());
    let thread = thread::Builder::new()
        .name("command".to_owned())
        .stack_size(STACK);
    let started = thread.spawn(move || {
        // The panic is printed by its hook.
        let code = panic::catch_unwind(AssertUnwindSafe(work));
        let _ = end.send(code.unwrap_or(ExitCode::from(PANICKED)));
    });
    if let Err(error) = started {
        // Logging is not installed yet.
        let _ = writeln!(
            io::stderr(),
            "error: cannot start a thread: {error}; raise the limit of threads or processes"
        );
        return ExitCode::FAILURE;
    }
    ended.recv().unwrap_or(ExitCode::FAILURE)
}

/// The exit code of a Rust process whose main thread panicked.
const PANICKED: u8 = 101;

fn end_by_force() {
    if let Some(end) = END.get() {
        let _ = end.send(ExitCode::FAILURE);
    }
}

/// Cancels the token on SIGTERM, SIGINT or SIGHUP. Ends the process on the second signal, and in any case before the 10 seconds
/// after which container engines kill it.
///
/// # Errors
/// If the signal handlers cannot be installed.
pub(crate) fn cancel_on_signal() -> io::Result<CancellationToken> {
    cancel(BY_FORCE, || {
        tracing::info!("stopping: finishing the current batch");
    })
}

/// The same with another time limit, for commands that have no batch to finish: they stop without a word.
///
/// # Errors
/// If the signal handlers cannot be installed.
pub(crate) fn cancel_on_signal_within(limit: Duration) -> io::Result<CancellationToken> {
    cancel(limit, || {})
}

fn cancel(limit: Duration, say: impl FnOnce() + Send + 'static) -> io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    // A handler would undo `nohup`.
    let mut hangup = (!ignores_hangup())
        .then(|| signal(SignalKind::hangup()))
        .transpose()?;
    let asked = token.clone();
    tokio::spawn(async move {
        let mut signalled = async || {
            let hung_up = async {
                match &mut hangup {
                    Some(hangup) => hangup.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = hung_up => {}
            }
        };
        signalled().await;
        say();
        asked.cancel();
        // On a thread, so that it does not depend on the runtime.
        thread::spawn(move || {
            thread::sleep(limit);
            tracing::warn!(
                "still working {} s after the signal: stopping now",
                limit.as_secs()
            );
            end_by_force();
        });
        signalled().await;
        tracing::warn!("second signal: stopping now");
        end_by_force();
    });
    Ok(token)
}

/// Whether this process was started with SIGHUP ignored, as by `nohup`.
fn ignores_hangup() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignored(&status).is_some_and(|mask| mask & 1 == 1)
}

/// The mask of ignored signals in `/proc/self/status`: bit 0 is signal 1, which is SIGHUP.
fn ignored(status: &str) -> Option<u64> {
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

/// Waits for `work`, but at most [`DRAIN`] after the token is cancelled; `None` if `work` was dropped.
pub(crate) async fn drained<T>(
    token: &CancellationToken,
    work: impl Future<Output = T>,
) -> Option<T> {
    let too_late = async {
        token.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        done = work => Some(done),
        () = too_late => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_the_process_status() {
        let status = "Name:\tcvsync\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n";
        assert_eq!(ignored(status), Some(0x1001));
        assert_eq!(ignored("Name:\tcvsync\n"), None);
        assert_eq!(ignored("SigIgn:\tx\n"), None);
    }
}
