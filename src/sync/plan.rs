//! Plans the windows of one run from watermark, overlap and width; pure.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};

use crate::model::Window;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Planned {
    pub window: Window,
    /// Whether the watermark moves to its end; else it is listed again.
    pub fresh: bool,
}

/// The windows of one run, oldest first: the overlap before the watermark, then the time after it.
///
/// The overlap is cut where earlier windows ended, so that its windows are the same as those. A CV that was fetched after its
/// window had settled is then known to be up to date, however often it is listed again.
///
/// Windows are planned one by one, since only the first response shows the source's time.
#[derive(Debug)]
pub(super) struct Plan {
    next: VecDeque<Planned>,
    cursor: DateTime<Utc>,
    /// The ends of windows after the watermark: these were listed before it was moved back.
    ends: VecDeque<DateTime<Utc>>,
    goal: Option<DateTime<Utc>>,
    width: TimeDelta,
}

/// The overlap is cut into at most about this many windows, however often syncs run: each costs a call.
const PIECES: i32 = 30;

/// Leaves out ends that are closer together than `cell`, except those within a cell of the watermark and those after it.
///
/// After a rewind, CVs of windows after the watermark are known to be up to date only window by window.
///
/// The choice of ends does not depend on the time, so windows are the same from run to run. If a window is wider than it was, its
/// CVs are fetched once more, and are then known to be up to date.
fn thin(ends: &[DateTime<Utc>], watermark: DateTime<Utc>, cell: TimeDelta) -> Vec<DateTime<Utc>> {
    let cell = cell.num_milliseconds().max(1);
    let number = |at: &DateTime<Utc>| at.timestamp_millis().div_euclid(cell);
    let mut last = None;
    let stays = |end: &DateTime<Utc>| {
        let cell = number(end);
        cell >= number(&watermark) || last.replace(cell) != Some(cell)
    };
    ends.iter().copied().filter(stays).collect()
}

impl Plan {
    /// A run from `watermark` on, or from `from` without a watermark. `ends` are the ends of earlier windows, in order.
    #[must_use]
    pub(super) fn new(
        watermark: Option<DateTime<Utc>>,
        from: DateTime<Utc>,
        overlap: TimeDelta,
        ends: &[DateTime<Utc>],
        width: TimeDelta,
    ) -> Self {
        let ends = &thin(ends, watermark.unwrap_or(from), overlap / PIECES);
        let mut plan = Self {
            next: VecDeque::new(),
            cursor: watermark.unwrap_or(from),
            ends: ends.iter().copied().collect(),
            goal: None,
            width,
        };
        if let Some(watermark) = watermark {
            plan.look_back(watermark - overlap, watermark, ends);
        }
        plan
    }

    /// A second listing from `van` to `tot`, cut where earlier windows ended. The watermark does not move.
    #[must_use]
    pub(super) fn again(
        van: DateTime<Utc>,
        tot: DateTime<Utc>,
        overlap: TimeDelta,
        ends: &[DateTime<Utc>],
        width: TimeDelta,
    ) -> Self {
        let mut plan = Self {
            next: VecDeque::new(),
            cursor: tot,
            ends: VecDeque::new(),
            goal: Some(tot),
            width,
        };
        plan.look_back(van, tot, &thin(ends, tot, overlap / PIECES));
        plan
    }

    /// Windows from `van` to `tot` that move no watermark, cut at `ends`.
    fn look_back(&mut self, van: DateTime<Utc>, tot: DateTime<Utc>, ends: &[DateTime<Utc>]) {
        let mut van = van;
        for end in ends.iter().copied().chain([tot]) {
            while let Some(window) = Window::new(van, end.min(tot).min(van + self.width)) {
                self.next.push_back(Planned {
                    window,
                    fresh: false,
                });
                van = window.tot();
            }
        }
    }

    /// The next window. None ends after `horizon`, the time up to which the source is settled now.
    pub(super) fn next(&mut self, horizon: DateTime<Utc>) -> Option<Planned> {
        if let Some(planned) = self.next.pop_front() {
            let Planned { window, fresh } = planned;
            // It may have been planned before the windows became narrower.
            let end = window.van() + self.width;
            let (Some(first), Some(rest)) = (window.until(end), Window::new(end, window.tot()))
            else {
                return Some(planned);
            };
            self.next.push_front(Planned {
                window: rest,
                fresh,
            });
            return Some(Planned {
                window: first,
                fresh,
            });
        }
        while self.ends.front().is_some_and(|end| *end <= self.cursor) {
            self.ends.pop_front();
        }
        let known = self
            .ends
            .front()
            .copied()
            .unwrap_or(DateTime::<Utc>::MAX_UTC);
        let end = self
            .goal
            .unwrap_or(horizon)
            .min(self.cursor + self.width)
            .min(known);
        let window = Window::new(self.cursor, end)?;
        self.cursor = window.tot();
        Some(Planned {
            window,
            fresh: true,
        })
    }

    /// Lists `first` and then `second` before all others: the halves of a window that one page does not hold.
    pub(super) fn cut(&mut self, first: Planned, second: Planned) {
        self.next.push_front(second);
        self.next.push_front(first);
    }

    /// Lists `planned` before all others.
    pub(super) fn again_first(&mut self, planned: Planned) {
        self.next.push_front(planned);
    }

    /// Sets the greatest width of windows from now on.
    pub(super) fn limit(&mut self, width: TimeDelta) {
        self.width = width;
    }

    /// Sets the end of the run: the time up to which the source is settled, as the first response shows.
    pub(super) fn set_goal(&mut self, settled: DateTime<Utc>) {
        self.goal.get_or_insert(settled);
    }

    /// The end of the run, once it is known.
    #[must_use]
    pub(super) fn goal(&self) -> Option<DateTime<Utc>> {
        self.goal
    }

    /// Plans no more windows in this run.
    pub(super) fn stop(&mut self) {
        self.next.clear();
        self.goal = Some(self.cursor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(minutes * 60, 0).unwrap()
    }

    fn minutes(minutes: i64) -> TimeDelta {
        TimeDelta::minutes(minutes)
    }

    fn all(plan: &mut Plan, horizon: DateTime<Utc>) -> Vec<(i64, i64, bool)> {
        let minute = |at: DateTime<Utc>| at.timestamp() / 60;
        std::iter::from_fn(|| plan.next(horizon))
            .map(|p| (minute(p.window.van()), minute(p.window.tot()), p.fresh))
            .collect()
    }

    #[test]
    fn the_first_run_begins_at_the_beginning_and_leaves_no_gap() {
        let mut plan = Plan::new(None, at(0), minutes(60), &[], minutes(100));
        assert_eq!(
            all(&mut plan, at(250)),
            [(0, 100, true), (100, 200, true), (200, 250, true)]
        );
    }

    #[test]
    fn later_runs_reach_back_behind_the_watermark_in_windows_of_their_own() {
        let mut plan = Plan::new(Some(at(500)), at(0), minutes(60), &[], minutes(40));
        assert_eq!(
            all(&mut plan, at(520)),
            [(440, 480, false), (480, 500, false), (500, 520, true)]
        );
    }

    #[test]
    fn the_overlap_is_cut_where_earlier_windows_ended() {
        let ends = [at(430), at(450), at(495), at(500), at(700)];
        let mut plan = Plan::new(Some(at(500)), at(0), minutes(60), &ends, minutes(100));
        assert_eq!(
            all(&mut plan, at(510)),
            [
                (440, 450, false),
                (450, 495, false),
                (495, 500, false),
                (500, 510, true)
            ]
        );
    }

    #[test]
    fn a_sync_each_second_lists_no_more_than_a_few_pieces_and_the_same_ones_from_run_to_run() {
        let second = |s: i64| DateTime::from_timestamp(1_000_000 + s, 0).unwrap();
        let pieces = |watermark: i64| -> Vec<_> {
            let ends: Vec<_> = (0..watermark).map(second).collect();
            let overlap = minutes(60);
            let mut plan = Plan::new(Some(second(watermark)), at(0), overlap, &ends, minutes(600));
            std::iter::from_fn(|| plan.next(second(watermark)))
                .map(|planned| planned.window.tot())
                .collect()
        };
        let (now, later) = (pieces(7_200), pieces(7_500));
        assert!(now.len() < 30 + 120 + 2, "{}", now.len());
        let old = |tot: &&DateTime<Utc>| **tot > second(4_000) && **tot < second(7_000);
        let (now, later): (Vec<_>, Vec<_>) = (
            now.iter().filter(old).collect(),
            later.iter().filter(old).collect(),
        );
        assert_eq!(now, later);
        assert!(now.len() > 20);
    }

    #[test]
    fn behind_a_watermark_that_was_moved_back_windows_are_cut_where_they_were() {
        let ends = [at(480), at(500), at(510), at(530)];
        let mut plan = Plan::new(Some(at(500)), at(0), minutes(30), &ends, minutes(100));
        assert_eq!(
            all(&mut plan, at(560)),
            [
                (470, 480, false),
                (480, 500, false),
                (500, 510, true),
                (510, 530, true),
                (530, 560, true)
            ]
        );
    }

    #[test]
    fn a_second_listing_does_not_move_the_watermark() {
        let mut plan = Plan::again(at(100), at(250), minutes(60), &[at(130)], minutes(100));
        assert_eq!(
            all(&mut plan, at(900)),
            [(100, 130, false), (130, 230, false), (230, 250, false)]
        );
    }

    #[test]
    fn nothing_lies_ahead_of_a_watermark_in_the_future() {
        let mut plan = Plan::new(Some(at(500)), at(0), minutes(60), &[], minutes(100));
        assert_eq!(all(&mut plan, at(300)), [(440, 500, false)]);
    }

    #[test]
    fn the_goal_holds_however_the_horizon_moves() {
        let mut plan = Plan::new(None, at(0), minutes(60), &[], minutes(100));
        plan.next(at(10)).unwrap();
        plan.set_goal(at(50));
        plan.set_goal(at(70));
        assert_eq!(all(&mut plan, at(999)), [(10, 50, true)]);
    }

    #[test]
    fn a_planned_window_becomes_narrower_too() {
        let mut plan = Plan::new(Some(at(500)), at(0), minutes(60), &[], minutes(100));
        let wide = plan.next(at(600)).unwrap();
        plan.limit(minutes(40));
        plan.again_first(wide);
        assert_eq!(
            all(&mut plan, at(560)),
            [
                (440, 480, false),
                (480, 500, false),
                (500, 540, true),
                (540, 560, true)
            ]
        );
    }

    #[test]
    fn halves_come_before_the_rest() {
        let mut plan = Plan::new(None, at(0), minutes(60), &[], minutes(100));
        let full = plan.next(at(150)).unwrap();
        let (older, newer) = full.window.halves().unwrap();
        let half = |window| Planned {
            window,
            fresh: true,
        };
        plan.cut(half(older), half(newer));
        assert_eq!(
            all(&mut plan, at(150)),
            [(0, 50, true), (50, 100, true), (100, 150, true)]
        );
        plan.stop();
        assert_eq!(plan.next(at(999)), None);
    }
}
