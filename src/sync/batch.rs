//! Collects outcomes into batches: full ones under load, small ones soon after an outcome otherwise.
//!
//! Batches are bounded in bytes too, so that memory is bounded for documents of any size.

use std::time::Duration;

use tokio::sync::mpsc::{Receiver, Sender};
use tokio::time::Instant;

use super::in_flight::InFlight;
use super::work::Done;

/// With more outcomes, PostgreSQL takes as much time for each document (see `benches/full_sync.rs`).
const MOST: usize = 500;

/// A batch is full once its documents have this many bytes.
const MOST_BYTES: usize = 4 << 20;

/// How long the first outcome waits for others.
const LINGER: Duration = Duration::from_millis(50);

/// Collects until the last sender is gone. While the writer is busy, the batch grows.
pub(super) async fn run(
    in_flight: &InFlight,
    mut outcomes: Receiver<Done>,
    batches: Sender<Vec<Done>>,
) {
    let mut open = true;
    let mut batch = Vec::new();
    let mut bytes = 0;
    let mut ripe_at = Instant::now();
    while open || !batch.is_empty() {
        let full = batch.len() >= MOST || bytes >= MOST_BYTES;
        // Half of the slots are enough for a batch: once all are in use, no call can start.
        let many = batch.len() >= in_flight.size() / 2;
        let ripe = !batch.is_empty() && (full || many || !open || ripe_at <= Instant::now());
        tokio::select! {
            biased;
            permit = batches.reserve(), if ripe => {
                let Ok(permit) = permit else { return };
                permit.send(std::mem::take(&mut batch));
                bytes = 0;
            }
            outcome = outcomes.recv(), if open && !full => match outcome {
                Some(done) => {
                    if batch.is_empty() {
                        ripe_at = Instant::now() + LINGER;
                    }
                    bytes += done.size();
                    batch.push(done);
                }
                None => open = false,
            },
            () = tokio::time::sleep_until(ripe_at), if !batch.is_empty() && !ripe => {}
        }
    }
}
