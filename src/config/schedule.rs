//! Schedules: a cron pattern in a time zone, through every clock change of that zone.

use chrono::{DateTime, DurationRound, NaiveDateTime, NaiveTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

use super::rules;

/// The step of the search for a clock change. Two changes that cancel each other out are further apart.
const STRIDE: TimeDelta = TimeDelta::hours(6);

/// A cron pattern with seconds, in a time zone.
#[derive(Clone, Debug)]
pub struct Schedule {
    pub cron: Cron,
    pub zone: Tz,
}

impl Schedule {
    /// The first tick after `from`, by exact time; `None` if the pattern never matches again.
    ///
    /// The pattern is matched against local time. Where local time jumps:
    ///
    /// - Ticks in skipped time become one tick right after it, unless their whole day is skipped.
    /// - In time that comes twice, a repeating schedule ticks both times. A schedule of fixed times ticks the first time only.
    #[must_use]
    pub fn after(&self, from: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let repeats = self.repeats();
        let mut from = from.duration_trunc(TimeDelta::seconds(1)).ok()?;
        let mut including = false;
        loop {
            let offset = self.offset(from);
            let local = self.next_on_the_wall(from.naive_utc() + offset, including)?;
            let tick = (local - offset).and_utc();
            let Some(change) = self.change(from, tick) else {
                if repeats || !self.is_second_time(local, tick) {
                    return Some(tick);
                }
                (from, including) = (tick, false);
                continue;
            };
            let resumed = change.naive_utc() + self.offset(change);
            if self.is_owed(local, change.naive_utc() + offset, resumed) {
                return Some(change);
            }
            (from, including) = (change, true);
        }
    }

    /// The time between two ticks. A pattern can be uneven, such as working hours, so this is the longest of the current
    /// interval and the two that follow.
    #[must_use]
    pub fn interval(&self, now: DateTime<Utc>) -> Option<TimeDelta> {
        let local = now.naive_utc() + self.offset(now);
        let last = self.cron.find_previous_occurrence(&local.and_utc(), true);
        let last = last.ok().and_then(|last| {
            let last = self.zone.from_local_datetime(&last.naive_utc());
            Some(last.earliest()?.to_utc())
        });
        let first = match last {
            Some(last) => last,
            None => self.after(now)?,
        };
        let mut ticks = vec![first];
        while let Some(tick) = ticks.last().and_then(|last| self.after(*last))
            && ticks.len() < 4
        {
            ticks.push(tick);
        }
        ticks.windows(2).map(|pair| pair[1] - pair[0]).max()
    }

    /// Whether it ticks at intervals, as in "every five minutes", and not at fixed times of the day: a `*` or a step in its
    /// seconds, minutes or hours, or all hours.
    fn repeats(&self) -> bool {
        let fields = self.cron.as_str().split_whitespace().take(3);
        let hours = |hour| self.cron.pattern.hour_match(hour).unwrap_or(false);
        fields.into_iter().any(|field| field.contains(['*', '/'])) || (0..24).all(hours)
    }

    fn offset(&self, at: DateTime<Utc>) -> TimeDelta {
        let offset = self.zone.offset_from_utc_datetime(&at.naive_utc()).fix();
        TimeDelta::seconds(offset.local_minus_utc().into())
    }

    /// The next match of the pattern in local time, without jumps.
    fn next_on_the_wall(&self, from: NaiveDateTime, including: bool) -> Option<NaiveDateTime> {
        let next = self.cron.find_next_occurrence(&from.and_utc(), including);
        Some(next.ok()?.naive_utc())
    }

    /// Whether this local time occurs for the second time.
    fn is_second_time(&self, local: NaiveDateTime, tick: DateTime<Utc>) -> bool {
        let first = self.zone.from_local_datetime(&local).earliest();
        first.is_some_and(|first| first.to_utc() < tick)
    }

    /// The first instant after `from`, up to `until`, with another offset of the zone.
    fn change(&self, from: DateTime<Utc>, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let offset = self.offset(from);
        let mut before = from;
        let mut behind = loop {
            let next = until.min(before + STRIDE);
            if self.offset(next) != offset {
                break next;
            }
            if next == until {
                return None;
            }
            before = next;
        };
        while behind - before > TimeDelta::seconds(1) {
            let middle = before + TimeDelta::seconds((behind - before).num_seconds() / 2);
            if self.offset(middle) == offset {
                before = middle;
            } else {
                behind = middle;
            }
        }
        Some(behind)
    }

    /// Whether a match from `local` on is in skipped time, on a day that is not skipped completely.
    fn is_owed(
        &self,
        local: NaiveDateTime,
        skipped: NaiveDateTime,
        resumed: NaiveDateTime,
    ) -> bool {
        let mut next = Some(local);
        while let Some(local) = next
            && local < resumed
        {
            let midnight = local.date().and_time(NaiveTime::MIN);
            if midnight < skipped || midnight + TimeDelta::days(1) > resumed {
                return true;
            }
            next = self.next_on_the_wall(midnight + TimeDelta::days(1), true);
        }
        false
    }
}

pub(super) fn zone(text: &str) -> Result<Tz, String> {
    text.parse().map_err(|_| {
        let nearest = rules::nearest(text, TZ_VARIANTS.iter().map(|zone| zone.name()));
        format!("must be an IANA time zone; the nearest is {nearest}")
    })
}

/// Six fields, or five without the seconds, as usual in cron. A year is refused, because the schedule would end silently.
pub(super) fn cron(text: &str) -> Result<Cron, String> {
    let with_seconds = match text.split_whitespace().count() {
        5 => format!("0 {text}"),
        _ => text.to_owned(),
    };
    let cron = CronParser::builder()
        .seconds(Seconds::Required)
        .year(Year::Disallowed)
        .build()
        .parse(&with_seconds)
        .map_err(|_| {
            "must be a cron pattern with six fields: second, minute, hour, day, month and day of the week".to_owned()
        })?;
    cron.find_next_occurrence(&DateTime::UNIX_EPOCH, true)
        .map_err(|_| "must be a cron pattern that matches at least one date".to_owned())?;
    Ok(cron)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use chrono_tz::{America, Australia, Pacific};

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn schedule(pattern: &str, zone: Tz) -> Schedule {
        let cron = cron(pattern).unwrap();
        Schedule { cron, zone }
    }

    /// Ticks after `from`, up to `until`, in ascending order.
    fn ticks(schedule: &Schedule, from: DateTime<Utc>, until: DateTime<Utc>) -> Vec<DateTime<Utc>> {
        let mut ticks = Vec::new();
        let mut last = from;
        while let Some(tick) = schedule.after(last).filter(|tick| *tick <= until) {
            assert!(
                tick > last,
                "{} {}: {tick} after {last}",
                schedule.zone,
                schedule.cron
            );
            ticks.push(tick);
            last = tick;
        }
        ticks
    }

    /// Every clock change of every zone in 2026 and 2027, with its shift. Zones with equal changes occur once.
    fn changes() -> Vec<(Tz, DateTime<Utc>, TimeDelta)> {
        let (start, until) = (at("2026-01-01T00:00:00Z"), at("2028-01-01T00:00:00Z"));
        let (mut count, mut alike) = (0, HashSet::new());
        let mut changes = Vec::new();
        for zone in TZ_VARIANTS {
            let schedule = schedule("@yearly", zone);
            let mut from = start;
            while let Some(change) = schedule.change(from, until) {
                let (old, new) = (schedule.offset(from), schedule.offset(change));
                count += 1;
                if alike.insert((change, old, new)) {
                    changes.push((zone, change, new - old));
                }
                from = change;
            }
        }
        assert!(count > 400, "{count} changes");
        changes
    }

    #[test]
    fn minutes_tick_in_real_time_through_every_change_of_every_zone() {
        for (zone, change, _) in changes() {
            for (pattern, minutes) in [("0 */5 * * * *", 5), ("0 0/15 0-23 * * *", 15)] {
                let schedule = schedule(pattern, zone);
                let (from, until) = (change - TimeDelta::hours(3), change + TimeDelta::hours(3));
                let ticks = ticks(&schedule, from, until);
                let longest = ticks.windows(2).map(|pair| pair[1] - pair[0]).max();
                let limit = TimeDelta::minutes(minutes);
                assert!(longest <= Some(limit), "{zone} {change}: {longest:?}");
                assert!(ticks.len() >= 23, "{zone} {change}: {}", ticks.len());
            }
        }
    }

    #[test]
    fn daily_job_runs_once_for_each_local_day_through_every_change_of_every_zone() {
        for (zone, change, shift) in changes() {
            let (from, until) = (change - TimeDelta::hours(50), change + TimeDelta::hours(50));
            for time in [
                "0 0 0", "0 30 0", "0 30 1", "0 0 2", "15 15 2", "0 30 2", "0 30 23",
            ] {
                let schedule = schedule(&format!("{time} * * *"), zone);
                let ticks = ticks(&schedule, from, until);
                // A tick that was due in skipped time comes right behind it, and counts for the time at which it was due.
                let due = |tick: &DateTime<Utc>| {
                    let late = if *tick == change {
                        shift
                    } else {
                        TimeDelta::zero()
                    };
                    let local = tick.naive_utc() + schedule.offset(*tick);
                    let matches = schedule.cron.is_time_matching(&local.and_utc()).unwrap();
                    if matches { local } else { local - late }.date()
                };
                let days: Vec<_> = ticks.iter().map(due).collect();
                let each = days
                    .windows(2)
                    .all(|pair| pair[0].succ_opt() == Some(pair[1]));
                assert!(each && days.len() >= 4, "{zone} {change} {time}: {ticks:?}");
            }
        }
    }

    #[test]
    fn start_at_any_moment_around_a_change_ticks_next_as_the_running_schedule_does() {
        let mut random = fastrand::Rng::with_seed(5);
        for (zone, change, _) in changes() {
            for pattern in ["0 */5 * * * *", "0 30 2 * * *", "7 0,20,40 1-3 * * 0,1,6"] {
                let schedule = schedule(pattern, zone);
                let (from, until) = (change - TimeDelta::hours(4), change + TimeDelta::days(8));
                let all = ticks(&schedule, from, change + TimeDelta::hours(4));
                for _ in 0..8 {
                    let start = from + TimeDelta::milliseconds(random.i64(0..7 * 3_600_000));
                    let next = schedule.after(start).unwrap();
                    assert!(
                        next > start && next < until,
                        "{zone} {pattern} {start}: {next}"
                    );
                    let running = all.iter().find(|tick| **tick > start);
                    assert!(
                        running.is_none_or(|tick| *tick == next),
                        "{zone} {pattern} {start}"
                    );
                }
            }
        }
    }

    #[test]
    fn half_hour_midnight_and_whole_day_shifts_are_handled() {
        let ticks = |pattern, zone, from, until| -> Vec<String> {
            let schedule = schedule(pattern, zone);
            let ticks = ticks(&schedule, at(from), at(until));
            let local = |tick: &DateTime<Utc>| tick.with_timezone(&zone).format("%d %H:%M %z");
            ticks.iter().map(|tick| local(tick).to_string()).collect()
        };
        let hourly = ("0 0 * * * *", Australia::Lord_Howe);
        assert_eq!(
            ticks(
                hourly.0,
                hourly.1,
                "2026-10-03T14:00:00Z",
                "2026-10-03T16:30:00Z"
            ),
            ["04 01:00 +1030", "04 02:30 +1100", "04 03:00 +1100"]
        );
        assert_eq!(
            ticks(
                "0 45 1 * * *",
                hourly.1,
                "2026-04-03T20:00:00Z",
                "2026-04-05T20:00:00Z"
            ),
            ["05 01:45 +1100", "06 01:45 +1030"]
        );
        assert_eq!(
            ticks(
                "0 30 23 * * 6",
                America::Nuuk,
                "2026-03-28T12:00:00Z",
                "2026-04-05T12:00:00Z"
            ),
            ["29 00:00 -0100", "04 23:30 -0100"]
        );
        assert_eq!(
            ticks(
                "0 30 2 * * *",
                Pacific::Apia,
                "2011-12-29T00:00:00Z",
                "2011-12-31T00:00:00Z"
            ),
            ["29 02:30 -1000", "31 02:30 +1400"]
        );
    }

    #[test]
    fn minutes_of_fixed_hours_tick_both_times_and_fixed_times_once() {
        let brussels = chrono_tz::Europe::Brussels;
        // From 0:00 to 4:00 UTC the clock shows 2, 2 again, 3 and 4 o'clock.
        let (from, until) = (at("2026-10-24T23:59:59Z"), at("2026-10-25T03:59:59Z"));
        let count = |pattern| ticks(&schedule(pattern, brussels), from, until).len();
        assert_eq!(count("0 */5 2 * * *"), 24);
        assert_eq!(count("0 0,30 2 * * *"), 2);
        assert_eq!(count("0 0,30 0-23 * * *"), 8);
        assert_eq!(count("0 0 2,14 * * *"), 1);
    }
}
