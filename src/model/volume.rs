//! Whether far fewer changes come than usual for the hour of the week; pure.

/// Fewer changes than this are too few to tell anything.
const ENOUGH: i64 = 20;

/// A tenth of the usual is too little.
const PART: i64 = 10;

/// What is usual, where `now` is far below it. `earlier` are the same hours of the weeks before, those without a sync left
/// out; one week alone is no custom.
#[must_use]
pub fn missed(now: i64, earlier: &[i64]) -> Option<i64> {
    usual(earlier).filter(|usual| *usual >= ENOUGH && now.saturating_mul(PART) < *usual)
}

/// What is usual; `None` where too few weeks are known.
#[must_use]
pub fn usual(earlier: &[i64]) -> Option<i64> {
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
        assert_eq!(missed(0, &[300, 320, 280, 310]), Some(300));
        assert_eq!(missed(29, &[300, 320, 280, 310]), Some(300));
        assert_eq!(missed(31, &[300, 320, 280, 310]), None);
        assert_eq!(
            missed(30, &[300, 90_000]),
            None,
            "a mass change is not usual"
        );
    }

    #[test]
    fn too_little_is_known() {
        assert_eq!(missed(0, &[]), None);
        assert_eq!(missed(0, &[500, 0, 0, 0]), None, "one week is no custom");
        assert_eq!(missed(0, &[12, 15, 9]), None, "a quiet hour is quiet");
    }
}
