//! The parameters of a call.

use std::ops::RangeInclusive;

use chrono::{DateTime, Utc};
use url::form_urlencoded;

use super::answer::Refusal;

/// Decoded, in their order. What is no UTF-8 is replaced by U+FFFD, and then means nothing.
#[derive(Debug)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads what stands behind the `?`.
    pub fn read(raw: Option<String>) -> Self {
        let raw = raw.unwrap_or_default();
        Self(
            form_urlencoded::parse(raw.as_bytes())
                .into_owned()
                .collect(),
        )
    }

    /// The names, as often as they come.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// The values of a parameter, which may be repeated.
    pub fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let named = self.0.iter().filter(move |(key, _)| key == name);
        named.map(|(_, value)| value.as_str())
    }

    /// A number; the default where there is none.
    pub fn number(
        &self,
        name: &'static str,
        default: usize,
        allowed: RangeInclusive<usize>,
    ) -> Result<i64, Refusal> {
        let number = match self.values(name).next() {
            None => Some(default),
            Some(text) => text.parse().ok().filter(|number| allowed.contains(number)),
        };
        // Nothing lies farther than a database counts.
        let number = number.map(|number| i64::try_from(number).unwrap_or(i64::MAX));
        number.ok_or_else(|| {
            let (least, most) = (allowed.start(), allowed.end());
            Refusal::wrong(format!("{name} is no whole number from {least} to {most}"))
        })
    }

    /// An instant that has to be there.
    pub fn instant(&self, name: &'static str) -> Result<DateTime<Utc>, Refusal> {
        let text = self.values(name).next().unwrap_or_default();
        let instant = DateTime::parse_from_rfc3339(text).map(|instant| instant.to_utc());
        instant.map_err(|_| {
            Refusal::wrong(format!(
                "{name} is no instant such as 2026-02-13T12:00:00.000Z"
            ))
        })
    }
}
