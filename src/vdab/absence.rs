//! Whether the source's word that a CV is gone can be believed.
//!
//! A gateway that lost its way to the API can answer a proper "not found" for every CV.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// So many CVs in a row may be gone without a live one between them, once a live one was seen at all.
const IN_A_ROW: u32 = 3;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Absence {
    seen: Mutex<Seen>,
    /// Held by the one caller that asks for live CVs.
    pub turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Seen {
    /// Gone CVs since the last live one.
    in_a_row: u32,
    /// When the request started that brought the latest live CV.
    live: Option<Instant>,
}

impl Absence {
    /// A request that started at `asked` brought a document.
    pub(super) fn live(&self, asked: Instant) {
        let mut seen = self.lock();
        seen.in_a_row = 0;
        seen.live = seen.live.max(Some(asked));
    }

    /// A CV is said to be gone.
    pub(super) fn gone(&self) {
        let mut seen = self.lock();
        seen.in_a_row = seen.in_a_row.saturating_add(1);
    }

    /// Whether an answer of `told` that a CV is gone needs no further proof.
    pub(super) fn is_plausible(&self, told: Instant) -> bool {
        let seen = self.lock();
        seen.live
            .is_some_and(|asked| seen.in_a_row <= IN_A_ROW || asked >= told)
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_gone_in_a_row_are_plausible_and_more_need_a_live_one() {
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
        let told = Instant::now();
        assert!(!absence.is_plausible(told));
        absence.live(before);
        assert!(absence.is_plausible(told), "the row has ended");
        for _ in 0..=IN_A_ROW {
            absence.gone();
        }
        assert!(!absence.is_plausible(Instant::now()));
    }

    #[test]
    fn a_live_cv_that_was_asked_for_later_proves_an_answer() {
        let absence = Absence::default();
        let told = Instant::now();
        absence.live(told);
        for _ in 0..=IN_A_ROW {
            absence.gone();
        }
        assert!(absence.is_plausible(told));
    }
}
