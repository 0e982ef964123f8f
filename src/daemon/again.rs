//! When a run that failed is due again; pure.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::pauses::Pauses;

/// The pause after the first failure; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

pub(super) fn pauses() -> Pauses {
    Pauses::new(FIRST_PAUSE, LONGEST_PAUSE)
}

/// When a run that failed is due again.
pub(super) fn after(
    pauses: &mut Pauses,
    now: DateTime<Utc>,
    failed: bool,
) -> Option<DateTime<Utc>> {
    if failed {
        Some(now + TimeDelta::from_std(pauses.next_pause()).unwrap_or_default())
    } else {
        *pauses = self::pauses();
        None
    }
}

/// Whether the time has come. A clock that was set back would let a run wait for as long as it was set back.
pub(super) fn is_again(at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
    at.is_some_and(|at| at <= now || at > now + TimeDelta::hours(1))
}
