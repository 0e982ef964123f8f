//! Outcomes, to batches: full ones while there is much to do, small ones soon after there is little.
//!
//! Batches are bounded in bytes too, so that memory is, whatever the size of the documents.

use std::time::Duration;

use tokio::sync::mpsc::{Receiver, Sender};
use tokio::time::Instant;

use super::Done;
use super::hand::Hand;

/// From here on a larger batch costs PostgreSQL no less for each document (see `benches/full_sync.rs`).
const MOST: usize = 500;

/// The most bytes of documents in a batch, give or take one document.
const MOST_BYTES: usize = 4 << 20;

/// How long the first outcome waits for company.
const LINGER: Duration = Duration::from_millis(50);

/// Collects until the last sender is gone. While the writer is busy a batch goes on growing.
pub(super) async fn run(hand: &Hand, mut outcomes: Receiver<Done>, batches: Sender<Vec<Done>>) {
    let mut open = true;
    let mut batch = Vec::new();
    let mut bytes = 0;
    let mut ripe_at = Instant::now();
    while open || !batch.is_empty() {
        let full = batch.len() >= MOST || bytes >= MOST_BYTES;
        // What is not in this batch is under way, and cannot go on once there is no room in hand.
        let many = batch.len() >= hand.size() / 2;
        let ripe = !batch.is_empty() && (full || many || !open || ripe_at <= Instant::now());
        tokio::select! {
            biased;
            permit = batches.reserve(), if ripe => {
                let Ok(permit) = permit else { return };
                permit.send(std::mem::take(&mut batch));
                bytes = 0;
            }
            done = outcomes.recv(), if open && !full => match done {
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
