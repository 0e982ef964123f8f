//! The delete brake: whether so many deletes within a day need a person's approval; pure.

/// Up to this many deletes per day never need approval.
const FLOOR: u64 = 50;

/// How many deletes a day may have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Brake {
    share: f64,
    rehearsed: DeleteLoad,
}

/// The deletes in question, compared with the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeleteLoad {
    /// Deletes in the current batch.
    pub wanted: u64,
    /// Deletes of the last day, without approved ones.
    pub done: u64,
    /// Deletes that are already held.
    pub held: u64,
    /// CVs in the table.
    pub stored: u64,
}

impl Brake {
    /// Holds deletes if more than this share of the table, and more than 50 rows, would be deleted within a day.
    #[must_use]
    pub fn on(share: f64) -> Self {
        Self {
            share,
            rehearsed: DeleteLoad::default(),
        }
    }

    /// The brake of a dry run that has already deleted and held this many. It rolls them back, so the database does not show them.
    #[must_use]
    pub fn after(self, rehearsed: DeleteLoad) -> Self {
        Self { rehearsed, ..self }
    }

    /// Whether the deletes must be held. Once some are held, all further ones are.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    pub fn holds(&self, load: DeleteLoad) -> bool {
        let in_a_day = load.done + self.rehearsed.done + load.wanted;
        let there_were = load.stored + load.done;
        load.held + self.rehearsed.held > 0
            || (in_a_day > FLOOR && in_a_day as f64 > self.share * there_were as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(wanted: u64, done: u64, held: u64, stored: u64) -> bool {
        Brake::on(0.2).holds(DeleteLoad {
            wanted,
            done,
            held,
            stored,
        })
    }

    #[test]
    fn brake_holds_deletes_above_the_share_and_the_floor() {
        assert!(!holds(50, 0, 0, 60), "few rows never need a person");
        assert!(!holds(25, 25, 0, 25));
        assert!(holds(26, 25, 0, 200));
        assert!(!holds(2_000, 0, 0, 10_000), "a fifth may go");
        assert!(holds(2_001, 0, 0, 10_000));
        assert!(holds(1, 2_000, 0, 8_000), "over all runs together");
    }

    #[test]
    fn a_dry_run_counts_the_deletes_that_it_rolled_back() {
        let load = |wanted, stored| DeleteLoad {
            wanted,
            stored,
            ..DeleteLoad::default()
        };
        let after = |done, held| {
            Brake::on(0.2).after(DeleteLoad {
                done,
                held,
                ..DeleteLoad::default()
            })
        };
        assert!(!after(40, 0).holds(load(10, 200)));
        assert!(after(40, 0).holds(load(11, 200)));
        assert!(after(0, 1).holds(load(1, 1_000_000)));
    }

    #[test]
    fn once_a_delete_is_held_all_further_ones_are() {
        assert!(holds(1, 0, 1, 1_000_000));
    }
}
