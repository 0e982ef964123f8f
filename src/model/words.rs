//! Numbers, spans and times for people.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

/// `1,234`
pub(crate) fn number(number: impl TryInto<i128>) -> String {
    let number = number.try_into().unwrap_or_default();
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 {
        text.insert(0, '-');
    }
    text
}

/// `1 CV`, `2 CVs`
pub(crate) fn count(count: impl TryInto<i128>, one: &str) -> String {
    let text = number(count);
    let s = if text == "1" { "" } else { "s" };
    format!("{text} {one}{s}")
}

/// Two units at most: `62 s`, `4 min`, `1 h 20 min`, `3 days`.
#[must_use]
pub(crate) fn span(span: TimeDelta) -> String {
    let seconds = span.num_seconds().max(0);
    let two = |number: i64, unit: &str, rest: i64, small: &str| match rest {
        0 => format!("{number} {unit}"),
        rest => format!("{number} {unit} {rest} {small}"),
    };
    match seconds {
        0..120 => format!("{seconds} s"),
        120..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        86_400..172_800 => two(1, "day", seconds % 86_400 / 3_600, "h"),
        172_800..63_072_000 => format!("{} days", seconds / 86_400),
        _ => format!("{} years", seconds / 31_536_000),
    }
}

/// `2026-02-13T12:00:00Z`
#[must_use]
pub(crate) fn moment(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_spans_have_units_and_separators() {
        for (n, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (-1_234_567, "-1,234,567"),
        ] {
            assert_eq!(number(n), text);
        }
        assert_eq!(count(1, "CV"), "1 CV");
        assert_eq!(count(0, "CV"), "0 CVs");
        for (seconds, text) in [
            (-5, "0 s"),
            (119, "119 s"),
            (120, "2 min"),
            (3_600, "1 h"),
            (4_800, "1 h 20 min"),
            (90_000, "1 day 1 h"),
            (300_000, "3 days"),
            (350_000_000, "11 years"),
        ] {
            assert_eq!(span(TimeDelta::seconds(seconds)), text);
        }
    }
}
