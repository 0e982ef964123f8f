//! Parsers of arguments.

use chrono::{DateTime, Utc};

/// A time with its zone: without one the hour would be ambiguous.
pub(super) fn instant(text: &str) -> Result<DateTime<Utc>, String> {
    text.parse().map_err(|_| {
        "must be a time with its zone, such as 2026-02-13T12:00:00Z or 2026-02-13T13:00:00+01:00"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instant_needs_a_zone_and_the_error_shows_how_to_write_one() {
        let noon = "2026-02-13T12:00:00Z";
        assert_eq!(instant(noon), instant("2026-02-13T13:00:00+01:00"));
        for wrong in ["2026-02-13", "2026-02-13T12:00:00", "noon", ""] {
            assert!(instant(wrong).unwrap_err().contains(noon), "{wrong}");
        }
    }
}
