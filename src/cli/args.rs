//! How what people type is read.

use chrono::{DateTime, Utc};

/// An instant, with its zone: without one nobody could tell which hour is meant.
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
    fn an_instant_has_a_zone_and_whoever_forgets_it_is_told_how_to_write_one() {
        let noon = "2026-02-13T12:00:00Z";
        assert_eq!(instant(noon), instant("2026-02-13T13:00:00+01:00"));
        for wrong in ["2026-02-13", "2026-02-13T12:00:00", "noon", ""] {
            assert!(instant(wrong).unwrap_err().contains(noon), "{wrong}");
        }
    }
}
