//! How a source differs from the contract: its names, its time format, and its paging; pure.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

use super::Window;

/// The source's names where they differ from the contract's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(BTreeMap<&'static str, String>);

impl Names {
    /// The contract's names that can differ: parameters, fields of lists and errors, leading fields of a document.
    pub const OURS: &[&str] = &[
        "van",
        "tot",
        "vanaf",
        "aantal",
        "resultaten",
        "cvId",
        "status",
        "moreInformation",
        "document.cvId",
        "document.status",
        "document.wijzigingsDatum",
    ];

    /// Names that occur in the same place, and so must differ from each other.
    const TOGETHER: &[&[&str]] = &[
        &["van", "tot", "vanaf", "aantal"],
        &["cvId", "status"],
        &[
            "document.cvId",
            "document.status",
            "document.wijzigingsDatum",
        ],
    ];

    /// The source's name for one of [`OURS`](Self::OURS).
    #[must_use]
    pub fn of<'a>(&'a self, ours: &'a str) -> &'a str {
        match self.0.get(ours) {
            Some(theirs) => theirs,
            None => ours.strip_prefix("document.").unwrap_or(ours),
        }
    }

    /// Whether a leading field of a document has this name.
    #[must_use]
    pub fn lead_document(&self, theirs: &str) -> bool {
        let mut leading = Self::OURS
            .iter()
            .filter(|ours| ours.starts_with("document."));
        leading.any(|ours| self.of(ours) == theirs)
    }

    /// Sets the source's name for one of [`OURS`](Self::OURS).
    pub fn set(&mut self, ours: &'static str, theirs: &str) {
        self.0.remove(ours);
        if self.of(ours) != theirs {
            self.0.insert(ours, theirs.to_owned());
        }
    }

    /// Whether all names are the contract's.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Two of our names that have the same name at the source, in one place.
    #[must_use]
    pub fn clash(&self) -> Option<(&'static str, &'static str)> {
        Self::TOGETHER.iter().find_map(|together| {
            together.iter().enumerate().find_map(|(at, one)| {
                let same = |other: &&&'static str| self.of(other) == self.of(one);
                Some((*one, *together[at + 1..].iter().find(same)?))
            })
        })
    }
}

/// In the format of `CVSYNC_API_NAMES`.
impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (ours, theirs)) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{ours}={theirs}")?;
        }
        Ok(())
    }
}

/// The unit of the parameter `vanaf`, and its first number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Paging {
    /// Counts results from 0.
    #[default]
    OffsetFrom0,
    /// Counts results from 1.
    OffsetFrom1,
    /// Counts pages from 0.
    PageFrom0,
    /// Counts pages from 1.
    PageFrom1,
}

impl Paging {
    /// All values, each with its word in `CVSYNC_API_PAGING`.
    pub const ALL: &[(&str, Self)] = &[
        ("offset-from-0", Self::OffsetFrom0),
        ("offset-from-1", Self::OffsetFrom1),
        ("page-from-0", Self::PageFrom0),
        ("page-from-1", Self::PageFrom1),
    ];

    /// The value of `vanaf` for results from `offset` on, with `size` results per page. An offset within a page is rounded up,
    /// because the results on that page are known already.
    #[must_use]
    pub fn number(self, offset: u64, size: u16) -> u64 {
        let pages = offset.div_ceil(u64::from(size.max(1)));
        match self {
            Self::OffsetFrom0 => offset,
            Self::OffsetFrom1 => offset + 1,
            Self::PageFrom0 => pages,
            Self::PageFrom1 => pages + 1,
        }
    }

    /// The word in `CVSYNC_API_PAGING`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        let word = Self::ALL.iter().find(|(_, paging)| *paging == self);
        word.map_or("", |(word, _)| word)
    }
}

/// RFC 3339 in UTC with milliseconds, as in the contract.
pub(crate) const TIME_FORMAT: &str = "%Y-%m-%dT%H:%M:%S%.3fZ";

/// The differences between a source and the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialect {
    pub names: Names,
    /// Its time format: a strftime pattern that shows at least minutes.
    pub time_format: String,
    pub paging: Paging,
}

impl Default for Dialect {
    /// As in the contract.
    fn default() -> Self {
        Self {
            names: Names::default(),
            time_format: TIME_FORMAT.to_owned(),
            paging: Paging::default(),
        }
    }
}

impl Dialect {
    /// A time in the source's format.
    #[must_use]
    pub fn instant(&self, at: DateTime<Utc>) -> String {
        at.format(&self.time_format).to_string()
    }

    /// The smallest step in which the source may compare times: the step of its time format, but at least a second. A source
    /// that accepts milliseconds may still store and compare whole seconds.
    #[must_use]
    pub fn resolution(&self) -> TimeDelta {
        let at = |seconds| self.instant(DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds));
        if at(0) == at(1) {
            TimeDelta::minutes(1)
        } else {
            TimeDelta::seconds(1)
        }
    }

    /// The ends of a window in the source's format. If both would be equal, the window is one step wider.
    #[must_use]
    pub fn ends(&self, window: Window) -> (String, String) {
        let (van, tot) = (self.instant(window.van()), self.instant(window.tot()));
        if van == tot {
            return (van, self.instant(window.tot() + self.resolution()));
        }
        (van, tot)
    }

    /// The window to request so that the response covers `window`, however the source treats the ends: inclusive or
    /// exclusive, truncated or rounded. Adjacent windows overlap by two steps. Nothing after `latest` is added.
    #[must_use]
    pub fn request(&self, window: Window, latest: DateTime<Utc>) -> Window {
        window.widened(self.resolution(), latest)
    }

    /// Both halves of a window; `None` if they would be so short that their margins are most of the request.
    #[must_use]
    pub fn halves(&self, window: Window) -> Option<(Window, Window)> {
        let shortest = self.resolution() * 2;
        window
            .halves()
            .filter(|(older, _)| older.width() >= shortest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(van: i64, tot: i64) -> Window {
        let at = |ms| DateTime::from_timestamp_millis(ms).unwrap();
        Window::new(at(van), at(tot)).unwrap()
    }

    #[test]
    fn names_are_the_contracts_unless_set() {
        let mut names = Names::default();
        assert_eq!(names.of("document.cvId"), "cvId");
        names.set("van", "van");
        names.set("document.cvId", "cvId");
        assert!(names.is_empty());
        names.set("van", "from");
        names.set("document.cvId", "id");
        assert_eq!(
            (names.of("van"), names.of("document.cvId"), names.of("cvId")),
            ("from", "id", "cvId")
        );
        assert_eq!(names.to_string(), "document.cvId=id,van=from");
        assert_eq!(names.clash(), None);
        names.set("aantal", "tot");
        assert_eq!(names.clash(), Some(("tot", "aantal")));
    }

    #[test]
    fn default_time_format_is_the_contracts() {
        let (dialect, window) = (
            Dialect::default(),
            window(1_700_000_000_123, 1_700_000_001_000),
        );
        let expected = super::super::window::instant(window.van());
        assert_eq!(dialect.instant(window.van()), expected);
    }

    #[test]
    fn a_clock_without_milliseconds_leaves_no_gap_and_no_empty_window() {
        let coarse = Dialect {
            time_format: "%s".to_owned(),
            ..Dialect::default()
        };
        assert_eq!(coarse.ends(window(300, 2_700)), ("0".into(), "2".into()));
        assert_eq!(coarse.ends(window(300, 700)), ("0".into(), "1".into()));
    }

    #[test]
    fn neighbouring_requests_overlap_however_the_source_treats_their_ends() {
        type Ends = fn(i64, i64) -> i64;
        let floor: Ends = |at, step| at.div_euclid(step) * step;
        let round: Ends = |at, step| (at + step / 2).div_euclid(step) * step;
        let ceil: Ends = |at, step| (at + step - 1).div_euclid(step) * step;
        for (time_format, steps) in [
            (TIME_FORMAT, &[1, 10, 1_000][..]),
            ("%s", &[1_000]),
            ("%Y-%m-%dT%H:%M:00.000Z", &[1_000, 60_000]),
        ] {
            let dialect = Dialect {
                time_format: time_format.to_owned(),
                ..Dialect::default()
            };
            let far = DateTime::<Utc>::MAX_UTC;
            for edge in [0, 1, 499, 500, 501, 999, 1_000, 59_999, 60_000, 90_000] {
                let edge = 1_700_000_000_000 + edge;
                let older = dialect.request(window(edge - 400_000, edge), far);
                let newer = dialect.request(window(edge, edge + 400_000), far);
                let sent = |at: DateTime<Utc>| match at.format(time_format).to_string() {
                    seconds if time_format == "%s" => seconds.parse::<i64>().unwrap() * 1_000,
                    written => written.parse::<DateTime<Utc>>().unwrap().timestamp_millis(),
                };
                for step in steps {
                    for (van, tot) in [(floor, floor), (round, round), (ceil, floor)] {
                        let begins = van(sent(newer.van()), *step);
                        let ends = tot(sent(older.tot()), *step);
                        // Both ends may be exclusive.
                        assert!(begins < ends, "{time_format} {step} {edge}");
                    }
                }
            }
        }
    }

    #[test]
    fn halving_a_window_ends_before_the_margins_outweigh_it() {
        for (time_format, shortest) in [(TIME_FORMAT, 2), ("%Y-%m-%dT%H:%MZ", 120)] {
            let dialect = Dialect {
                time_format: time_format.to_owned(),
                ..Dialect::default()
            };
            let mut last = window(0, 432_000_000);
            while let Some((older, _)) = dialect.halves(last) {
                last = older;
            }
            assert!(last.width() >= TimeDelta::seconds(shortest));
            assert!(last.width() < TimeDelta::seconds(shortest * 2));
        }
    }

    #[test]
    fn page_numbers_follow_the_paging_setting() {
        let numbers = |offset| {
            let of = |(_, paging): &(_, Paging)| paging.number(offset, 100);
            Paging::ALL.iter().map(of).collect::<Vec<_>>()
        };
        assert_eq!(numbers(0), [0, 1, 0, 1]);
        assert_eq!(numbers(200), [200, 201, 2, 3]);
        assert_eq!(numbers(150), [150, 151, 2, 3]);
    }
}
