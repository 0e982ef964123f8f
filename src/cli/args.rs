//! Parsers of arguments.

use chrono::{DateTime, Utc};

use crate::model::instants::is_in_bounds;

/// A time with its zone: without one the hour would be ambiguous.
pub(super) fn instant(text: &str) -> Result<DateTime<Utc>, String> {
    text.parse().ok().filter(|at| is_in_bounds(*at)).ok_or_else(|| {
        "must be a time with its zone, such as 2026-02-13T12:00:00Z or 2026-02-13T13:00:00+01:00, from 1970 to 9999"
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
        for wrong in [
            "2026-02-13",
            "2026-02-13T12:00:00",
            "noon",
            "",
            "1969-12-31T23:59:59Z",
            "+262142-12-31T23:59:59Z",
            "-262143-01-01T00:00:00Z",
        ] {
            assert!(instant(wrong).unwrap_err().contains(noon), "{wrong}");
        }
    }
}
