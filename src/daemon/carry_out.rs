//! One run of the leader, its result in the log and on the board, and the run that goes first meanwhile.

use tracing::Instrument;

use super::Daemon;
use crate::sync::{Request, Summary, SyncError};
use crate::telemetry::{self, Throttle};

static FAILED: Throttle = Throttle::new();

/// The run that goes first while another one yields; with `None`, that one ends.
pub(super) struct First<'a> {
    pub(super) request: Option<Request>,
    pub(super) is_due: &'a (dyn Fn() -> bool + Send + Sync),
    /// Called before it.
    pub(super) begun: &'a (dyn Fn() + Send + Sync),
    /// Called after it, with whether it failed.
    pub(super) done: &'a (dyn Fn(bool) + Send + Sync),
}

impl First<'_> {
    pub(super) const NOTHING: Self = Self {
        request: None,
        is_due: &|| false,
        begun: &|| {},
        done: &|_| {},
    };
}

impl Daemon {
    /// One run; true if it failed.
    pub(super) async fn carry_out(&self, request: Request, first: &First<'_>) -> bool {
        let span = telemetry::run_span(request.name());
        let run = Box::pin(self.carry_out_traced(request, first));
        run.instrument(span).await
    }

    async fn carry_out_traced(&self, request: Request, first: &First<'_>) -> bool {
        let (pipeline, board) = (&self.pipeline, &self.admin.board);
        let what = request.name();
        let result = self.in_parts(request.clone(), first).await;
        board.did(pipeline.progress.of(request.lane()).counts().1);
        if request == Request::Live {
            board.ran(self.clock.now(), &result);
            let whole = result.as_ref().is_ok_and(|summary| !summary.interrupted);
            if let (Some(ping), true) = (&self.ping, whole) {
                ping.send().await;
            }
        }
        if request == Request::Backlog {
            board.set_backlog_error(result.as_ref().err());
        }
        match &result {
            Ok(summary) => tracing::info!(
                run = what,
                windows = summary.windows,
                calls = summary.calls,
                listed = summary.tally.listed,
                inserted = summary.tally.inserted,
                updated = summary.tally.updated,
                deleted = summary.tally.deleted,
                unchanged = summary.tally.unchanged,
                parked = summary.tally.parked,
                held = summary.tally.held,
                "done"
            ),
            Err(error) => {
                if let Some(total) = FAILED.due(what, 1) {
                    tracing::warn!(run = what, total, "a run failed: {error}");
                }
            }
        }
        // One that settles nothing, since VDAB's clock went back, would begin anew at once.
        let is_idle = |summary: &Summary| summary.windows == 0 && request == Request::Backlog;
        // Its new windows are not all listed: it is made again soon.
        let is_cut = |summary: &Summary| summary.interrupted && request == Request::Live;
        let again = |summary: &Summary| is_idle(summary) || is_cut(summary);
        result.as_ref().map_or(true, again)
    }

    /// A run, between whose parts another one goes first.
    async fn in_parts(&self, request: Request, first: &First<'_>) -> Result<Summary, SyncError> {
        let (pipeline, board) = (&self.pipeline, &self.admin.board);
        let lane = request.lane();
        let mut run = pipeline.begin(request).await?;
        while !run.go_on(Some(first.is_due)).await? {
            let Some(other) = first.request.clone() else {
                break;
            };
            board.did(pipeline.progress.of(lane).counts().1);
            (first.begun)();
            let failed = self.carry_out(other, &First::NOTHING).await;
            (first.done)(failed);
        }
        run.end().await
    }
}
