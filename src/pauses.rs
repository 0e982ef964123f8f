//! Back-off between attempts.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff;

/// Endless pauses that double from `first` to `longest`, each with up to 50 % jitter.
#[derive(Debug)]
pub(crate) struct Pauses(ExponentialBackoff);

impl Pauses {
    /// The next call of [`next_pause`](Self::next_pause) gives about `first`.
    #[must_use]
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self(ExponentialBackoff {
            current_interval: first,
            initial_interval: first,
            multiplier: 2.0,
            max_interval: longest,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        })
    }

    /// The back-off of a single CV or page.
    #[must_use]
    pub(crate) fn for_one_request() -> Self {
        Self::new(Duration::from_millis(500), Duration::from_secs(30))
    }

    pub(crate) fn next_pause(&mut self) -> Duration {
        self.0.next_backoff().unwrap_or(self.0.max_interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_never_end() {
        let mut pauses = Pauses::new(Duration::from_secs(1), Duration::from_mins(1));
        for round in 0..100 {
            let pause = pauses.next_pause();
            let middle = Duration::from_secs(1 << round.min(6)).min(Duration::from_mins(1));
            assert!(
                pause >= middle / 2 && pause <= middle * 3 / 2,
                "{round}: {pause:?}"
            );
        }
    }
}
