//! Slows down guesses of the admin token.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

/// Wrong tokens within [`PERIOD`] from one network peer, and in all.
const OF_PEER: usize = 5;
const IN_ALL: usize = 50;

const PERIOD: Duration = Duration::from_secs(1);

/// The times of the latest wrong tokens. Its lock is the queue of those who wait.
type Wrong = Mutex<VecDeque<Instant>>;

#[derive(Debug, Default)]
pub(super) struct Guesses {
    peers: std::sync::Mutex<HashMap<IpAddr, Arc<Wrong>>>,
    all: Wrong,
}

impl Guesses {
    /// Waits until the sender may learn whether its token is right. Without wrong tokens before it, that is at once.
    ///
    /// A right token waits like a wrong one: otherwise an attacker could try many at once and see which of them is answered first. A
    /// client that disconnects leaves the queue.
    pub(super) async fn wait(&self, peer: IpAddr, is_right: bool) {
        let of_peer = self.of(peer);
        let mut of_peer = of_peer.lock().await;
        until_below(OF_PEER, &mut of_peer).await;
        let mut all = self.all.lock().await;
        until_below(IN_ALL, &mut all).await;
        if !is_right {
            let now = Instant::now();
            of_peer.push_back(now);
            all.push_back(now);
        }
    }

    /// The wrong tokens of a peer. Forgets peers that have none.
    fn of(&self, peer: IpAddr) -> Arc<Wrong> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.retain(|_, wrong| Arc::strong_count(wrong) > 1 || is_recent(wrong));
        Arc::clone(peers.entry(peer).or_default())
    }
}

fn is_recent(wrong: &Wrong) -> bool {
    let latest = wrong.try_lock().map(|wrong| wrong.back().copied());
    latest.is_ok_and(|latest| latest.is_some_and(|at| at.elapsed() < PERIOD))
}

/// Waits until fewer than `limit` wrong tokens came within the last second.
async fn until_below(limit: usize, wrong: &mut VecDeque<Instant>) {
    while let Some(oldest) = wrong.front().copied() {
        let end = oldest + PERIOD;
        if end <= Instant::now() {
            wrong.pop_front();
        } else if wrong.len() < limit {
            return;
        } else {
            sleep_until(end).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_util::future::join_all;

    use super::*;

    fn peer(number: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, number])
    }

    /// Number of wrong tokens that `peers` learn of within two seconds, each over many connections.
    async fn learned(peers: u8) -> usize {
        let guesses = Guesses::default();
        let learned = Cell::new(0);
        let (guesses, counter) = (&guesses, &learned);
        let guess = |number| async move {
            while counter.get() < usize::MAX {
                guesses.wait(peer(number), false).await;
                counter.set(counter.get() + 1);
            }
        };
        let all = (0..20).flat_map(|_| 0..peers).map(guess);
        let time = PERIOD * 39 / 20;
        let _ = tokio::time::timeout(time, join_all(all)).await;
        learned.get()
    }

    #[tokio::test]
    async fn peer_learns_of_five_wrong_tokens_a_second() {
        assert!((6..=10).contains(&learned(1).await));
    }

    #[tokio::test]
    async fn all_peers_together_learn_of_fifty_a_second() {
        assert!((51..=100).contains(&learned(200).await));
    }

    #[tokio::test]
    async fn right_token_waits_only_behind_wrong_ones_of_its_peer() {
        let guesses = Guesses::default();
        let begun = Instant::now();
        for _ in 0..1_000 {
            guesses.wait(peer(1), true).await;
        }
        for _ in 0..5 {
            guesses.wait(peer(1), false).await;
        }
        guesses.wait(peer(2), true).await;
        assert!(begun.elapsed() < PERIOD);
        guesses.wait(peer(1), true).await;
        assert!(begun.elapsed() >= PERIOD);
        guesses.of(peer(3));
        assert_eq!(guesses.peers.lock().unwrap().len(), 1);
    }
}
