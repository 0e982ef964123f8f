//! Instants as people write them, in options, variables and requests.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use serde::Deserialize;

use super::duration::{self, LONGEST};
use super::instants::is_in_bounds;
use super::window::instant;

/// An instant, or how far it is from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum When {
    At(DateTime<Utc>),
    /// At most `duration::LONGEST`, so that it can be added to the time of any clock.
    FromNow(Duration),
}

impl When {
    /// The instant, if a duration counts into the future.
    #[must_use]
    pub fn after(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::At(at) => at,
            Self::FromNow(duration) => now + duration,
        }
    }

    /// The instant, if a duration counts into the past.
    #[must_use]
    pub fn before(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::At(at) => at,
            Self::FromNow(duration) => now - duration,
        }
    }
}

/// A time with its zone, without which the hour would be ambiguous; or a date, for its first moment in UTC.
///
/// The years before 1970 and after 9999 are typing errors.
pub(crate) fn absolute(text: &str) -> Option<DateTime<Utc>> {
    text.parse::<DateTime<Utc>>()
        .or_else(|_| {
            text.parse()
                .map(|date: NaiveDate| date.and_time(NaiveTime::MIN).and_utc())
        })
        .ok()
        .filter(|moment| is_in_bounds(*moment))
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let span = || duration::parse(text).filter(|duration| *duration <= LONGEST);
        absolute(text)
            .map(Self::At)
            .or_else(|| span().map(Self::FromNow))
            .ok_or_else(|| {
                "must be a time with its zone, such as 2026-02-13T12:00:00Z, a date, such as 2026-02-13 (00:00 in UTC), or a duration from now, such as 2h or 30d"
                    .to_owned()
            })
    }
}

impl TryFrom<String> for When {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// Written as it may be read.
impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(at) => f.write_str(&instant(*at)),
            Self::FromNow(duration) => f.write_str(&duration::written(*duration)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        absolute("2026-02-13T12:00:00Z").unwrap()
    }

    #[test]
    fn times_dates_and_durations_are_read() {
        for (text, after, before) in [
            ("2026-02-13T12:00:00Z", "2026-02-13T12:00:00.000Z", None),
            (
                "2026-02-13T13:00:00+01:00",
                "2026-02-13T12:00:00.000Z",
                None,
            ),
            // A time that clocks in Brussels skip is one instant with its zone.
            (
                "2026-03-29T02:30:00+01:00",
                "2026-03-29T01:30:00.000Z",
                None,
            ),
            ("2026-03-29", "2026-03-29T00:00:00.000Z", None),
            ("9999-12-31", "9999-12-31T00:00:00.000Z", None),
            (
                "2h",
                "2026-02-13T14:00:00.000Z",
                Some("2026-02-13T10:00:00.000Z"),
            ),
            (
                "0h",
                "2026-02-13T12:00:00.000Z",
                Some("2026-02-13T12:00:00.000Z"),
            ),
            (
                "10000d",
                "2053-07-01T12:00:00.000Z",
                Some("1998-09-28T12:00:00.000Z"),
            ),
        ] {
            let when: When = text.parse().unwrap();
            assert_eq!(instant(when.after(now())), after, "{text}");
            assert_eq!(
                instant(when.before(now())),
                before.unwrap_or(after),
                "{text}"
            );
            assert_eq!(when.to_string().parse(), Ok(when));
        }
    }

    #[test]
    fn ambiguous_negative_and_distant_instants_are_refused_with_examples() {
        for text in [
            "",
            "noon",
            "2026-02-13T12:00:00",
            "2026-03-29T02:30",
            "2026-02-30",
            "1969-12-31T23:59:59Z",
            "10000-01-01",
            "+12000-01-01",
            "+262142-12-31T23:59:59Z",
            "-1-01-01",
            "-2h",
            "+2h",
            "2",
            "2 h",
            "1h30m",
            "1.5h",
            "10001d",
            "99999999999999999999h",
            "٣h",
        ] {
            let error = text.parse::<When>().unwrap_err();
            assert!(error.contains("2026-02-13T12:00:00Z"), "{text}");
        }
    }
}
