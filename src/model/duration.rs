//! Durations as people write them: one number and one unit.

use std::time::Duration;

/// Longer than any useful duration, and short enough to be added to any date.
pub(crate) const LONGEST: Duration = days(10_000);

pub(crate) const fn days(count: u64) -> Duration {
    Duration::from_hours(24 * count)
}

const UNITS: [(&str, Duration); 5] = [
    ("d", days(1)),
    ("h", Duration::from_hours(1)),
    ("m", Duration::from_mins(1)),
    ("s", Duration::from_secs(1)),
    ("ms", Duration::from_millis(1)),
];

/// Reads `30s`, `5m`, `120h`, `5d` or `500ms`. humantime would read more: its `5M` is five months.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|char: char| !char.is_ascii_digit())?);
    let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit)?;
    unit.checked_mul(number.parse().ok()?)
}

/// Writes a duration in the largest unit that divides it.
pub(crate) fn written(duration: Duration) -> String {
    UNITS
        .iter()
        .find(|(_, unit)| {
            duration.as_millis().is_multiple_of(unit.as_millis()) && duration >= *unit
        })
        .map_or_else(
            || "0s".to_owned(),
            |(name, unit)| format!("{}{name}", duration.as_millis() / unit.as_millis()),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_they_are_read() {
        for text in ["500ms", "30s", "5m", "25h", "5d", "0s"] {
            assert_eq!(parse(text).map(written).as_deref(), Some(text));
        }
        assert_eq!(parse("99999999999999999999d"), None);
        assert_eq!(parse("9999999999999999999d"), None);
    }
}
