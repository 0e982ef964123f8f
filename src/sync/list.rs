//! Windows, to ids: each window read so that shifting pages cannot hide a CV.
//!
//! One page is one answer and cannot shift: a window is cut in half until a page holds it. Where it cannot be cut, its
//! pages are read from the last one down to the first, so that what leaves the window only moves rows into pages still to
//! come (design, "Paging that cannot skip").

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::mpsc::Sender;
use tracing::{Instrument, Span, field};
use uuid::Uuid;

use super::pages::{Cover, Pages};
use super::plan::{Plan, Planned};
use super::request::Comparison;
use super::settle::Listed;
use super::sift::{self, Decision, Knowledge, Labels, sift};
use super::{Item, Pipeline, SyncError, Task, Work, Yields, delta};
use crate::model::window::instant;
use crate::model::{CvId, Standing, Window};
use crate::store::{cv_seen, first_listed, held_delete, parked_cv, sync_window};
use crate::telemetry::{self, Horizon, PageDrift, Throttle};
use crate::vdab::{Answer, ApiError, BulkItem, BulkPage, ListedId};

static LATE: Throttle = Throttle::new();

/// The most parked CVs that one run tries again before it lists.
const DUE: i64 = 1_000;

/// The most CVs that one statement looks up for how long they wait.
const MOST_AT_ONCE: usize = 1_000;

/// Of so many CVs one is traced: where each is, a trace is a mass of spans that nobody reads.
const TRACED: u32 = 100;

/// Does `task` until `yields` says to stop, and returns the rest of it. May be dropped at any time: a window that was not listed
/// completely is never settled.
pub(super) async fn run(
    pipeline: &Pipeline,
    task: Task,
    work: Sender<Work>,
    yields: Yields<'_>,
) -> Result<Option<Task>, SyncError> {
    let mut lister = Lister {
        pipeline,
        work,
        yields,
        compares: match &task {
            Task::Compare(compare) => Some(compare.comparison),
            _ => None,
        },
        late: None,
        seq: 0,
        begun: None,
        horizon: None,
    };
    match task {
        Task::List(mut plan, late) => {
            lister.late = late;
            lister.retry_parked().await?;
            let all = lister.windows(&mut plan).await?;
            Ok((!all).then_some(Task::List(plan, late)))
        }
        Task::Fetch(ids) => {
            let rest = lister.fetch_all(ids).await?;
            Ok((!rest.is_empty()).then_some(Task::Fetch(rest)))
        }
        Task::Compare(compare) => Ok(lister.compare(compare).await?.map(Task::Compare)),
    }
}

pub(super) struct Lister<'a> {
    pub(super) pipeline: &'a Pipeline,
    work: Sender<Work>,
    yields: Yields<'a>,
    /// The comparison for which listed ids are only taken note of.
    compares: Option<Comparison>,
    /// The word under which late arrivals are counted.
    late: Option<Horizon>,
    /// The next window's place in the run.
    seq: u64,
    /// Where the run's first fresh window starts.
    begun: Option<DateTime<Utc>>,
    /// The end of the first window that held anything: the source may tell nothing of what lies before it.
    pub(super) horizon: Option<DateTime<Utc>>,
}

impl Lister<'_> {
    /// Lists the windows of `plan`; false if some are left for later.
    pub(super) async fn windows(&mut self, plan: &mut Plan) -> Result<bool, SyncError> {
        while !self.stopped() {
            plan.limit(self.pipeline.widest());
            let Some(planned) = plan.next(self.settled(self.pipeline.vdab.time().now())) else {
                break;
            };
            let span = tracing::debug_span!(
                "window",
                window.van = %instant(planned.window.van()),
                window.tot = %instant(planned.window.tot()),
                window.fresh = planned.fresh,
                error.type = field::Empty,
                otel.status_code = field::Empty,
            );
            let listed = self.window(plan, planned).instrument(span.clone()).await;
            listed.inspect_err(|error| telemetry::failed(&span, error.class()))?;
            if self.yields() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn window(&mut self, plan: &mut Plan, mut planned: Planned) -> Result<(), SyncError> {
        let first = match self.pages(planned.window).page(0).await {
            Err(SyncError::List { window, error }) if may_be_too_wide(&error) => {
                self.refused(window, error)?;
                plan.again_first(planned);
                return Ok(());
            }
            page => page?,
        };
        self.accepted(planned.window);
        let settled = self.settled(first.as_of);
        plan.set_goal(settled);
        self.show_goal(plan, planned);
        if planned.fresh && settled < planned.window.tot() {
            // Only as far as the source was settled when it was asked does its answer prove anything.
            plan.stop();
            let Some(window) = planned.window.until(settled) else {
                return Ok(());
            };
            planned.window = window;
        }
        let cover = self.pages(planned.window).cover(&first.value).await?;
        if let Cover::Halves(older, newer) = cover {
            let half = |window| Planned { window, ..planned };
            plan.cut(half(older), half(newer));
            return Ok(());
        }
        let seq = self.seq;
        self.seq += 1;
        let mut listed = Listed {
            seq,
            row: match self.compares {
                Some(_) => None,
                None => Some(self.open(planned).await?),
            },
            planned,
            ids: 0,
            skipped: 0,
            labels: Labels::default(),
            started: Instant::now(),
        };
        match cover {
            Cover::Pages => {
                let mut pages = self.pages(planned.window).down(&first.value).await?;
                while let Some(page) = pages.next().await? {
                    self.feed(&mut listed, &page).await?;
                }
            }
            Cover::Whole | Cover::Halves(..) => self.feed(&mut listed, &first).await?,
        }
        if listed.ids > 0 {
            self.horizon.get_or_insert(planned.window.tot());
        }
        self.pipeline
            .progress
            .listed(planned.window, listed.ids, listed.skipped);
        self.send(Work::Listed(listed)).await;
        Ok(())
    }

    /// Takes note of a window that was refused, perhaps for its width. An error where that cannot be the reason.
    fn refused(&self, window: Window, error: ApiError) -> Result<(), SyncError> {
        let now = Instant::now();
        let mut widths = self.pipeline.widths();
        let Some(next) = widths.refused(window.width(), now) else {
            return Err(match error {
                ApiError::Refused { .. } => SyncError::Refused { window, error },
                error => SyncError::List { window, error },
            });
        };
        *widths = next;
        if let Some(limit) = next.limit(now) {
            tracing::warn!(
                "VDAB refuses windows as wide as CVSYNC_WINDOW: listing windows of at most {} min, and trying wider ones in a day",
                limit.num_minutes()
            );
        }
        Ok(())
    }

    fn accepted(&self, window: Window) {
        let mut widths = self.pipeline.widths();
        *widths = widths.accepted(window.width(), Instant::now());
    }

    /// Passes on the ids of a page that need it, and counts all of them.
    async fn feed(&self, listed: &mut Listed, page: &Answer<BulkPage>) -> Result<(), SyncError> {
        if let Some(comparison) = self.compares {
            return self.note(comparison, listed, page).await;
        }
        let words = self.pipeline.vdab.words();
        let knowledge = self.knowledge(listed.planned, &page.value.items).await?;
        let now = Instant::now();
        let mut standings = sift::standings(&page.value.items, words);
        listed.labels.count(&page.value.items, words);
        let (mut news, mut work) = (Vec::new(), Vec::new());
        self.pipeline.progress.taken(page.value.items.len() as u64);
        for item in &page.value.items {
            listed.ids += 1;
            let standing = match item.id.valid().map(|id| standings.remove(&id.0)) {
                Some(Some(standing)) => standing,
                // This page had it already.
                Some(None) => {
                    self.pipeline.metrics.page_drifted(PageDrift::Duplicate, 1);
                    listed.skipped += 1;
                    continue;
                }
                None => Standing::Unknown,
            };
            let decision = sift(&item.id, listed.seq, page.as_of, &knowledge, standing);
            if let Decision::Fetch(id) = decision {
                news.push(id.0);
            }
            match decision {
                Decision::Skip => listed.skipped += 1,
                Decision::Fetch(id) => work.push(Work::Fetch(Item {
                    id,
                    window: Some(listed.seq),
                    listed_live: words.standing(item.status.as_deref()) == Standing::Live,
                    first_listed: now,
                    span: traced(),
                })),
                Decision::Resolve(outcome) => work.push(Work::Known(outcome, now)),
            }
        }
        if let Some(horizon) = self.late
            && !news.is_empty()
            && !listed.planned.fresh
        {
            // Before they are on their way: once they are written, nothing tells what was known of them.
            self.arrived_late(listed, horizon, &news).await?;
        }
        for work in work {
            if !self.send(work).await {
                break;
            }
        }
        Ok(())
    }

    /// Counts ids that a settled window shows and that were not fetched since it was listed: they became visible late.
    /// How late is known from below: they were not there when it was listed before.
    async fn arrived_late(
        &self,
        listed: &Listed,
        horizon: Horizon,
        news: &[Uuid],
    ) -> Result<(), SyncError> {
        let Some(row) = listed.row else {
            return Ok(());
        };
        let window = listed.planned.window;
        let (before, ids) = self
            .pipeline
            .read("looking up when a window was listed", async |tx| {
                let before = sync_window::listed_before(tx, window, row).await?;
                let ids = match before {
                    Some(before) => cv_seen::count_older(tx, news, before).await?,
                    None => 0,
                };
                Ok((before, u64::try_from(ids).unwrap_or(0)))
            })
            .await?;
        if ids == 0 {
            return Ok(());
        }
        let late = before.and_then(|at| (at - window.tot()).to_std().ok());
        self.pipeline.metrics.arrived_late(horizon, ids, late);
        let overlap = self.pipeline.settings.window_overlap;
        if let Some(late) = late.filter(|late| horizon == Horizon::Relist && *late > overlap / 2) {
            let better = round_up_to_hours(late * 2);
            if let Some(total) = LATE.due("", ids) {
                tracing::warn!(
                total,
                %window,
                "changes became visible {} min after their time or later; set CVSYNC_WINDOW_OVERLAP={}h to see such changes with the next sync",
                late.as_secs() / 60,
                better
                );
            }
            self.pipeline
                .better_overlap_hours
                .send_replace(Some(better));
        }
        Ok(())
    }

    async fn knowledge(
        &self,
        planned: Planned,
        items: &[BulkItem],
    ) -> Result<Knowledge, SyncError> {
        let ids = items.iter().filter_map(|item| item.id.valid());
        let ids: Vec<_> = ids.map(|id| id.0).collect();
        let with_id = items.iter().filter(|item| item.id != ListedId::Missing);
        let keys: Vec<_> = with_id.map(|item| sift::parked_key(&item.id)).collect();
        if keys.is_empty() {
            return Ok(Knowledge::default());
        }
        let since = planned.window.tot() + self.settle_lag();
        let now = self.pipeline.vdab.time().latest_now();
        self.pipeline
            .read("reading what is known", async |tx| {
                let confirmed = cv_seen::known(tx, &ids, since, now).await?;
                let waiting = if planned.fresh {
                    Vec::new()
                } else {
                    parked_cv::waiting(tx, &keys).await?
                };
                let held = held_delete::among(tx, &ids).await?;
                Ok(Knowledge {
                    confirmed,
                    waiting: waiting.into_iter().collect(),
                    held: held.into_iter().collect(),
                })
            })
            .await
    }

    async fn open(&self, planned: Planned) -> Result<i64, SyncError> {
        self.pipeline
            .write("opening a window", async |tx| {
                sync_window::open(tx, planned.window, planned.fresh).await
            })
            .await
    }

    /// Sends parked CVs and unproven deletes whose time has come on their way.
    async fn retry_parked(&self) -> Result<(), SyncError> {
        let due = self
            .pipeline
            .read("reading what is parked", async |tx| {
                let parked = parked_cv::due(tx, DUE).await?;
                Ok((parked, held_delete::due(tx, DUE).await?))
            })
            .await?;
        let (parked, held) = due;
        let parked = parked.iter().filter_map(|id| CvId::parse(id));
        let due = parked.chain(held.into_iter().map(CvId)).collect();
        // What is left is due again with the next run.
        self.fetch(due).await.map(drop)
    }

    /// Sends CVs on their way; returns those that are left for later.
    pub(super) async fn fetch_all(&self, mut ids: Vec<CvId>) -> Result<Vec<CvId>, SyncError> {
        while !ids.is_empty() && !self.stopped() {
            let mut rest = ids.split_off(ids.len().min(MOST_AT_ONCE));
            let mut left = self.fetch(ids).await?;
            if !left.is_empty() {
                left.append(&mut rest);
                return Ok(left);
            }
            ids = rest;
        }
        Ok(ids)
    }

    /// Whether something else is to go first.
    pub(super) fn yields(&self) -> bool {
        self.yields.is_some_and(|yields| yields())
    }

    /// Sends CVs on their way that no window lists, until it has to yield; returns those that are left.
    async fn fetch(&self, ids: Vec<CvId>) -> Result<Vec<CvId>, SyncError> {
        let keys: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        let ages = self
            .pipeline
            .read("reading for how long they wait", async |tx| {
                first_listed::ages(tx, &keys).await
            })
            .await?;
        let now = Instant::now();
        let mut ids = ids.into_iter();
        for id in ids.by_ref() {
            let age = ages.get(&id.0).copied().unwrap_or_default();
            let item = Item {
                id,
                window: None,
                listed_live: true,
                first_listed: now.checked_sub(age).unwrap_or(now),
                span: traced(),
            };
            self.pipeline.progress.taken(1);
            self.send(Work::Fetch(item)).await;
            if self.yields() {
                break;
            }
        }
        Ok(ids.collect())
    }

    fn pages(&self, window: Window) -> Pages<'_> {
        Pages {
            pipeline: self.pipeline,
            window,
            work: &self.work,
        }
    }

    /// Waits for room in the channel. False if a later stage has stopped.
    async fn send(&self, work: Work) -> bool {
        self.work.send(work).await.is_ok()
    }

    pub(super) fn stopped(&self) -> bool {
        self.work.is_closed()
    }

    fn show_goal(&mut self, plan: &Plan, planned: Planned) {
        let begun = *self.begun.get_or_insert(planned.window.van());
        if let Some(goal) = plan.goal() {
            self.pipeline.progress.goal(begun, goal);
        }
    }

    /// Up to where the source is settled at `now`, a time of its own. What a request reaches beyond a window's end has to
    /// be settled too.
    fn settled(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        now - self.settle_lag() - self.pipeline.vdab.margin()
    }

    pub(super) fn settle_lag(&self) -> TimeDelta {
        delta(self.pipeline.settings.settle_lag)
    }
}

fn round_up_to_hours(duration: Duration) -> u64 {
    duration.as_secs().div_ceil(3_600).max(1)
}

/// Sources refuse a window that is too wide, fail on it, or time out.
fn may_be_too_wide(error: &ApiError) -> bool {
    match error {
        ApiError::Refused { status, .. } => matches!(status, 400 | 413 | 414 | 416 | 422),
        ApiError::Server { .. }
        | ApiError::Incomplete(_)
        | ApiError::Dropped
        | ApiError::NotAnAnswer(_)
        | ApiError::TooLarge { .. } => true,
        _ => false,
    }
}

/// The span of a CV, for some in a hundred of them; without its id, which is somebody's.
fn traced() -> Option<Span> {
    (fastrand::u32(..TRACED) == 0)
        .then(|| tracing::debug_span!("cv"))
        .filter(|span| !span.is_disabled())
}
