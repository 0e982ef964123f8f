//! The limits by which cvsync is judged. The alerts have the same; a test holds both together.

use chrono::TimeDelta;

/// The copy is late after this many schedules.
pub const SCHEDULES: i32 = 3;

/// A run may take this long before it counts as late.
pub const RUN: TimeDelta = TimeDelta::minutes(1);

/// A first sync that handles no CV for longer is not getting anywhere.
pub const FIRST_SYNC: TimeDelta = TimeDelta::minutes(20);

/// A standby takes over within 15 seconds.
pub const NO_LEADER: TimeDelta = TimeDelta::minutes(2);

/// Two instances may both say that they lead for this long, while one takes over from the other.
pub const TWO_LEADERS: TimeDelta = TimeDelta::minutes(2);

/// For longer than this nobody waits for quota without asking why.
pub const QUOTA: TimeDelta = TimeDelta::minutes(30);

/// A pause that is older may have been forgotten.
pub const PAUSE: TimeDelta = TimeDelta::hours(4);

/// A parked CV is retried at least daily; one that is older needs a person.
pub const PARKED: TimeDelta = TimeDelta::hours(24);

/// Days without the second listing.
pub const RELIST: TimeDelta = TimeDelta::days(3);

/// After this time a relist that never succeeded is missed.
pub const FIRST_RELIST: TimeDelta = TimeDelta::hours(2);

/// How long a change may wait for a consumer that is part of cvsync.
pub const OWN_CONSUMER: TimeDelta = TimeDelta::minutes(15);

/// How long a change may wait for a consumer of somebody else, which may read once a day.
pub const FOREIGN_CONSUMER: TimeDelta = TimeDelta::hours(25);

/// How far the watermark may be behind: three schedules, what cvsync stays behind on purpose, and the run itself.
#[must_use]
pub fn lag(interval: TimeDelta, settle_lag: TimeDelta) -> TimeDelta {
    interval * SCHEDULES + settle_lag + RUN
}
