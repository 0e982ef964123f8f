//! Parse rules that several variables share. An error reads on from the name of the variable, and does not repeat the value.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use super::text::{bare, unquoted};
use crate::model::duration;
pub(super) use crate::model::duration::{LONGEST, days};

#[expect(clippy::unnecessary_wraps, reason = "it is a rule")]
pub(super) fn text(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

/// Text that can be sent in an HTTP header.
pub(super) fn header(text: &str) -> Result<String, String> {
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err("must contain only visible ASCII characters, without spaces".to_owned())
    }
}

/// One word. Spaces, quotation marks or brackets would come from a list in another form.
pub(super) fn word(text: &str) -> Result<String, String> {
    let separates = |c: char| c.is_whitespace() || "\"'`[](){}<>;|,".contains(c);
    if text.contains(separates) {
        return Err(
            "must be one word without spaces, quotation marks, brackets and separators".to_owned(),
        );
    }
    Ok(text.to_owned())
}

pub(super) fn whole<T>(range: RangeInclusive<T>) -> impl FnOnce(&str) -> Result<T, String>
where
    T: FromStr + PartialOrd + Display,
{
    move |text| {
        text.parse()
            .ok()
            .filter(|number| range.contains(number))
            .ok_or_else(|| {
                let (least, most) = range.into_inner();
                format!("must be an integer between {least} and {most}")
            })
    }
}

/// An integer with its unit, within bounds.
pub(super) fn duration(
    range: RangeInclusive<Duration>,
) -> impl FnOnce(&str) -> Result<Duration, String> {
    move |text| {
        duration::parse(text)
            .filter(|duration| range.contains(duration))
            .ok_or_else(|| {
                let (least, most) = range.into_inner();
                format!(
                    "must be a duration between {} and {} (an integer with its unit: ms, s, m, h or d)",
                    duration::written(least),
                    duration::written(most)
                )
            })
    }
}

/// `off`, or a value for `rule`. YAML turns an unquoted `off` into `false`.
pub(super) fn unless_off<T>(
    rule: impl FnOnce(&str) -> Result<T, String>,
) -> impl FnOnce(&str) -> Result<Option<T>, String> {
    move |text| {
        let off = ["off", "false", "no", "none", "disabled"];
        if off.iter().any(|word| text.eq_ignore_ascii_case(word)) {
            return Ok(None);
        }
        rule(text)
            .map(Some)
            .map_err(|what| format!("{what}; `off` disables it"))
    }
}

/// The items of a list: separated by commas or line breaks, with or without quotation marks, or a JSON array of strings.
pub(super) fn items(text: &str) -> Result<Vec<String>, String> {
    if text.starts_with('[') {
        let items: Result<Vec<String>, _> = serde_json::from_str(text);
        return items
            .ok()
            .filter(|items| !items.is_empty())
            .ok_or_else(|| "must be a comma-separated list or a JSON array of strings".to_owned());
    }
    let mut items = Vec::new();
    for part in text.split(',') {
        let lines: Vec<_> = part
            .lines()
            .map(bare)
            .filter(|line| !line.is_empty())
            .collect();
        let lines = if lines.is_empty() { vec![""] } else { lines };
        items.extend(
            lines
                .into_iter()
                .map(|line| unquoted(line).unwrap_or(line).to_owned()),
        );
    }
    Ok(items)
}

/// A list of items, each read by `rule`.
pub(super) fn list<T>(
    rule: impl Fn(&str) -> Result<T, String>,
) -> impl FnOnce(&str) -> Result<Vec<T>, String> {
    move |text| {
        items(text)?
            .iter()
            .map(|item| item.trim())
            .enumerate()
            .map(|(at, item)| {
                let item = if item.is_empty() {
                    Err("must not be empty".to_owned())
                } else {
                    rule(item)
                };
                item.map_err(|what| format!("has an invalid item {}: it {what}", at + 1))
            })
            .collect()
    }
}

/// The candidate that is most like `text`; empty only without candidates.
///
/// Common pairs of letters find `RATE` in `API_RATE_PER_MINUTE`; Jaro finds swapped letters.
pub(super) fn nearest<'a>(text: &str, candidates: impl Iterator<Item = &'a str>) -> &'a str {
    const ENOUGH: usize = 64;
    let normal = |text: &str| -> String {
        text.chars()
            .take(ENOUGH)
            .map(|char| char.to_ascii_uppercase())
            .collect()
    };
    let text = normal(text);
    let likeness = |candidate: &str| {
        let candidate = normal(candidate);
        strsim::sorensen_dice(&text, &candidate) + strsim::jaro(&text, &candidate)
    };
    candidates
        .max_by(|one, other| likeness(one).total_cmp(&likeness(other)))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_one_number_and_one_unit() {
        for (text, millis) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("5m", 300_000),
            ("120h", 432_000_000),
            ("5d", 432_000_000),
            ("0s", 0),
        ] {
            assert_eq!(
                duration(Duration::ZERO..=LONGEST)(text),
                Ok(Duration::from_millis(millis)),
                "{text}"
            );
        }
        for text in [
            "5",
            "5M",
            "h",
            "-5s",
            "1h30m",
            "1.5h",
            "5 d",
            "10001d",
            "99999999999d",
            "5dd",
            "٣s",
        ] {
            assert!(duration(Duration::ZERO..=LONGEST)(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_forgotten_part_and_swapped_letters_find_the_name() {
        let names = || ["LOG", "WORKERS", "API_RATE_PER_MINUTE"].into_iter();
        assert_eq!(nearest("RATE", names()), "API_RATE_PER_MINUTE");
        assert_eq!(nearest("wokrers", names()), "WORKERS");
    }
}
