//! The estimate of how many ids are still to be listed.

use chrono::TimeDelta;

/// How many ids the latest windows had. Older ones count less and less, since CVs are not spread evenly over the years.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Density {
    ids: f64,
    millis: f64,
}

/// After this much listed time, windows count half.
const HALF_LIFE: TimeDelta = TimeDelta::days(60);

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate"
)]
impl Density {
    /// Empty years before the first CV say nothing.
    pub(super) fn add(&mut self, width: TimeDelta, ids: u64) {
        if ids == 0 && self.ids == 0.0 {
            return;
        }
        let millis = width.num_milliseconds() as f64;
        let remains = 0.5_f64.powf(millis / HALF_LIFE.num_milliseconds() as f64);
        self.ids = self.ids * remains + ids as f64;
        self.millis = self.millis * remains + millis;
    }

    /// The ids to expect in this much time.
    pub(super) fn ids_in(self, time: TimeDelta) -> u64 {
        (self.ids * time.num_milliseconds() as f64 / self.millis.max(1.0)) as u64
    }
}
