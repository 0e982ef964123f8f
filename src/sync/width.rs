//! The widest windows that VDAB takes, if it refuses some; pure.
//!
//! A refusal may have many reasons. A window is proven to be too wide only if VDAB takes a narrower one, and then refuses the
//! first width again.

use std::time::{Duration, Instant};

use chrono::TimeDelta;

/// VDAB takes windows of this width, whatever else it refuses.
pub(super) const NARROWEST: TimeDelta = TimeDelta::hours(1);

/// After this time, the full width is tried again.
const REMEMBERED: Duration = Duration::from_hours(24);

/// Windows are cut at whole milliseconds, so halves may be a little narrower than half.
const ROUNDING: TimeDelta = TimeDelta::milliseconds(2);

/// The widths that VDAB takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Widths {
    /// VDAB takes the configured width.
    #[default]
    Full,
    /// VDAB refused a window of this width. Half of it is tried.
    Refused(TimeDelta),
    /// VDAB took a narrower window after that. The refused width is tried again.
    Doubted {
        refused: TimeDelta,
        accepted: TimeDelta,
    },
    /// VDAB takes windows up to this width.
    Limited { width: TimeDelta, since: Instant },
}

impl Widths {
    /// The widest window to request, where `full` is the configured width.
    #[must_use]
    pub(super) fn widest(self, full: TimeDelta, now: Instant) -> TimeDelta {
        match self {
            Self::Full => full,
            Self::Refused(refused) => half(refused).min(full),
            Self::Doubted { refused, .. } => refused.min(full),
            Self::Limited { .. } => self.limit(now).unwrap_or(full).min(full),
        }
    }

    /// The width that windows are limited to, while it is remembered.
    #[must_use]
    pub(super) fn limit(self, now: Instant) -> Option<TimeDelta> {
        match self {
            Self::Limited { width, since } if now < since + REMEMBERED => Some(width),
            _ => None,
        }
    }

    /// The state after a refused window of `width`; `None` if its width cannot be the reason.
    #[must_use]
    pub(super) fn refused(self, width: TimeDelta, now: Instant) -> Option<Self> {
        if width <= NARROWEST {
            return None;
        }
        Some(match self {
            Self::Doubted { accepted, .. } if width > accepted => Self::Limited {
                width: accepted,
                since: now,
            },
            _ => Self::Refused(width),
        })
    }

    /// The state after an accepted window of `width`.
    #[must_use]
    pub(super) fn accepted(self, width: TimeDelta, now: Instant) -> Self {
        match self {
            Self::Refused(refused) | Self::Doubted { refused, .. } if width >= refused => {
                Self::Full
            }
            Self::Refused(refused) if width + ROUNDING >= half(refused) => Self::Doubted {
                refused,
                accepted: width,
            },
            Self::Doubted { refused, accepted } => Self::Doubted {
                refused,
                accepted: accepted.max(width),
            },
            Self::Limited { .. } if self.limit(now).is_none() => Self::Full,
            _ => self,
        }
    }
}

fn half(width: TimeDelta) -> TimeDelta {
    (width / 2).max(NARROWEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: TimeDelta = TimeDelta::days(5);

    fn hours(hours: i64) -> TimeDelta {
        TimeDelta::hours(hours)
    }

    /// Requests windows until the width stays the same; returns the widths, and what is known in the end.
    fn request(mut widths: Widths, takes: impl Fn(usize, TimeDelta) -> bool) -> (Vec<i64>, Widths) {
        let now = Instant::now();
        let mut asked = Vec::new();
        for call in 0..12 {
            let width = widths.widest(FULL, now);
            asked.push(width.num_hours());
            if takes(call, width) {
                widths = widths.accepted(width, now);
                if !matches!(widths, Widths::Doubted { .. }) {
                    break;
                }
            } else if let Some(next) = widths.refused(width, now) {
                widths = next;
            } else {
                break;
            }
        }
        (asked, widths)
    }

    #[test]
    fn a_limit_is_believed_once_the_refused_width_is_refused_again() {
        let (asked, widths) = request(Widths::Full, |_, width| width <= hours(20));
        assert_eq!(asked, [120, 60, 30, 15, 30, 15]);
        assert_eq!(widths.limit(Instant::now()), Some(hours(15)));
    }

    #[test]
    fn a_refusal_for_a_moment_narrows_nothing() {
        for refusals in 1..5 {
            let (asked, widths) = request(Widths::Full, |call, _| call >= refusals);
            assert_eq!(widths, Widths::Full, "{refusals}: {asked:?}");
        }
    }

    #[test]
    fn windows_never_become_narrower_than_an_hour() {
        let (asked, widths) = request(Widths::Full, |_, _| false);
        assert_eq!(asked, [120, 60, 30, 15, 7, 3, 1, 1]);
        assert_eq!(widths.limit(Instant::now()), None);
        let now = Instant::now();
        for width in [TimeDelta::milliseconds(1), TimeDelta::minutes(5), hours(1)] {
            assert_eq!(Widths::Full.refused(width, now), None);
        }
    }

    #[test]
    fn a_short_window_proves_nothing_about_wide_ones() {
        let now = Instant::now();
        let refused = Widths::Full.refused(FULL, now).unwrap();
        assert_eq!(refused.accepted(TimeDelta::minutes(5), now), refused);
        let doubted = refused.accepted(FULL / 2, now);
        assert_eq!(doubted.accepted(TimeDelta::minutes(5), now), doubted);
        assert_eq!(doubted.widest(FULL, now), FULL);
    }

    #[test]
    fn the_full_width_is_tried_again_after_a_day() {
        let now = Instant::now();
        let limited = Widths::Limited {
            width: hours(15),
            since: now,
        };
        let later = now + Duration::from_hours(23);
        assert_eq!(limited.widest(FULL, later), hours(15));
        let later = now + Duration::from_hours(24);
        assert_eq!(
            (limited.widest(FULL, later), limited.limit(later)),
            (FULL, None)
        );
        assert_eq!(limited.accepted(FULL, later), Widths::Full);
        assert_eq!(limited.refused(FULL, later), Some(Widths::Refused(FULL)));
    }
}
