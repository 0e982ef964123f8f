//! The parameters of a call.

use std::ops::RangeInclusive;

use chrono::{DateTime, Utc};
use url::form_urlencoded;

use super::answer::Refusal;

/// Of a name that is not known so much is shown, in characters.
pub(super) const LONGEST_SHOWN: usize = 40;

/// Decoded, in their order. What is no UTF-8 is replaced by U+FFFD, and then means nothing.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads what stands behind the `?`.
    pub(super) fn read(raw: Option<String>) -> Self {
        let raw = raw.unwrap_or_default();
        Self(
            form_urlencoded::parse(raw.as_bytes())
                .into_owned()
                .collect(),
        )
    }

    /// Refuses what nobody would read: a name that is not known, a value that is blank, a second one where there can be but one.
    ///
    /// Without this a misspelt filter would find everybody, and nobody would notice.
    pub(super) fn only(&self, single: &[&str], repeated: &[&str]) -> Result<(), Refusal> {
        for (name, value) in &self.0 {
            let name = name.as_str();
            if !single.contains(&name) && !repeated.contains(&name) {
                let known = [repeated, single].concat().join(", ");
                let shown: String = name.chars().take(LONGEST_SHOWN).collect();
                return Err(Refusal::wrong(format!(
                    "{shown:?} is not known; known are {known}"
                )));
            }
            if value.trim().is_empty() {
                return Err(Refusal::wrong(format!("{name} is empty")));
            }
            if single.contains(&name) && self.values(name).nth(1).is_some() {
                return Err(Refusal::wrong(format!("{name} is given twice")));
            }
        }
        Ok(())
    }

    /// The values of a parameter, which may be repeated.
    pub(super) fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let named = self.0.iter().filter(move |(key, _)| key == name);
        named.map(|(_, value)| value.as_str())
    }

    /// A number; the default where there is none.
    pub(super) fn number(
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
            Refusal::wrong(if *most == usize::MAX {
                format!("{name} is no whole number from {least} on")
            } else {
                format!("{name} is no whole number from {least} to {most}")
            })
        })
    }

    /// An instant that has to be there.
    pub(super) fn instant(&self, name: &'static str) -> Result<DateTime<Utc>, Refusal> {
        let missing = || Refusal::wrong(format!("{name} is missing"));
        let text = self.values(name).next().ok_or_else(missing)?;
        let instant = DateTime::parse_from_rfc3339(text).map(|instant| instant.to_utc());
        instant.map_err(|_| {
            Refusal::wrong(format!(
                "{name} is no instant such as 2026-02-13T12:00:00.000Z"
            ))
        })
    }
}
