//! The end in two steps: the first signal asks, the second one insists.

use std::time::Duration;
use std::{io, process, thread};

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

/// Cancels the token on SIGTERM or SIGINT. Ends the process on the second one, and whatever happens before the 10 seconds are
/// over after which container engines kill.
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
    let asked = token.clone();
    tokio::spawn(async move {
        let mut signalled = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
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
