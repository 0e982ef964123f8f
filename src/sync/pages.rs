//! Reads the pages of a window: one page if it holds the whole window, else all of them, from the last one down to the first.

use std::time::Instant;

use tracing::{Instrument, field};

use super::dispatch::Dispatcher;
use super::{Pipeline, SyncError};
use crate::model::{ParkClass, Window};
use crate::pauses::Pauses;
use crate::telemetry::{self, PageDrift, RetriedStage, Throttle};
use crate::vdab::{Answer, ApiError, BulkPage, Operation, Remedy};

static DRIFT: Throttle = Throttle::new();

/// The most times that a page is requested that VDAB refuses.
const REFUSALS: u32 = 3;

/// The most pages in one instant: all CVs would fill fewer.
const MOST_PAGES: u64 = 1_000;

/// How the first page covers its window.
pub(super) enum Cover {
    Whole,
    /// There are more ids, and the window can be cut.
    Halves(Window, Window),
    /// There are more ids, and the window cannot be cut.
    Pages,
}

pub(super) struct Pages<'a> {
    pub(super) pipeline: &'a Pipeline,
    pub(super) window: Window,
    /// Is closed once the run stops.
    pub(super) dispatcher: &'a Dispatcher<'a>,
}

impl<'a> Pages<'a> {
    /// Whether one page holds the whole window.
    ///
    /// If a page is shorter than requested and yet claims a larger total, the server cut it, or its total is wrong. The next page
    /// shows which.
    pub(super) async fn cover(&self, page: &BulkPage) -> Result<Cover, SyncError> {
        let (size, got) = (
            u64::from(self.pipeline.settings.page_size),
            page.items.len() as u64,
        );
        // A total no larger than the page may be the page's own, or wrong: it proves nothing about further pages.
        let whole = match page.total.filter(|total| *total > got) {
            None => got < size,
            Some(total) if got == 0 => self.is_empty(total).await?,
            Some(_) if got < size => self.page(got).await?.value.items.is_empty(),
            Some(_) => false,
        };
        Ok(match (whole, self.pipeline.vdab.halves(self.window)) {
            (true, _) => Cover::Whole,
            (false, Some((older, newer))) => Cover::Halves(older, newer),
            (false, None) => Cover::Pages,
        })
    }

    /// Whether a window is empty whose response counts `total` CVs and lists none.
    ///
    /// Some totals are not about the window at all. Those do not add up: each half claims as much as the whole. A total that does
    /// add up is right, and then the list is wrong: the window must not be settled.
    async fn is_empty(&self, total: u64) -> Result<bool, SyncError> {
        if !self.page(0).await?.value.items.is_empty() {
            return Ok(false);
        }
        let Some((older, newer)) = self.pipeline.vdab.halves(self.window) else {
            return Ok(true);
        };
        let mut sum = 0_u64;
        for half in [older, newer] {
            let half = Pages {
                window: half,
                ..*self
            };
            let page = half.page(0).await?.value;
            if !page.items.is_empty() {
                return Ok(false);
            }
            sum = sum.saturating_add(page.total.unwrap_or(0));
        }
        // CVs near the middle count in both halves, and some may have left meanwhile.
        if sum.saturating_mul(2) < total.saturating_mul(3) {
            let error = ApiError::NotAnAnswer("it counts CVs and lists none of them");
            return Err(self.failed(error));
        }
        Ok(true)
    }

    /// Reads each page, from the last one down to the first, and all of them again if the window grew meanwhile.
    ///
    /// The first page is read anew, since CVs that left the window have moved rows into it. The number of pages is counted, and
    /// not taken from totals: such windows are rare.
    pub(super) async fn down(self, first: &BulkPage) -> Result<Down<'a>, SyncError> {
        let step = (first.items.len() as u64).max(1);
        let total = self.count(step, step).await?;
        Ok(Down {
            pages: self,
            step,
            total,
            left: total.div_ceil(step),
        })
    }

    /// Counts the ids of a window that has at least `known` of them: it reads on until a page is empty.
    async fn count(&self, known: u64, step: u64) -> Result<u64, SyncError> {
        let mut count = known;
        loop {
            let got = self.page(count).await?.value.items.len() as u64;
            count += got;
            if got == 0 || self.stopped() {
                return Ok(count);
            }
            if count > MOST_PAGES * step {
                let error = ApiError::NotAnAnswer("its pages do not end");
                return Err(self.failed(error));
            }
        }
    }

    /// One page, which is retried. If it keeps failing, or is refused repeatedly, the run ends.
    pub(super) async fn page(&self, offset: u64) -> Result<Answer<BulkPage>, SyncError> {
        let mut pauses = Pauses::for_one_request();
        let begun = Instant::now();
        let mut refusals = 0;
        loop {
            let size = self.pipeline.settings.page_size;
            let template = Operation::Bulk.properties().template;
            let span = tracing::debug_span!(
                "request",
                otel.name = format!("GET {template}"),
                otel.kind = "client",
                http.request.method = "GET",
                url.template = template,
                page.offset = offset,
                error.type = field::Empty,
                otel.status_code = field::Empty,
            );
            let page = self.pipeline.vdab.bulk(self.window, offset, size);
            let page = page.instrument(span.clone()).await;
            let progress = self.pipeline.progress.of(self.dispatcher.lane);
            progress.called();
            let error = match page {
                Ok(page) => return Ok(page),
                Err(error) => error,
            };
            telemetry::failed(&span, error.class());
            self.pipeline
                .metrics
                .retry(RetriedStage::List, error.class());
            match error.remedy() {
                Remedy::WaitForGate => {}
                // VDAB may refuse for a moment, during a deployment.
                Remedy::Park(ParkClass::Refused) if refusals + 1 < REFUSALS => {
                    refusals += 1;
                    tokio::time::sleep(pauses.next_pause()).await;
                }
                Remedy::Retry(_) if begun.elapsed() < self.pipeline.settings.retry_max_elapsed => {
                    tracing::debug!(error.class = error.class(), "retrying a page");
                    tokio::time::sleep(pauses.next_pause()).await;
                }
                Remedy::Retry(_) | Remedy::Park(_) | Remedy::Stop => {
                    return Err(self.failed(error));
                }
            }
        }
    }

    fn failed(&self, error: ApiError) -> SyncError {
        let window = self.window;
        SyncError::List { window, error }
    }

    fn stopped(&self) -> bool {
        self.dispatcher.stopped()
    }
}

pub(super) struct Down<'a> {
    pages: Pages<'a>,
    step: u64,
    total: u64,
    /// Pages still to be read.
    left: u64,
}

impl Down<'_> {
    /// The next page; `None` after the last one, or once the run stops.
    pub(super) async fn next(&mut self) -> Result<Option<Answer<BulkPage>>, SyncError> {
        if self.left == 0 {
            let total = self.pages.count(self.total, self.step).await?;
            if total == self.total {
                return Ok(None);
            }
            let kind = if total > self.total {
                PageDrift::Grew
            } else {
                PageDrift::Shrank
            };
            self.pages.pipeline.metrics.page_drifted(kind, 1);
            if let Some(times) = DRIFT.due(kind.as_str(), 1) {
                let (window, from) = (self.pages.window, self.total);
                tracing::info!(%window, from, to = total, times, "a window {} while it was listed; listing it again", kind.as_str());
            }
            self.total = total;
            self.left = total.div_ceil(self.step);
        }
        if self.pages.stopped() || self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        Ok(Some(self.pages.page(self.left * self.step).await?))
    }
}
