//! The end in two steps: the first signal asks, the second one insists.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What is in hand may take so long once the end was asked for. With what follows it stays below the 10 seconds after
/// which container engines kill.
pub const DRAIN: Duration = Duration::from_secs(8);

/// Cancels the token on SIGTERM or SIGINT, and ends the process on the second one.
///
/// # Errors
/// If the signals cannot be listened to.
pub fn cancel_on_signal() -> std::io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let asked = token.clone();
    tokio::spawn(async move {
        for insists in [false, true] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if insists {
                tracing::warn!("asked to stop twice: stopping at once");
                std::process::exit(1);
            }
            tracing::info!("asked to stop: finishing what is in hand");
            asked.cancel();
        }
    });
    Ok(token)
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
