//! The parameters of a call.

use std::ops::RangeInclusive;

use chrono::{DateTime, Utc};
use url::form_urlencoded;

use super::answer::Refusal;
use crate::model::one_line;

/// Characters of an unknown name that an error shows.
pub(super) const LONGEST_SHOWN: usize = 40;

/// Decoded parameters in their order. Invalid UTF-8 becomes U+FFFD.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn read(raw: Option<String>) -> Self {
        let raw = raw.unwrap_or_default();
        Self(
            form_urlencoded::parse(raw.as_bytes())
                .into_owned()
                .collect(),
        )
    }

    /// Rejects unknown names, blank values, and a second value of a `single` parameter.
    ///
    /// Ignoring a misspelt filter would return every candidate.
    pub(super) fn only(&self, single: &[&str], repeated: &[&str]) -> Result<(), Refusal> {
        for (name, value) in &self.0 {
            let name = name.as_str();
            if !single.contains(&name) && !repeated.contains(&name) {
                let known = [repeated, single].concat().join(", ");
                let shown = one_line(name, LONGEST_SHOWN);
                return Err(Refusal::wrong(format!(
                    "unknown parameter {shown:?}; known parameters: {known}"
                )));
            }
            if value.trim().is_empty() {
                return Err(Refusal::wrong(format!("{name} must not be empty")));
            }
            if single.contains(&name) && self.values(name).nth(1).is_some() {
                return Err(Refusal::wrong(format!("{name} must be given only once")));
            }
        }
        Ok(())
    }

    /// All values of a parameter.
    pub(super) fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let named = self.0.iter().filter(move |(key, _)| key == name);
        named.map(|(_, value)| value.as_str())
    }

    /// An integer, or the default if the parameter is missing.
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
        let number = number.map(|number| i64::try_from(number).unwrap_or(i64::MAX));
        number.ok_or_else(|| {
            let (least, most) = (allowed.start(), allowed.end());
            Refusal::wrong(if *most == usize::MAX {
                format!("{name} must be an integer of at least {least}")
            } else {
                format!("{name} must be an integer from {least} to {most}")
            })
        })
    }

    /// A parameter that must be a time.
    pub(super) fn instant(&self, name: &'static str) -> Result<DateTime<Utc>, Refusal> {
        let missing = || Refusal::wrong(format!("{name} is required"));
        let text = self.values(name).next().ok_or_else(missing)?;
        let instant = DateTime::parse_from_rfc3339(text).map(|instant| instant.to_utc());
        instant.map_err(|_| {
            Refusal::wrong(format!(
                "{name} must be a time such as 2026-02-13T12:00:00.000Z"
            ))
        })
    }
}
