//! Which spans of the source's time are settled: the watermark, and what is settled beyond it. Pure.

use chrono::{DateTime, Utc};

use super::Window;

/// The settled part of the source's time.
///
/// Invariant: the spans are in order, do not touch each other, and lie after the watermark.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Every change before it is applied or parked.
    pub watermark: Option<DateTime<Utc>>,
    /// Settled spans after the watermark.
    pub beyond: Vec<Window>,
    /// The time from which the live lane continues. The gaps hold the windows that it left.
    live: Option<DateTime<Utc>>,
}

impl Coverage {
    /// From what is stored, without any time after `latest`: a wrong clock may have set it.
    #[must_use]
    pub fn new(
        watermark: Option<DateTime<Utc>>,
        spans: impl IntoIterator<Item = Window>,
        live: Option<DateTime<Utc>>,
        latest: DateTime<Utc>,
    ) -> Self {
        let mut coverage = Self {
            watermark: watermark.map(|at| at.min(latest)),
            beyond: Vec::new(),
            live: live.map(|at| at.min(latest)),
        };
        for span in spans {
            let reached = coverage.reached();
            let van = reached.map_or(span.van(), |reached| span.van().max(reached));
            let Some(rest) = Window::new(van, span.tot().min(latest)) else {
                continue;
            };
            match coverage.beyond.last_mut() {
                Some(last) if last.tot() >= rest.van() => *last = last.up_to(rest.tot()),
                None if coverage.watermark >= Some(rest.van()) => {
                    coverage.watermark = Some(rest.tot());
                }
                _ => coverage.beyond.push(rest),
            }
        }
        coverage
    }

    /// The time up to which the live lane has listed; `None` before the first sync.
    #[must_use]
    pub fn live_edge(&self) -> Option<DateTime<Utc>> {
        self.reached().max(self.live)
    }

    /// The end of the last settled span.
    fn reached(&self) -> Option<DateTime<Utc>> {
        self.beyond.last().map(Window::tot).or(self.watermark)
    }

    /// The spans before the live edge that are not settled, the newest first. The source's time begins at `from`.
    #[must_use]
    pub fn gaps(&self, from: DateTime<Utc>) -> Vec<Window> {
        let mut reached = self.watermark.unwrap_or(from);
        let mut gaps = Vec::new();
        for span in &self.beyond {
            gaps.extend(Window::new(reached, span.van()));
            reached = reached.max(span.tot());
        }
        gaps.extend(self.live.and_then(|live| Window::new(reached, live)));
        gaps.reverse();
        gaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(minute * 60, 0).unwrap()
    }

    fn span(van: i64, tot: i64) -> Window {
        Window::new(at(van), at(tot)).unwrap()
    }

    fn covered(watermark: Option<i64>, spans: &[(i64, i64)]) -> Coverage {
        let spans = spans.iter().map(|(van, tot)| span(*van, *tot));
        Coverage::new(watermark.map(at), spans, None, at(1_000))
    }

    #[test]
    fn before_the_first_sync_there_is_neither_an_edge_nor_a_backlog() {
        let coverage = covered(None, &[]);
        assert_eq!(coverage.live_edge(), None);
        assert_eq!(coverage.gaps(at(0)), []);
    }

    #[test]
    fn the_backlog_is_what_lies_between_the_settled_spans_newest_first() {
        let first_sync = covered(None, &[(700, 900)]);
        assert_eq!(first_sync.live_edge(), Some(at(900)));
        assert_eq!(first_sync.gaps(at(10)), [span(10, 700)]);

        let caught_up = covered(Some(900), &[]);
        assert_eq!(caught_up.live_edge(), Some(at(900)));
        assert_eq!(caught_up.gaps(at(10)), []);

        let two_gaps = covered(Some(100), &[(200, 300), (400, 500)]);
        assert_eq!(two_gaps.gaps(at(10)), [span(300, 400), span(100, 200)]);
    }

    #[test]
    fn the_span_that_the_live_lane_left_behind_is_a_gap() {
        let coverage =
            |live| Coverage::new(Some(at(100)), [span(200, 300)], Some(at(live)), at(1_000));
        assert_eq!(coverage(350).live_edge(), Some(at(350)));
        assert_eq!(coverage(350).gaps(at(10)), [span(300, 350), span(100, 200)]);
        assert_eq!(coverage(250).live_edge(), Some(at(300)));
        assert_eq!(
            coverage(2_000).live_edge(),
            Some(at(1_000)),
            "not in the future"
        );
        let nothing_fits = Coverage::new(None, [], Some(at(350)), at(1_000));
        assert_eq!(nothing_fits.gaps(at(10)), [span(10, 350)]);
    }

    #[test]
    fn stored_spans_that_touch_or_overlap_count_once() {
        let coverage = covered(Some(100), &[(50, 120), (120, 150), (200, 300), (250, 400)]);
        assert_eq!(coverage, covered(Some(150), &[(200, 400)]));
    }

    #[test]
    fn a_span_in_the_future_is_not_believed() {
        let coverage = covered(Some(2_000), &[(2_100, 2_200)]);
        assert_eq!(coverage, covered(Some(1_000), &[]));
        let cut = covered(Some(100), &[(900, 2_000)]);
        assert_eq!(cut.live_edge(), Some(at(1_000)));
    }
}
