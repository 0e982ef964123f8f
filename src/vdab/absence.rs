//! Whether a response that a CV is gone can be believed.
//!
//! A gateway that lost its way to the API can answer a proper "not found" for every CV.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The most CVs that may be gone in a row without a live one between them, once a live one was seen at all.
const IN_A_ROW: u32 = 3;

#[derive(Debug, Default)]
pub(super) struct Absence {
    streak: Mutex<Streak>,
    /// Held by the one caller that asks for live CVs.
    pub turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Streak {
    /// Gone CVs since the last live one.
    gone: u32,
    /// When the request for the latest live CV started.
    live: Option<Instant>,
}

impl Absence {
    /// A request that started at `asked` brought a document.
    pub(super) fn live(&self, asked: Instant) {
        let mut streak = self.lock();
        streak.gone = 0;
        streak.live = streak.live.max(Some(asked));
    }

    /// A CV is said to be gone.
    pub(super) fn gone(&self) {
        let mut streak = self.lock();
        streak.gone = streak.gone.saturating_add(1);
    }

    /// Whether a response, received at `received`, that a CV is gone needs no further proof.
    pub(super) fn is_plausible(&self, received: Instant) -> bool {
        let streak = self.lock();
        streak
            .live
            .is_some_and(|asked| streak.gone <= IN_A_ROW || asked >= received)
    }

    fn lock(&self) -> MutexGuard<'_, Streak> {
        self.streak.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_gone_gone_are_plausible_and_more_need_a_live_one() {
        let absence = Absence::default();
        absence.gone();
        assert!(!absence.is_plausible(Instant::now()), "none was live yet");
        absence.live(Instant::now());
        for _ in 0..IN_A_ROW {
            absence.gone();
            assert!(absence.is_plausible(Instant::now()));
        }
        let before = Instant::now();
        absence.gone();
        let received = Instant::now();
        assert!(!absence.is_plausible(received));
        absence.live(before);
        assert!(absence.is_plausible(received), "the row has ended");
        for _ in 0..=IN_A_ROW {
            absence.gone();
        }
        assert!(!absence.is_plausible(Instant::now()));
    }

    #[test]
    fn a_live_cv_that_was_asked_for_later_proves_an_answer() {
        let absence = Absence::default();
        let received = Instant::now();
        absence.live(received);
        for _ in 0..=IN_A_ROW {
            absence.gone();
        }
        assert!(absence.is_plausible(received));
    }
}
