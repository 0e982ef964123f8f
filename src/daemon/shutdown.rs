//! The end in two steps: the first signal asks, the second one insists.

use std::time::Duration;
use std::{fs, io, process, thread};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::telemetry::STDERR;

/// What is in hand may take so long once the end was asked for. With what follows it stays below the 10 seconds after
/// which container engines kill.
pub const DRAIN: Duration = Duration::from_secs(8);

/// A process that is still there so long after the signal ends by force: something waits that cannot be dropped, say for a reader
/// of stdout.
const BY_FORCE: Duration = Duration::from_millis(9_500);

/// How long the last lines may take then.
const LAST_LINES: Duration = Duration::from_millis(200);

/// Cancels the token on SIGTERM, SIGINT or SIGHUP. Ends the process on the second one, and whatever happens before the 10 seconds
/// are over after which container engines kill.
///
/// # Errors
/// If the signals cannot be listened to.
pub fn cancel_on_signal() -> io::Result<CancellationToken> {
    cancel_on_signal_within(BY_FORCE)
}

/// The same with another limit.
///
/// # Errors
/// If the signals cannot be listened to.
pub fn cancel_on_signal_within(limit: Duration) -> io::Result<CancellationToken> {
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
        tracing::info!("asked to stop: finishing what is in hand");
        asked.cancel();
        // A thread, since no part of the runtime has to work for it.
        thread::spawn(move || {
            thread::sleep(limit);
            tracing::warn!(
                "still at work {} s after the signal: stopping at once",
                limit.as_secs()
            );
            end();
        });
        signalled().await;
        tracing::warn!("asked to stop twice: stopping at once");
        end();
    });
    Ok(token)
}

/// Whether this process was started with SIGHUP ignored, as `nohup` does it.
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

fn end() -> ! {
    STDERR.flush(LAST_LINES);
    process::exit(1)
}

/// Waits for `work`, but no longer than [`DRAIN`] once the token is cancelled: `None` if it was dropped.
pub async fn drained<T>(token: &CancellationToken, work: impl Future<Output = T>) -> Option<T> {
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
