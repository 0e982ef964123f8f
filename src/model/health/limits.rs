//! Limits of the verdict. The alerts have the same limits; a test compares them.

use chrono::TimeDelta;

/// The copy is late after this many intervals of the schedule.
pub const SCHEDULES: i32 = 3;

/// A run may take this long before it counts as late.
pub const RUN: TimeDelta = TimeDelta::minutes(1);

/// A first sync that handles no CV for this long is stuck.
pub const FIRST_SYNC: TimeDelta = TimeDelta::minutes(20);

/// A standby takes over within 15 seconds.
pub const NO_LEADER: TimeDelta = TimeDelta::minutes(2);

/// Two instances may both act as the leader for this long, while one takes over.
pub const TWO_LEADERS: TimeDelta = TimeDelta::minutes(2);

/// A longer wait for quota has a cause that you should remove.
pub const QUOTA: TimeDelta = TimeDelta::minutes(30);

/// A longer pause may have been forgotten.
pub const PAUSE: TimeDelta = TimeDelta::hours(4);

/// cvsync retries a parked CV at least daily; one that stays longer needs a person.
pub const PARKED: TimeDelta = TimeDelta::hours(24);

/// Longest time without a second listing.
pub const RELIST: TimeDelta = TimeDelta::days(3);

/// The first second listing is due this long after the daemon started.
pub const FIRST_RELIST: TimeDelta = TimeDelta::hours(2);

/// How long a change may wait for a consumer that is part of cvsync.
pub const OWN_CONSUMER: TimeDelta = TimeDelta::minutes(15);

/// How long a change may wait for any other consumer, which may read once a day.
pub const FOREIGN_CONSUMER: TimeDelta = TimeDelta::hours(25);

/// How far the standby may be behind from which the mirror reads.
pub const REPLICA: TimeDelta = TimeDelta::minutes(1);

/// The longest lag: three intervals of the schedule, the settle lag, and the run itself.
#[must_use]
pub fn lag(interval: TimeDelta, settle_lag: TimeDelta) -> TimeDelta {
    interval * SCHEDULES + settle_lag + RUN
}
