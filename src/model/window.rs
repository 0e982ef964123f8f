//! A window of the source's time, `van <= t < tot`, and how it is cut.

use std::fmt;

use chrono::{DateTime, SecondsFormat, SubsecRound, TimeDelta, Utc};

/// A span of the source's time in whole milliseconds, the API's resolution. Never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    van: DateTime<Utc>,
    tot: DateTime<Utc>,
}

impl Window {
    /// The window from `van` up to but without `tot`, both cut to milliseconds; `None` if that is empty.
    #[must_use]
    pub fn new(van: DateTime<Utc>, tot: DateTime<Utc>) -> Option<Self> {
        let (van, tot) = (van.trunc_subsecs(3), tot.trunc_subsecs(3));
        (van < tot).then_some(Self { van, tot })
    }

    /// The start, inclusive.
    #[must_use]
    pub fn van(&self) -> DateTime<Utc> {
        self.van
    }

    /// The end, exclusive.
    #[must_use]
    pub fn tot(&self) -> DateTime<Utc> {
        self.tot
    }

    #[must_use]
    pub fn width(&self) -> TimeDelta {
        self.tot - self.van
    }

    /// The part before `end`; `None` if it is empty.
    #[must_use]
    pub fn until(&self, end: DateTime<Utc>) -> Option<Self> {
        Self::new(self.van, self.tot.min(end))
    }

    /// The window that ends at `end`, if that is later.
    #[must_use]
    pub(crate) fn up_to(&self, end: DateTime<Utc>) -> Self {
        Self {
            van: self.van,
            tot: self.tot.max(end.trunc_subsecs(3)),
        }
    }

    /// The last part, of at most `width`; and the rest before it, unless that is empty.
    #[must_use]
    pub(crate) fn last(&self, width: TimeDelta) -> (Self, Option<Self>) {
        let cut = self.tot - width;
        match (Self::new(cut, self.tot), Self::new(self.van, cut)) {
            (Some(last), Some(rest)) => (last, Some(rest)),
            _ => (*self, None),
        }
    }

    /// The window with `margin` added at both ends. The end is not moved beyond `latest`.
    #[must_use]
    pub fn widened(&self, margin: TimeDelta, latest: DateTime<Utc>) -> Self {
        let tot = (self.tot + margin).min(latest).trunc_subsecs(3);
        Self {
            van: self.van - margin,
            tot: tot.max(self.tot),
        }
    }

    /// Both halves, the older first; `None` for a single millisecond.
    #[must_use]
    pub fn halves(&self) -> Option<(Self, Self)> {
        let middle = self.van + self.width() / 2;
        Some((Self::new(self.van, middle)?, Self::new(middle, self.tot)?))
    }
}

/// A time in the API's format: RFC 3339 in UTC with milliseconds.
#[must_use]
pub fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", instant(self.van), instant(self.tot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(ms).unwrap()
    }

    #[test]
    fn halves_meet_and_cover_the_whole() {
        for width in [2, 3, 5, 86_400_000] {
            let whole = Window::new(at(7), at(7 + width)).unwrap();
            let (older, newer) = whole.halves().unwrap();
            assert_eq!(
                (older.van(), older.tot(), newer.tot()),
                (whole.van(), newer.van(), whole.tot())
            );
        }
        assert_eq!(Window::new(at(7), at(8)).unwrap().halves(), None);
    }

    #[test]
    fn a_widened_window_ends_at_the_latest_instant_at_most() {
        let second = TimeDelta::seconds(1);
        let ends = |latest| {
            let wider = Window::new(at(5_000), at(6_000))
                .unwrap()
                .widened(second, at(latest));
            (
                wider.van().timestamp_millis(),
                wider.tot().timestamp_millis(),
            )
        };
        assert_eq!(ends(9_000), (4_000, 7_000));
        assert_eq!(ends(6_300), (4_000, 6_300));
        assert_eq!(ends(5_500), (4_000, 6_000));
    }

    #[test]
    fn an_empty_window_does_not_exist() {
        assert_eq!(Window::new(at(7), at(7)), None);
        assert_eq!(Window::new(at(8), at(7)), None);
        let window = Window::new(at(5), at(9)).unwrap();
        assert_eq!(window.until(at(5)), None);
        assert_eq!(window.until(at(99)), Some(window));
        assert_eq!(
            window.to_string(),
            "1970-01-01T00:00:00.005Z to 1970-01-01T00:00:00.009Z"
        );
    }
}
