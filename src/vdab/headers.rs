//! The headers of a response: the source's time, how long to wait, the quota and how much of it is left.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, RETRY_AFTER, WWW_AUTHENTICATE};

const SHORTEST_WAIT: Duration = Duration::from_secs(1);

/// The longest wait that a header can cause.
pub const LONGEST_WAIT: Duration = Duration::from_mins(15);

/// From these numbers on, a value is a Unix time in seconds, or in milliseconds, and not a number of seconds to wait.
const UNIX_SECONDS: f64 = 1e9;
const UNIX_MILLIS: f64 = 1e12;

/// A property of the quota: the names of its headers, and its names in the `RateLimit` header of the IETF draft.
struct Field {
    headers: &'static [&'static str],
    draft: &'static [&'static str],
}

const RESET: Field = Field {
    headers: &["x-ratelimit-reset", "x-rate-limit-reset", "ratelimit-reset"],
    draft: &["reset", "t"],
};
const REMAINING: Field = Field {
    headers: &[
        "x-ratelimit-remaining",
        "x-rate-limit-remaining",
        "ratelimit-remaining",
    ],
    draft: &["remaining", "r"],
};
const LIMIT: Field = Field {
    headers: &["x-ratelimit-limit", "x-rate-limit-limit", "ratelimit-limit"],
    draft: &["limit", "q"],
};

/// The headers of the IETF draft, which hold several properties at once.
const DRAFT: &[&str] = &["ratelimit", "ratelimit-policy"];

/// The `Date` header: the source's time in whole seconds, rounded down.
#[must_use]
pub fn date(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    http_date(text(headers, DATE.as_str())?)
}

/// `Retry-After` as a number, a duration or a date (RFC 9110, 10.2.3), between 1 s and 15 min.
///
/// A date is compared with the response's own `Date`. The longest of several values counts. Nonsense is `None`.
#[must_use]
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let now = date(headers);
    let values = texts(headers, RETRY_AFTER.as_str());
    values
        .filter_map(|value| wait(value, now).or_else(|| longest(value, now)))
        .max()
}

/// How long until the quota is whole again, between 1 s and 15 min.
///
/// If there are several limits, the longest wait of those that are used up counts, or of all if none is known to be used up.
#[must_use]
pub fn rate_limit_reset(headers: &HeaderMap) -> Option<Duration> {
    let now = date(headers);
    let resets = RESET.read(headers, |value| wait(value, now));
    let used_up: Vec<_> = REMAINING
        .read(headers, count)
        .into_iter()
        .filter(|(_, left)| *left == 0)
        .map(|(name, _)| name)
        .collect();
    let of_used_up = resets.iter().filter(|(name, _)| used_up.contains(name));
    let longest = of_used_up.map(|(_, wait)| *wait).max();
    longest.or_else(|| resets.iter().map(|(_, wait)| *wait).max())
}

/// Calls left; the smallest of several limits.
#[must_use]
pub fn rate_limit_remaining(headers: &HeaderMap) -> Option<u64> {
    let left = REMAINING.read(headers, count);
    left.into_iter().map(|(_, left)| left).min()
}

/// The quota, the smallest of several.
#[must_use]
pub fn rate_limit(headers: &HeaderMap) -> Option<u64> {
    let limits = LIMIT.read(headers, count);
    limits.into_iter().map(|(_, limit)| limit).min()
}

/// Whether a 401 asks for a Bearer token.
#[must_use]
pub fn asks_for_token(headers: &HeaderMap) -> bool {
    text(headers, WWW_AUTHENTICATE.as_str())
        .is_some_and(|value| value.to_ascii_lowercase().contains("bearer"))
}

/// The content type without its parameters.
#[must_use]
pub fn content_type(headers: &HeaderMap) -> Option<&str> {
    text(headers, CONTENT_TYPE.as_str())?
        .split(';')
        .next()
        .map(str::trim)
}

/// Whether the body claims to be JSON.
#[must_use]
pub fn is_json(headers: &HeaderMap) -> bool {
    content_type(headers).is_some_and(|essence| {
        essence.eq_ignore_ascii_case("application/json")
            || essence.to_ascii_lowercase().ends_with("+json")
    })
}

impl Field {
    /// Each value with the name of its limit, which may be empty.
    ///
    /// These forms are read: `22`, `name=a,1;name=b,2`, `rate-limit=22`, headers that occur twice, lists, and
    /// `limit=100, remaining=0, reset=5` or `"a";r=0;t=5` of the IETF draft.
    fn read<T>(&self, headers: &HeaderMap, parse: impl Fn(&str) -> Option<T>) -> Vec<(String, T)> {
        let mut found = Vec::new();
        for value in self.headers.iter().flat_map(|name| texts(headers, name)) {
            // A date has a comma in it.
            if let Some(whole) = parse(value) {
                found.push((String::new(), whole));
                continue;
            }
            let mut name = String::new();
            for part in parts(value) {
                let pair = part.split_once('=');
                match pair.map(|(key, value)| (key.trim(), unquoted(value))) {
                    Some((key, value)) if key.eq_ignore_ascii_case("name") => {
                        value.clone_into(&mut name);
                    }
                    // Parameters of the limit before, such as its window.
                    Some(("w" | "window" | "burst" | "policy" | "comment", _)) => {}
                    Some((key, value)) => {
                        found.extend(parse(value).map(|value| (key.to_owned(), value)));
                    }
                    None => match parse(unquoted(part)) {
                        Some(value) => found.push((name.clone(), value)),
                        None => unquoted(part).clone_into(&mut name),
                    },
                }
            }
        }
        for value in DRAFT.iter().flat_map(|name| texts(headers, name)) {
            let mut name = String::new();
            for part in parts(value) {
                match part.split_once('=') {
                    Some((key, value)) if self.draft.contains(&key.trim()) => {
                        found.extend(parse(unquoted(value)).map(|value| (name.clone(), value)));
                    }
                    Some(_) => {}
                    None => unquoted(part).clone_into(&mut name),
                }
            }
        }
        found
    }
}

fn parts(value: &str) -> impl Iterator<Item = &str> {
    let parts = value.split([',', ';']).map(str::trim);
    parts.filter(|part| !part.is_empty())
}

fn unquoted(value: &str) -> &str {
    value.trim().trim_matches(['"', '\'']).trim()
}

fn count(value: &str) -> Option<u64> {
    let value = number(unquoted(value))?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast from a float saturates, which is what is wanted"
    )]
    Some(value as u64)
}

fn longest(value: &str, now: Option<DateTime<Utc>>) -> Option<Duration> {
    parts(value).filter_map(|part| wait(part, now)).max()
}

/// How long to wait: a number of seconds, a Unix time in seconds or milliseconds, a duration such as `6m0s`, or a date.
///
/// A time needs `now`, the response's own time, to compare with.
fn wait(value: &str, now: Option<DateTime<Utc>>) -> Option<Duration> {
    let value = unquoted(value);
    let until = |unix: f64| Some(unix - as_f64(now?.timestamp()));
    let seconds = match number(value) {
        Some(millis) if millis >= UNIX_MILLIS => until(millis / 1_000.0)?,
        Some(seconds) if seconds >= UNIX_SECONDS => until(seconds)?,
        Some(seconds) => seconds,
        None => match duration(value) {
            Some(seconds) => seconds,
            None => any_date(value)?
                .signed_duration_since(now?)
                .as_seconds_f64(),
        },
    };
    let (shortest, longest) = (SHORTEST_WAIT.as_secs_f64(), LONGEST_WAIT.as_secs_f64());
    Some(Duration::from_secs_f64(seconds.clamp(shortest, longest)))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a timestamp has far fewer than 52 bits"
)]
fn as_f64(timestamp: i64) -> f64 {
    timestamp as f64
}

/// A finite decimal number, with or without a sign.
fn number(value: &str) -> Option<f64> {
    let digits = value.strip_prefix(['-', '+']).unwrap_or(value);
    let is_plain = |c: char| c.is_ascii_digit() || c == '.';
    if digits.is_empty() || !digits.chars().all(is_plain) {
        return None;
    }
    value.parse().ok().filter(|number: &f64| number.is_finite())
}

/// Seconds in a duration with units, such as `1h2m3.5s`, `500ms` or `20 seconds`.
fn duration(value: &str) -> Option<f64> {
    let duration = humantime::parse_duration(&value.to_ascii_lowercase());
    duration.ok().map(|duration| duration.as_secs_f64())
}

/// A date in one of the three forms of RFC 9110.
fn http_date(value: &str) -> Option<DateTime<Utc>> {
    httpdate::parse_http_date(value).ok().map(Into::into)
}

/// A date in any form that gateways write.
fn any_date(value: &str) -> Option<DateTime<Utc>> {
    http_date(value).or_else(|| {
        let date = DateTime::parse_from_rfc3339(value);
        let date = date.or_else(|_| DateTime::parse_from_rfc2822(value));
        date.ok().map(|date| date.to_utc())
    })
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    texts(headers, name).next()
}

fn texts<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter();
    values.filter_map(|value| value.to_str().ok().map(str::trim))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    const NOW: (&str, &str) = ("date", "Tue, 24 Nov 2026 12:00:00 GMT");

    #[test]
    fn retry_after_is_read_in_every_form_and_stays_within_bounds() {
        for (value, wait) in [
            ("7", Some(7.0)),
            ("+7", Some(7.0)),
            (" 7 ", Some(7.0)),
            ("7.25", Some(7.25)),
            ("0.2", Some(1.0)),
            ("0", Some(1.0)),
            ("-3", Some(1.0)),
            ("\"7\"", Some(7.0)),
            ("7, 9", Some(9.0)),
            ("6m0s", Some(360.0)),
            ("1s", Some(1.0)),
            ("1m30.5s", Some(90.5)),
            ("1500ms", Some(1.5)),
            ("20 seconds", Some(20.0)),
            ("3h", Some(900.0)),
            ("99999999999999999999", Some(900.0)),
            ("99999999999999999999999999999999999999", Some(900.0)),
            ("Tue, 24 Nov 2026 12:00:30 GMT", Some(30.0)),
            ("\"Tue, 24 Nov 2026 12:00:30 GMT\"", Some(30.0)),
            ("Tuesday, 24-Nov-26 12:00:30 GMT", Some(30.0)),
            ("Tue Nov 24 12:00:30 2026", Some(30.0)),
            ("Tue, 24 Nov 2026 13:00:30 +0100", Some(30.0)),
            ("2026-11-24T12:00:30.5Z", Some(30.5)),
            ("Tue, 24 Nov 2026 11:00:00 GMT", Some(1.0)),
            ("Tue, 24 Nov 2099 11:00:00 GMT", Some(900.0)),
            ("1795521630", Some(30.0)),
            ("1795521630500", Some(30.5)),
            ("1000000000", Some(1.0)),
            ("", None),
            ("soon", None),
            ("NaN", None),
            ("inf", None),
            ("1e3", None),
            ("5 parsecs", None),
            ("\"", None),
            (",;", None),
        ] {
            let found = retry_after(&headers(&[NOW, ("retry-after", value)]));
            assert_eq!(found, wait.map(Duration::from_secs_f64), "{value}");
        }
    }

    #[test]
    fn a_wait_until_a_date_means_nothing_without_the_responses_own_date() {
        for value in ["Tue, 24 Nov 2026 12:00:30 GMT", "1795521630"] {
            assert_eq!(retry_after(&headers(&[("retry-after", value)])), None);
        }
    }

    #[test]
    fn of_a_doubled_header_the_longest_wait_counts() {
        let doubled = [
            NOW,
            ("retry-after", "3"),
            ("retry-after", "nonsense"),
            ("retry-after", "8"),
        ];
        let mut map = HeaderMap::new();
        for (name, value) in doubled {
            map.append(name, value.parse().unwrap());
        }
        assert_eq!(retry_after(&map), Some(Duration::from_secs(8)));
    }

    /// The quota, how much of it is left, and the seconds until it is whole again.
    fn quota(pairs: &[(&'static str, &'static str)]) -> (Option<u64>, Option<u64>, Option<f64>) {
        let mut map = HeaderMap::new();
        for (name, value) in pairs.iter().chain([&NOW]) {
            map.append(*name, value.parse().unwrap());
        }
        let reset = rate_limit_reset(&map).map(|wait| wait.as_secs_f64());
        (rate_limit(&map), rate_limit_remaining(&map), reset)
    }

    #[test]
    fn rate_limits_are_read_in_every_form() {
        let (limit, left, reset) = (
            "x-ratelimit-limit",
            "x-ratelimit-remaining",
            "x-ratelimit-reset",
        );
        let spent = |seconds| (Some(100), Some(0), Some(seconds));
        assert_eq!(quota(&[]), (None, None, None));
        for value in [
            "5",
            "name=rate-limit,5",
            "rate-limit=5",
            "\"5\"",
            "5.0",
            "5;w=60",
        ] {
            assert_eq!(quota(&[(reset, value)]).2, Some(5.0), "{value}");
        }
        for value in [
            "Tue, 24 Nov 2026 12:00:05 GMT",
            "1795521605",
            "1795521605000",
            "5s",
        ] {
            assert_eq!(quota(&[(reset, value)]).2, Some(5.0), "{value}");
        }
        for value in ["", "name=rate-limit,", "soon", "-", "name=,;"] {
            assert_eq!(quota(&[(reset, value)]), (None, None, None), "{value}");
        }
        assert_eq!(quota(&[(reset, "-7")]).2, Some(1.0));
        assert_eq!(quota(&[(reset, "999999")]).2, Some(900.0));
        assert_eq!(quota(&[(left, "-7")]).1, Some(0));
        for separator in [";", ",", ", ", "; "] {
            let list = |a: &str, b: &str| -> &'static str {
                format!("name=a,{a}{separator}name=b,{b}").leak()
            };
            let told = quota(&[
                (limit, list("100", "5000")),
                (left, list("0", "17")),
                (reset, list("5", "40000")),
            ]);
            assert_eq!(told, spent(5.0), "the limit that is used up counts");
        }
        let doubled = [
            (limit, "100"),
            (limit, "100"),
            (left, "3"),
            (left, "0"),
            (reset, "4"),
            (reset, "5"),
        ];
        assert_eq!(quota(&doubled), spent(5.0));
    }

    #[test]
    fn the_ietf_drafts_are_read() {
        let spent = (Some(100), Some(0), Some(5.0));
        for pairs in [
            &[("ratelimit", "limit=100, remaining=0, reset=5")][..],
            &[
                ("ratelimit", "limit=100,remaining=0,reset=5"),
                ("ratelimit-policy", "100;w=60"),
            ],
            &[
                ("ratelimit", "\"default\";r=0;t=5"),
                ("ratelimit-policy", "\"default\";q=100;w=60"),
            ],
            &[
                ("ratelimit", "\"minute\";r=0;t=5, \"day\";r=900;t=50000"),
                (
                    "ratelimit-policy",
                    "\"minute\";q=100;w=60, \"day\";q=5000;w=86400",
                ),
            ],
            &[
                ("ratelimit-limit", "100, 100;w=60"),
                ("ratelimit-remaining", "0"),
                ("ratelimit-reset", "5"),
            ],
        ] {
            assert_eq!(quota(pairs), spent, "{pairs:?}");
        }
    }

    #[test]
    fn json_by_content_type_alone() {
        for (value, json) in [
            ("application/json", true),
            ("application/json;charset=UTF-8", true),
            ("application/problem+json", true),
            ("text/html", false),
            ("text/html; x=application/json", false),
        ] {
            assert_eq!(
                is_json(&headers(&[("content-type", value)])),
                json,
                "{value}"
            );
        }
        assert!(!is_json(&HeaderMap::new()));
    }
}
