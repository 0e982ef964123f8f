//! Plans the windows of one run from coverage, overlap and width; pure.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};

use crate::model::{Coverage, Lane, Window};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Planned {
    pub window: Window,
    /// Whether it is settled for the first time; else it is listed again.
    pub fresh: bool,
    pub lane: Lane,
}

/// The windows of one run: the time after the live edge, the overlap before it, and the gaps before that, newest first.
///
/// The overlap is cut where earlier windows ended, so that its windows are the same as those. A CV that was fetched after its
/// window had settled is then known to be up to date, however often it is listed again.
///
/// Windows are planned one by one, since only the first response shows the source's time.
#[derive(Debug)]
pub(super) struct Plan {
    /// Windows to list before all others.
    first: VecDeque<Planned>,
    cursor: DateTime<Utc>,
    /// The ends of windows after the live edge: these were listed before it was moved back.
    ends: VecDeque<DateTime<Utc>>,
    goal: Option<DateTime<Utc>>,
    /// Windows to list again.
    again: VecDeque<Planned>,
    /// The newest first, each already cut where windows ended that were not settled.
    gaps: VecDeque<Window>,
    width: TimeDelta,
}

/// The part of the source's time that a run plans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The time after the live edge, and the overlap before it.
    Live,
    /// The gaps before the live edge.
    Backlog,
    /// First the one, then the other.
    Both,
}

/// The overlap is cut into at most about this many windows, however often syncs run: each costs a call.
const PIECES: i32 = 30;

/// The first sync begins with the latest changes of at least this long.
const LATEST: TimeDelta = TimeDelta::minutes(1);

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
    /// The windows of `part`. The source's time begins at `from`, and is settled up to about `settled`. `ends` are the ends of
    /// earlier windows, in order.
    #[must_use]
    pub(super) fn new(
        part: Part,
        coverage: &Coverage,
        (from, settled): (DateTime<Utc>, DateTime<Utc>),
        overlap: TimeDelta,
        ends: &[DateTime<Utc>],
        width: TimeDelta,
    ) -> Self {
        let edge = coverage.live_edge();
        // The first sync begins with the present.
        let cursor = edge.unwrap_or_else(|| (settled - overlap.max(LATEST)).max(from));
        let mut gaps = coverage.gaps(from);
        if edge.is_none() {
            gaps.extend(Window::new(from, cursor));
        }
        let ends = &thin(ends, cursor, overlap / PIECES);
        let mut plan = Self {
            first: VecDeque::new(),
            cursor,
            ends: ends.iter().copied().collect(),
            goal: (part == Part::Backlog).then_some(cursor),
            again: VecDeque::new(),
            gaps: VecDeque::new(),
            width,
        };
        if let Some(edge) = edge.filter(|_| part != Part::Backlog) {
            let start = edge - overlap;
            let van = match coverage.watermark {
                Some(_) => start,
                None => start.max(from),
            };
            for (van, tot) in without(van, edge, &gaps) {
                plan.look_back(van, tot, ends);
            }
        }
        if part != Part::Live {
            plan.gaps = gaps.iter().flat_map(|gap| cut(gap, ends)).collect();
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
            first: VecDeque::new(),
            cursor: tot,
            ends: VecDeque::new(),
            goal: Some(tot),
            again: VecDeque::new(),
            gaps: VecDeque::new(),
            width,
        };
        plan.look_back(van, tot, &thin(ends, tot, overlap / PIECES));
        for planned in &mut plan.again {
            planned.lane = Lane::Backlog;
        }
        plan
    }

    /// Windows from `van` to `tot` that move no watermark, cut at `ends`.
    fn look_back(&mut self, van: DateTime<Utc>, tot: DateTime<Utc>, ends: &[DateTime<Utc>]) {
        let mut van = van;
        for end in ends.iter().copied().chain([tot]) {
            while let Some(window) = Window::new(van, end.min(tot).min(van + self.width)) {
                self.again.push_back(Planned {
                    window,
                    fresh: false,
                    lane: Lane::Live,
                });
                van = window.tot();
            }
        }
    }

    /// The next window. None after the live edge ends after `horizon`, the time up to which the source is settled now.
    pub(super) fn next(&mut self, horizon: DateTime<Utc>) -> Option<Planned> {
        if let Some(planned) = self.first.pop_front() {
            return Some(self.narrow(planned));
        }
        if self.goal.is_none() {
            // An old window shows the source's time. It may refuse one that ends in its future.
            if let Some(planned) = self.next_old() {
                return Some(planned);
            }
        }
        self.next_fresh(horizon).or_else(|| self.next_old())
    }

    /// The next window of the overlap, or else of the gaps.
    fn next_old(&mut self) -> Option<Planned> {
        if let Some(planned) = self.again.pop_front() {
            return Some(self.narrow(planned));
        }
        let (window, rest) = self.gaps.pop_front()?.last(self.width);
        if let Some(rest) = rest {
            self.gaps.push_front(rest);
        }
        Some(Planned {
            window,
            fresh: true,
            lane: Lane::Backlog,
        })
    }

    fn next_fresh(&mut self, horizon: DateTime<Utc>) -> Option<Planned> {
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
            lane: Lane::Live,
        })
    }

    /// Its first part, if windows have become narrower since it was planned. The rest comes next.
    fn narrow(&mut self, planned: Planned) -> Planned {
        let Planned { window, .. } = planned;
        let end = window.van() + self.width;
        let (Some(first), Some(rest)) = (window.until(end), Window::new(end, window.tot())) else {
            return planned;
        };
        let part = |window| Planned { window, ..planned };
        self.first.push_front(part(rest));
        part(first)
    }

    /// Lists the halves of a window that one page does not hold before all others: of the backlog the newer one first.
    pub(super) fn cut(&mut self, planned: Planned, older: Window, newer: Window) {
        let half = |window| Planned { window, ..planned };
        let (first, second) = match planned {
            Planned {
                fresh: true,
                lane: Lane::Backlog,
                ..
            } => (newer, older),
            _ => (older, newer),
        };
        self.first.push_front(half(second));
        self.first.push_front(half(first));
    }

    /// Lists `planned` before all others.
    pub(super) fn again_first(&mut self, planned: Planned) {
        self.first.push_front(planned);
    }

    /// Sets the greatest width of windows from now on.
    pub(super) fn limit(&mut self, width: TimeDelta) {
        self.width = width;
    }

    /// Sets the end of the run: the time up to which the source is settled, as the first response shows.
    pub(super) fn set_goal(&mut self, settled: DateTime<Utc>) {
        self.goal.get_or_insert(settled);
    }

    /// Plans no more windows after the live edge.
    pub(super) fn stop(&mut self) {
        self.goal = Some(self.cursor);
    }

    /// Whether every window after the live edge is listed.
    #[must_use]
    pub(super) fn has_listed_the_new(&self) -> bool {
        let is_new = |planned: &Planned| planned.fresh && planned.lane == Lane::Live;
        let is_reached = self.goal.is_some_and(|goal| self.cursor >= goal);
        is_reached && !self.first.iter().any(is_new)
    }

    /// The time that is left to list, once the end of the run is known.
    #[must_use]
    pub(super) fn left(&self) -> Option<TimeDelta> {
        let ahead = (self.goal? - self.cursor).max(TimeDelta::zero());
        let planned = self.first.iter().chain(&self.again);
        let windows = planned.map(|planned| planned.window);
        let windows = windows.chain(self.gaps.iter().copied());
        Some(windows.fold(ahead, |sum, window| sum + window.width()))
    }
}

/// The parts of a span that lie in none of `gaps`, in order. `gaps` are in order, the newest first.
fn without(
    van: DateTime<Utc>,
    tot: DateTime<Utc>,
    gaps: &[Window],
) -> Vec<(DateTime<Utc>, DateTime<Utc>)> {
    let mut parts = Vec::new();
    let mut van = van;
    for gap in gaps.iter().rev() {
        if van < gap.van() {
            parts.push((van, tot.min(gap.van())));
        }
        van = van.max(gap.tot());
    }
    parts.push((van, tot));
    parts.retain(|(van, tot)| van < tot);
    parts
}

/// Cuts a gap at `ends`, the newest part first.
fn cut(gap: &Window, ends: &[DateTime<Utc>]) -> Vec<Window> {
    let mut parts = Vec::new();
    let mut van = gap.van();
    for end in ends.iter().copied().chain([gap.tot()]) {
        if let Some(part) = Window::new(van, end.min(gap.tot())) {
            parts.push(part);
            van = part.tot();
        }
    }
    parts.reverse();
    parts
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

    fn up_to(watermark: i64) -> Coverage {
        covered(Some(watermark), &[])
    }

    fn covered(watermark: Option<i64>, spans: &[(i64, i64)]) -> Coverage {
        let spans = spans.iter();
        let spans = spans.filter_map(|(van, tot)| Window::new(at(*van), at(*tot)));
        Coverage::new(watermark.map(at), spans, None, at(1_000_000))
    }

    fn plan(part: Part, coverage: &Coverage, overlap: i64, ends: &[i64], width: i64) -> Plan {
        let ends: Vec<_> = ends.iter().copied().map(at).collect();
        let times = (at(0), at(250));
        Plan::new(
            part,
            coverage,
            times,
            minutes(overlap),
            &ends,
            minutes(width),
        )
    }

    /// Each with a word: `new` after the live edge, `again`, or `gap`.
    fn all(plan: &mut Plan, horizon: DateTime<Utc>) -> Vec<(i64, i64, &'static str)> {
        let minute = |at: DateTime<Utc>| at.timestamp() / 60;
        let next = || {
            let planned = plan.next(horizon)?;
            plan.set_goal(horizon);
            Some(planned)
        };
        std::iter::from_fn(next)
            .map(|planned| {
                let word = match (planned.fresh, planned.lane) {
                    (true, Lane::Live) => "new",
                    (true, Lane::Backlog) => "gap",
                    (false, _) => "again",
                };
                let Planned { window, .. } = planned;
                (minute(window.van()), minute(window.tot()), word)
            })
            .collect()
    }

    #[test]
    fn the_first_sync_begins_with_the_present_and_goes_back_without_a_gap() {
        let nothing = covered(None, &[]);
        let mut both = plan(Part::Both, &nothing, 60, &[], 100);
        let expected = [(90, 190, "gap"), (190, 250, "new"), (0, 90, "gap")];
        assert_eq!(all(&mut both, at(250)), expected);
        let mut live = plan(Part::Live, &nothing, 60, &[], 100);
        assert_eq!(all(&mut live, at(250)), expected[1..2]);
    }

    #[test]
    fn the_first_sync_begins_with_a_minute_even_without_an_overlap() {
        let mut live = plan(Part::Live, &covered(None, &[]), 0, &[], 100);
        assert_eq!(all(&mut live, at(250)), [(249, 250, "new")]);
    }

    #[test]
    fn a_first_sync_goes_on_where_it_was_interrupted() {
        let half = covered(None, &[(150, 200)]);
        assert_eq!(
            all(&mut plan(Part::Both, &half, 10, &[], 100), at(210)),
            [
                (190, 200, "again"),
                (200, 210, "new"),
                (50, 150, "gap"),
                (0, 50, "gap")
            ]
        );
        assert_eq!(
            all(&mut plan(Part::Backlog, &half, 10, &[], 100), at(210)),
            [(50, 150, "gap"), (0, 50, "gap")]
        );
    }

    #[test]
    fn later_runs_reach_back_behind_the_live_edge_in_windows_of_their_own() {
        let mut plan = plan(Part::Live, &up_to(500), 60, &[], 40);
        assert_eq!(
            all(&mut plan, at(520)),
            [(440, 480, "again"), (500, 520, "new"), (480, 500, "again")]
        );
    }

    #[test]
    fn the_overlap_leaves_out_what_is_not_settled() {
        let gap = covered(Some(450), &[(480, 500)]);
        assert_eq!(
            all(&mut plan(Part::Both, &gap, 60, &[], 100), at(500)),
            [(440, 450, "again"), (480, 500, "again"), (450, 480, "gap")]
        );
    }

    #[test]
    fn a_gap_is_cut_where_windows_ended_that_were_not_settled() {
        let gaps = covered(Some(100), &[(200, 300)]);
        let mut plan = plan(Part::Backlog, &gaps, 10, &[150, 180], 40);
        assert_eq!(
            all(&mut plan, at(900)),
            [
                (180, 200, "gap"),
                (150, 180, "gap"),
                (110, 150, "gap"),
                (100, 110, "gap")
            ]
        );
    }

    #[test]
    fn the_overlap_is_cut_where_earlier_windows_ended() {
        let ends = [430, 450, 495, 500, 700];
        let mut plan = plan(Part::Live, &up_to(500), 60, &ends, 100);
        assert_eq!(
            all(&mut plan, at(510)),
            [
                (440, 450, "again"),
                (500, 510, "new"),
                (450, 495, "again"),
                (495, 500, "again"),
            ]
        );
    }

    #[test]
    fn a_sync_each_second_lists_no_more_than_a_few_pieces_and_the_same_ones_from_run_to_run() {
        let second = |s: i64| DateTime::from_timestamp(1_000_000 + s, 0).unwrap();
        let pieces = |watermark: i64| -> Vec<_> {
            let ends: Vec<_> = (0..watermark).map(second).collect();
            let watermark = second(watermark);
            let coverage = Coverage::new(Some(watermark), [], None, watermark);
            let times = (at(0), watermark);
            let mut plan = Plan::new(
                Part::Live,
                &coverage,
                times,
                minutes(60),
                &ends,
                minutes(600),
            );
            std::iter::from_fn(|| plan.next(watermark))
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
    fn behind_an_edge_that_was_moved_back_windows_are_cut_where_they_were() {
        let ends = [480, 500, 510, 530];
        let mut plan = plan(Part::Live, &up_to(500), 30, &ends, 100);
        assert_eq!(
            all(&mut plan, at(560)),
            [
                (470, 480, "again"),
                (500, 510, "new"),
                (510, 530, "new"),
                (530, 560, "new"),
                (480, 500, "again"),
            ]
        );
    }

    #[test]
    fn a_second_listing_does_not_move_the_watermark() {
        let mut plan = Plan::again(at(100), at(250), minutes(60), &[at(130)], minutes(100));
        assert_eq!(
            all(&mut plan, at(900)),
            [
                (100, 130, "again"),
                (130, 230, "again"),
                (230, 250, "again")
            ]
        );
    }

    #[test]
    fn nothing_lies_ahead_of_an_edge_in_the_future() {
        let mut plan = plan(Part::Both, &up_to(500), 60, &[], 100);
        assert_eq!(all(&mut plan, at(300)), [(440, 500, "again")]);
    }

    #[test]
    fn the_goal_holds_however_the_horizon_moves() {
        let mut plan = plan(Part::Live, &up_to(0), 0, &[], 100);
        plan.next(at(10)).unwrap();
        plan.set_goal(at(50));
        plan.set_goal(at(70));
        assert_eq!(plan.left(), Some(minutes(40)));
        assert_eq!(all(&mut plan, at(999)), [(10, 50, "new")]);
    }

    #[test]
    fn a_planned_window_becomes_narrower_too() {
        let mut plan = plan(Part::Live, &up_to(500), 60, &[], 100);
        let wide = plan.next(at(600)).unwrap();
        plan.limit(minutes(40));
        plan.again_first(wide);
        assert_eq!(
            all(&mut plan, at(600)),
            [
                (440, 480, "again"),
                (480, 500, "again"),
                (500, 540, "new"),
                (540, 580, "new"),
                (580, 600, "new"),
            ]
        );
    }

    #[test]
    fn halves_come_before_the_rest_and_of_the_backlog_the_newer_one_first() {
        let mut live = plan(Part::Live, &up_to(0), 0, &[], 100);
        let full = live.next(at(150)).unwrap();
        let (older, newer) = full.window.halves().unwrap();
        live.cut(full, older, newer);
        assert_eq!(
            all(&mut live, at(150)),
            [(0, 50, "new"), (50, 100, "new"), (100, 150, "new")]
        );
        live.stop();
        assert_eq!(live.next(at(999)), None);

        let mut backlog = plan(Part::Backlog, &covered(Some(0), &[(150, 200)]), 0, &[], 100);
        let full = backlog.next(at(150)).unwrap();
        let (older, newer) = full.window.halves().unwrap();
        backlog.cut(full, older, newer);
        assert_eq!(backlog.left(), Some(minutes(150)));
        assert_eq!(
            all(&mut backlog, at(150)),
            [(100, 150, "gap"), (50, 100, "gap"), (0, 50, "gap")]
        );
    }
}
