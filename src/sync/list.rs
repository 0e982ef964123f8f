//! Lists windows, so that pages that shift cannot hide a CV.
//!
//! One page is one response and cannot shift: a window is halved until one page holds it. If it cannot be cut, its pages are read
//! from the last one down to the first. Rows that leave the window then only move into pages that are still to be read.

use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use tracing::{Instrument, field};

use super::dispatch::Dispatcher;
use super::enqueue::enqueue;
use super::pages::{Cover, Pages};
use super::plan::{Plan, Planned};
use super::request::Comparison;
use super::settle::Listed;
use super::sift::Labels;
use super::work::Done;
use super::{SyncError, delta, listing};
use crate::model::window::instant;
use crate::model::{Lane, Window};
use crate::store::sync_window;
use crate::telemetry::{self, Horizon};
use crate::vdab::{Answer, ApiError, BulkPage};

/// The use of the listed ids.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    /// They are fetched if needed. Changes that became visible late are counted under this horizon.
    Sync(Option<Horizon>),
    /// They are recorded for the comparison.
    Compare(Comparison),
}

pub(super) struct Lister<'a> {
    pub(super) dispatcher: Dispatcher<'a>,
    purpose: Purpose,
    /// The first new window whose details VDAB does not let through.
    held: Option<Planned>,
    /// The number of the next window in the run.
    seq: u64,
    /// The end of the first window that listed any id: the source may not list older changes.
    pub(super) horizon: Option<DateTime<Utc>>,
}

impl<'a> Lister<'a> {
    pub(super) fn new(dispatcher: Dispatcher<'a>, purpose: Purpose) -> Self {
        Self {
            dispatcher,
            purpose,
            held: None,
            seq: 0,
            horizon: None,
        }
    }

    /// Lists the windows of `plan`; false if some are left for later.
    ///
    /// If this is dropped, a window that was not listed completely is never settled.
    pub(super) async fn windows(&mut self, plan: &mut Plan) -> Result<bool, SyncError> {
        let pipeline = self.dispatcher.pipeline;
        while !self.dispatcher.stopped() {
            plan.limit(pipeline.widest());
            let Some(planned) = plan.next(self.settled(pipeline.vdab.time().now())) else {
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
            if self.dispatcher.yields() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether VDAB does not let details of a new window through. The plan has that window again then.
    pub(super) fn is_held(&mut self, plan: &mut Plan) -> bool {
        let held = self.held.take();
        held.map(|held| plan.again_first(held)).is_some()
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
            // The response proves nothing about the time after the source was settled.
            if planned.lane == Lane::Live {
                plan.stop();
            }
            let Some(window) = planned.window.until(settled) else {
                return Ok(());
            };
            planned.window = window;
        }
        let pages = self.pages(planned.window);
        match pages.cover(&first.value).await? {
            Cover::Halves(older, newer) => {
                plan.cut(planned, older, newer);
                return Ok(());
            }
            Cover::Whole => {
                let mut listed = self.begin(planned).await?;
                self.take(&mut listed, &first).await?;
                self.end(listed).await;
            }
            Cover::Pages => {
                let mut listed = self.begin(planned).await?;
                let mut pages = self.pages(planned.window).down(&first.value).await?;
                while let Some(page) = pages.next().await? {
                    self.take(&mut listed, &page).await?;
                }
                self.end(listed).await;
            }
        }
        Ok(())
    }

    /// Begins the listing of a window. In a comparison it is not recorded.
    async fn begin(&mut self, planned: Planned) -> Result<Listed, SyncError> {
        let seq = self.seq;
        self.seq += 1;
        let row = match self.purpose {
            Purpose::Compare(_) => None,
            Purpose::Sync(_) => Some(self.open(planned).await?),
        };
        Ok(Listed {
            seq,
            left: false,
            held: false,
            row,
            planned,
            ids: 0,
            skipped: 0,
            labels: Labels::default(),
            started: Instant::now(),
        })
    }

    async fn open(&self, planned: Planned) -> Result<i64, SyncError> {
        let pipeline = self.dispatcher.pipeline;
        pipeline
            .write("opening a window", async |tx| {
                sync_window::open(tx, planned.window, planned.fresh, planned.lane).await
            })
            .await
    }

    async fn take(&self, listed: &mut Listed, page: &Answer<BulkPage>) -> Result<(), SyncError> {
        match self.purpose {
            Purpose::Sync(horizon) => enqueue(&self.dispatcher, horizon, listed, page).await,
            Purpose::Compare(comparison) => {
                listing::note(self.dispatcher.pipeline, comparison, listed, page).await
            }
        }
    }

    async fn end(&mut self, listed: Listed) {
        if listed.held {
            self.held.get_or_insert(listed.planned);
            return;
        }
        let window = listed.planned.window;
        if listed.ids > 0 {
            self.horizon.get_or_insert(window.tot());
        }
        let progress = self.dispatcher.pipeline.progress.of(self.dispatcher.lane);
        progress.listed(window, listed.ids, listed.skipped);
        self.dispatcher.pass(Done::Listed(listed)).await;
    }

    /// Notes a window that was refused, perhaps for its width. It is an error if its width cannot be the reason.
    fn refused(&self, window: Window, error: ApiError) -> Result<(), SyncError> {
        let now = Instant::now();
        let mut widths = self.dispatcher.pipeline.widths();
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
        let mut widths = self.dispatcher.pipeline.widths();
        *widths = widths.accepted(window.width(), Instant::now());
    }

    fn pages(&self, window: Window) -> Pages<'_> {
        Pages {
            pipeline: self.dispatcher.pipeline,
            window,
            dispatcher: &self.dispatcher,
        }
    }

    fn show_goal(&mut self, plan: &Plan, planned: Planned) {
        if let Some(left) = plan.left() {
            let progress = self.dispatcher.pipeline.progress.of(self.dispatcher.lane);
            progress.ahead(left + planned.window.width());
        }
    }

    /// The time up to which the source is settled at `now`, its own time.
    ///
    /// The margin that a request reaches beyond a window must be settled too.
    fn settled(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        now - self.settle_lag() - self.dispatcher.pipeline.vdab.margin()
    }

    pub(super) fn settle_lag(&self) -> TimeDelta {
        delta(self.dispatcher.pipeline.settings.settle_lag)
    }
}

/// Sources refuse a window that is too wide, fail, or time out.
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
