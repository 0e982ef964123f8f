//! The work of the leader: the live lane and the backlog lane, each with one run at a time.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use tracing::Instrument;

use super::Daemon;
use super::agenda::{Agenda, Covered};
use super::asked;
use super::leader::Leader;
use super::live_agenda::LiveAgenda;
use super::schedule::Bell;
use crate::model::Lane;
use crate::store::pause::Pause;
use crate::sync::{Request, Summary, SyncError};
use crate::telemetry::{self, ClosedBy, Throttle};

static FAILED: Throttle = Throttle::new();

/// Of a minute's quota, so small a part goes to CVs that are asked for again, at a time.
const RECHECKS_PER_QUOTA: u32 = 20;

/// How soon settings are recorded again where that failed.
const RECORD_AGAIN: Duration = Duration::from_secs(2);

/// How often the backlog lane looks for work.
const LOOK: Duration = Duration::from_millis(500);

/// How often the time of a pause is counted.
const PAUSE_COUNTED: Duration = Duration::from_secs(5);

impl Daemon {
    /// Runs what is due until the process is asked to end.
    pub(super) async fn lead(&self, leader: &Leader, bell: &Bell) {
        self.record_settings(leader).await;
        let last_success = self.pipeline.last_success().await.unwrap_or_default();
        let now = self.clock.now();
        let mut live = LiveAgenda::new(&self.config.sync, now);
        let mut agenda = Agenda::new(&self.config.sync, now, &last_success);
        let _delivering = self.deliver().await;
        tokio::join!(
            self.live_lane(&mut live, bell, leader.pause.subscribe()),
            self.backlog_lane(&mut agenda, leader.pause.subscribe()),
        );
    }

    /// Lists on schedule, whatever the backlog does, and makes the runs that a person requested.
    async fn live_lane(
        &self,
        agenda: &mut LiveAgenda,
        bell: &Bell,
        mut pause: watch::Receiver<Option<Pause>>,
    ) {
        let board = &self.admin.board;
        while !self.token.is_cancelled() {
            let paused = pause.borrow_and_update().clone();
            board.set_pause(paused.clone());
            if paused.is_some() {
                self.until_resumed(&mut pause).await;
                continue;
            }
            let now = self.clock.now();
            let asked = asked::take(&self.pipeline.store).await;
            let request = asked.as_ref().map(|asked| asked.request.clone());
            let due = agenda.is_due(now).then_some(Request::Live);
            let Some(request) = request.or(due) else {
                board.set_next_run(agenda.next());
                tokio::select! {
                    () = self.until_due(bell, agenda) => {}
                    _ = pause.changed() => {}
                    () = self.token.cancelled() => {}
                }
                continue;
            };
            board.set_next_run(None);
            agenda.begun(now);
            let next = agenda.next();
            let is_live = request == Request::Live;
            let is_due = || is_live && next.is_some_and(|at| at <= self.clock.now());
            tokio::select! {
                failed = self.carry_out(request.clone(), &is_due) => {
                    if is_live {
                        agenda.done(self.clock.now(), failed);
                    }
                    // The next leader makes what the end of this one cut short.
                    if let Some(asked) = asked.filter(|_| !self.token.is_cancelled()) {
                        asked.done(&self.pipeline.store, failed).await;
                    }
                }
                // A pause drops the work under way; the next run repeats it.
                _ = pause.changed() => {}
            }
        }
    }

    /// Settles what the live lane left, compares, lists a second time, and fetches again what was confirmed long ago.
    async fn backlog_lane(&self, agenda: &mut Agenda, mut pause: watch::Receiver<Option<Pause>>) {
        while !self.token.is_cancelled() {
            if pause.borrow_and_update().is_some() {
                tokio::select! {
                    _ = pause.changed() => {}
                    () = self.token.cancelled() => {}
                }
                continue;
            }
            let now = self.clock.now();
            tokio::select! {
                () = self.next_of_backlog(agenda, now) => {}
                // A pause drops the work under way; the next run repeats it.
                _ = pause.changed() => {}
            }
        }
    }

    async fn next_of_backlog(&self, agenda: &mut Agenda, now: DateTime<Utc>) {
        if let Some(request) = agenda.due(now, self.covered()) {
            let has_gaps = || request != Request::Backlog && self.covered() == Covered::WithGaps;
            let failed = self.carry_out(request.clone(), &has_gaps).await;
            agenda.done(&request, self.clock.now(), failed);
        } else if agenda.may_recheck(now) && self.covered() == Covered::All {
            let any = tokio::select! {
                any = self.recheck() => any,
                () = self.token.cancelled() => return,
            };
            agenda.rechecked(self.clock.now(), any);
        } else {
            self.token
                .run_until_cancelled(tokio::time::sleep(LOOK))
                .await;
        }
    }

    fn covered(&self) -> Covered {
        Covered::of(&self.pipeline.coverage.borrow(), self.config.sync.from)
    }

    async fn until_resumed(&self, pause: &mut watch::Receiver<Option<Pause>>) {
        let since = Instant::now();
        tokio::select! {
            _ = pause.changed() => {}
            () = tokio::time::sleep(PAUSE_COUNTED) => {}
            () = self.token.cancelled() => {}
        }
        let metrics = &self.pipeline.metrics;
        metrics.gate_closed(ClosedBy::Paused, since.elapsed());
    }

    /// Records the settings that shape this instance's data, for the commands beside it.
    async fn record_settings(&self, leader: &Leader) {
        let pipeline = &self.pipeline;
        while let Err(error) = pipeline
            .record_settings(&self.config.shaping, leader.uptime())
            .await
            && !self.token.is_cancelled()
        {
            tracing::warn!("cannot record the settings that commands need: {error}");
            tokio::time::sleep(RECORD_AGAIN).await;
        }
    }

    /// One run; true if it failed. Its part for now ends once `yields` returns true.
    async fn carry_out(&self, request: Request, yields: &(dyn Fn() -> bool + Send + Sync)) -> bool {
        let span = telemetry::run_span(request.name());
        self.carry_out_traced(request, yields)
            .instrument(span)
            .await
    }

    async fn carry_out_traced(
        &self,
        request: Request,
        yields: &(dyn Fn() -> bool + Send + Sync),
    ) -> bool {
        let (pipeline, board) = (&self.pipeline, &self.admin.board);
        let what = request.name();
        let result = Box::pin(self.in_parts(request.clone(), yields)).await;
        board.did(pipeline.progress.of(request.lane()).counts().1);
        if request == Request::Live {
            board.ran(self.clock.now(), &result);
            let whole = result.as_ref().is_ok_and(|summary| !summary.interrupted);
            if let (Some(ping), true) = (&self.ping, whole) {
                ping.send().await;
            }
        }
        if request == Request::Backlog {
            board.set_backlog_error(result.as_ref().err().map(ToString::to_string));
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
        result.is_err()
    }

    /// A run, and the backlog that comes up meanwhile.
    async fn in_parts(
        &self,
        request: Request,
        yields: &(dyn Fn() -> bool + Send + Sync),
    ) -> Result<Summary, SyncError> {
        let (pipeline, board) = (&self.pipeline, &self.admin.board);
        let is_live = request == Request::Live;
        let mut run = pipeline.begin(request).await?;
        // The live lane begins anew instead: its next run lists the rest too.
        while !run.go_on(Some(yields)).await? && !is_live {
            board.did(pipeline.progress.of(Lane::Backlog).counts().1);
            // If it fails, the rest of this run goes on, and the agenda repeats it.
            Box::pin(self.carry_out(Request::Backlog, &|| false)).await;
        }
        run.end().await
    }

    /// Waits until a sync is due, or a person requests a run.
    async fn until_due(&self, bell: &Bell, agenda: &mut LiveAgenda) {
        loop {
            bell.rings().await;
            if agenda.is_due(self.clock.now()) || asked::waits(&self.pipeline.store).await {
                return;
            }
        }
    }

    /// Fetches a few of the CVs that were confirmed longest ago, with quota that nothing else needs; false if there are none.
    async fn recheck(&self) -> bool {
        let Some(after) = self.config.sync.recheck_after else {
            return false;
        };
        let few = self.config.api.rate_per_minute.get() / RECHECKS_PER_QUOTA;
        let unseen = self.pipeline.unconfirmed(after, i64::from(few.max(1)));
        match unseen.await {
            Ok(ids) if ids.is_empty() => false,
            Ok(ids) => {
                self.carry_out(Request::Recheck(ids), &|| false).await;
                true
            }
            Err(error) => {
                if let Some(total) = FAILED.due("recheck", 1) {
                    tracing::warn!(total, "cannot look for CVs to fetch again: {error}");
                }
                false
            }
        }
    }
}
