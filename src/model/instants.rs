//! The bounds of times from outside. Within them, neither arithmetic nor a time zone overflows.

use chrono::{DateTime, Datelike, TimeDelta, Utc};

/// How far ahead an end may be that a person sets: ten years.
const FARTHEST: TimeDelta = TimeDelta::days(3_653);

/// Whether a time from outside is from 1970 to 9999.
#[must_use]
pub fn is_in_bounds(at: DateTime<Utc>) -> bool {
    (1_970..=9_999).contains(&at.year())
}

/// Whether an end that a person sets is later than `now`, and at most ten years later.
#[must_use]
pub fn is_end(now: DateTime<Utc>, end: DateTime<Utc>) -> bool {
    let ahead = end - now;
    TimeDelta::zero() < ahead && ahead <= FARTHEST
}

/// The nearest time that every time zone can show: a database may hold any time.
#[must_use]
pub fn showable(at: DateTime<Utc>) -> DateTime<Utc> {
    let day = TimeDelta::days(1);
    at.clamp(
        DateTime::<Utc>::MIN_UTC + day,
        DateTime::<Utc>::MAX_UTC - day,
    )
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn an_end_is_at_most_ten_years_ahead() {
        let now = at("2026-11-30T12:00:00Z");
        for (end, is) in [
            ("2026-11-30T12:00:00Z", false),
            ("2026-11-30T12:00:01Z", true),
            ("2036-11-30T12:00:00Z", true),
            ("2037-11-30T12:00:00Z", false),
            ("+262142-12-31T23:59:59Z", false),
            ("-262143-01-01T00:00:00Z", false),
        ] {
            assert_eq!(is_end(now, at(end)), is, "{end}");
        }
        assert!(!is_end(DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC));
        assert!(!is_end(DateTime::<Utc>::MAX_UTC, DateTime::<Utc>::MIN_UTC));
        assert!(is_in_bounds(now) && is_in_bounds(DateTime::UNIX_EPOCH));
        for far in ["1969-12-31T23:59:59Z", "+10000-01-01T00:00:00Z"] {
            assert!(!is_in_bounds(at(far)), "{far}");
        }
    }

    #[test]
    fn every_time_can_be_shown_in_every_zone() {
        for extreme in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
            for zone in ["Pacific/Kiritimati", "Pacific/Pago_Pago", "Europe/Brussels"] {
                let zone: Tz = zone.parse().unwrap();
                let local = showable(extreme).with_timezone(&zone);
                assert!(!local.format("%-d %b %Y %H:%M:%S").to_string().is_empty());
                assert!(local.date_naive() != DateTime::UNIX_EPOCH.date_naive());
            }
        }
        let now = at("2026-11-30T12:00:00Z");
        assert_eq!(showable(now), now);
    }
}
