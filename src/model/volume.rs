//! Whether far fewer changes come than usual for the hour of the week; pure.

/// Fewer changes than this are too few to tell anything.
const ENOUGH: i64 = 20;

/// A tenth of the usual is too little.
const PART: i64 = 10;

/// Whether so few changes are far below what is usual.
#[must_use]
pub(crate) fn is_quiet(now: i64, usual: i64) -> bool {
    usual >= ENOUGH && now.saturating_mul(PART) < usual
}

/// What is usual. `earlier` are the same hours of the weeks before, those without a sync left out; one week alone is no custom.
#[must_use]
pub(crate) fn usual(earlier: &[i64]) -> Option<i64> {
    let mut earlier: Vec<_> = earlier.iter().copied().filter(|count| *count > 0).collect();
    if earlier.len() < 2 {
        return None;
    }
    earlier.sort_unstable();
    // The lower of the middle ones: a week of mass changes does not make the next one look quiet.
    Some(earlier[(earlier.len() - 1) / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_below_the_usual() {
        assert_eq!(usual(&[300, 320, 280, 310]), Some(300));
        assert!(is_quiet(0, 300) && is_quiet(29, 300));
        assert!(!is_quiet(31, 300));
        let after_a_mass_change = usual(&[300, 90_000]).unwrap();
        assert!(!is_quiet(30, after_a_mass_change), "it is not usual");
    }

    #[test]
    fn too_little_is_known() {
        assert_eq!(usual(&[]), None);
        assert_eq!(usual(&[500, 0, 0, 0]), None, "one week is no custom");
        assert!(!is_quiet(0, 12), "a quiet hour is quiet");
    }
}
