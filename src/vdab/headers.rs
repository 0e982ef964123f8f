//! What the headers of an answer tell: the source's time, how long to wait, what is left of the quota.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, RETRY_AFTER, WWW_AUTHENTICATE};

/// The `Date` header: the source's time in whole seconds, rounded down.
#[must_use]
pub fn date(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    Some(http_date(text(headers, DATE.as_str())?)?.into())
}

/// `Retry-After` as seconds or as an HTTP date (RFC 9110, 10.2.3); a date is measured against the answer's own `Date`.
///
/// A date in the past is no wait at all; nonsense is `None`.
#[must_use]
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = text(headers, RETRY_AFTER.as_str())?;
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = http_date(value)?;
    let now = http_date(text(headers, DATE.as_str())?)?;
    Some(until.duration_since(now).unwrap_or_default())
}

/// `X-RateLimit-Reset: name=rate-limit,22`: seconds until the quota is whole again.
#[must_use]
pub fn rate_limit_reset(headers: &HeaderMap) -> Option<Duration> {
    rate_limit_number(headers, "x-ratelimit-reset").map(Duration::from_secs)
}

/// `X-RateLimit-Remaining: name=rate-limit,1999`: calls left.
#[must_use]
pub fn rate_limit_remaining(headers: &HeaderMap) -> Option<u64> {
    rate_limit_number(headers, "x-ratelimit-remaining")
}

/// `X-RateLimit-Limit: name=rate-limit,2000`: the quota.
#[must_use]
pub fn rate_limit(headers: &HeaderMap) -> Option<u64> {
    rate_limit_number(headers, "x-ratelimit-limit")
}

/// Whether a refusal asks for a Bearer token.
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

fn rate_limit_number(headers: &HeaderMap, name: &str) -> Option<u64> {
    text(headers, name)?
        .rsplit([',', '='])
        .next()?
        .trim()
        .parse()
        .ok()
}

fn http_date(value: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(value).ok()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
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

    #[test]
    fn retry_after_in_both_forms_and_in_none() {
        let date = ("date", "Tue, 24 Nov 2026 12:00:00 GMT");
        for (value, wait) in [
            ("7", Some(7)),
            ("Tue, 24 Nov 2026 12:00:30 GMT", Some(30)),
            ("Tue, 24 Nov 2026 11:00:00 GMT", Some(0)),
            ("soon", None),
            ("-3", None),
            ("99999999999999999999", None),
        ] {
            let found = retry_after(&headers(&[date, ("retry-after", value)]));
            assert_eq!(found, wait.map(Duration::from_secs), "{value}");
        }
        let no_date = headers(&[("retry-after", "Tue, 24 Nov 2026 12:00:30 GMT")]);
        assert_eq!(retry_after(&no_date), None);
    }

    #[test]
    fn rate_limits_as_the_gateway_writes_them_and_plain() {
        let found = headers(&[
            ("x-ratelimit-reset", "name=rate-limit,22"),
            ("x-ratelimit-remaining", "1999"),
        ]);
        assert_eq!(rate_limit_reset(&found), Some(Duration::from_secs(22)));
        assert_eq!(rate_limit_remaining(&found), Some(1999));
        assert_eq!(
            rate_limit_reset(&headers(&[("x-ratelimit-reset", "name=rate-limit,")])),
            None
        );
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
