//! Whether far fewer changes come than is usual at this hour of the week; pure.

/// The smallest usual number that allows a judgement.
const ENOUGH: i64 = 20;

/// Less than a tenth of the usual number is too little.
const PART: i64 = 10;

/// Whether `now` is far below the usual number of changes.
#[must_use]
pub(crate) fn is_quiet(now: i64, usual: i64) -> bool {
    usual >= ENOUGH && now.saturating_mul(PART) < usual
}

/// The usual number of changes, from the same hours of the weeks before; `None` unless two of them had changes.
#[must_use]
pub(crate) fn usual(earlier: &[i64]) -> Option<i64> {
    let mut earlier: Vec<_> = earlier.iter().copied().filter(|count| *count > 0).collect();
    if earlier.len() < 2 {
        return None;
    }
    earlier.sort_unstable();
    // The lower median: one week of mass changes does not make the next one look quiet.
    Some(earlier[(earlier.len() - 1) / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_than_a_tenth_of_the_usual_is_quiet() {
        assert_eq!(usual(&[300, 320, 280, 310]), Some(300));
        assert!(is_quiet(0, 300) && is_quiet(29, 300));
        assert!(!is_quiet(31, 300));
        let after_a_mass_change = usual(&[300, 90_000]).unwrap();
        assert!(!is_quiet(30, after_a_mass_change), "it is not usual");
    }

    #[test]
    fn few_weeks_or_changes_give_no_verdict() {
        assert_eq!(usual(&[]), None);
        assert_eq!(usual(&[500, 0, 0, 0]), None, "one week is no custom");
        assert!(!is_quiet(0, 12), "a quiet hour is quiet");
    }
}
