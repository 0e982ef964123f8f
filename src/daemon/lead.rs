//! The work of the leader: runs that are due or requested, one at a time.

use std::time::{Duration, Instant};

use tracing::Instrument;

use super::Daemon;
use super::agenda::Agenda;
use super::asked;
use super::leader::Leader;
use super::schedule::Bell;
use crate::sync::{Request, Summary, SyncError};
use crate::telemetry::{self, ClosedBy, Throttle};

static FAILED: Throttle = Throttle::new();

/// Of a minute's quota, so small a part goes to CVs that are asked for again, at a time.
const RECHECKS_PER_QUOTA: u32 = 20;

/// How soon settings are recorded again where that failed.
const RECORD_AGAIN: Duration = Duration::from_secs(2);

/// How often the time of a pause is counted.
const PAUSE_COUNTED: Duration = Duration::from_secs(5);

impl Daemon {
    /// Runs what is due until the end is asked for.
    pub(super) async fn lead(&self, leader: &Leader, bell: &Bell) {
        let (pipeline, board) = (&self.pipeline, &self.admin.board);
        self.record_settings().await;
        let last_success = pipeline.last_success().await.unwrap_or_default();
        let agenda = &mut Agenda::new(&self.config.sync, self.clock.now(), &last_success);
        let _delivering = self.deliver().await;
        let mut pause = leader.pause.subscribe();
        while !self.token.is_cancelled() {
            let paused = pause.borrow_and_update().clone();
            board.set_pause(paused.clone());
            if paused.is_some() {
                let since = Instant::now();
                tokio::select! {
                    _ = pause.changed() => {}
                    () = tokio::time::sleep(PAUSE_COUNTED) => {}
                    () = self.token.cancelled() => {}
                }
                self.pipeline
                    .metrics
                    .gate_closed(ClosedBy::Paused, since.elapsed());
                continue;
            }
            let now = self.clock.now();
            let asked = asked::take(&self.pipeline.store).await;
            let request = asked.as_ref().map(|asked| asked.request.clone());
            let Some(request) = request.or_else(|| agenda.due(now)) else {
                board.set_next_run(agenda.next_sync());
                let spare = agenda.may_recheck(now);
                let rechecked = tokio::select! {
                    () = self.until_due(bell, agenda, spare) => None,
                    rechecked = self.recheck(spare) => Some(rechecked),
                    _ = pause.changed() => None,
                    () = self.token.cancelled() => None,
                };
                if let Some(any) = rechecked {
                    agenda.rechecked(self.clock.now(), any);
                }
                continue;
            };
            board.set_next_run(None);
            tokio::select! {
                failed = self.carry_out(request.clone(), Some(agenda)) => {
                    agenda.done(&request, self.clock.now(), failed);
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

    /// Lets the commands beside this instance know what shapes its data, before it stores any.
    async fn record_settings(&self) {
        let pipeline = &self.pipeline;
        while let Err(error) = pipeline.record_settings(&self.config.shaping).await
            && !self.token.is_cancelled()
        {
            tracing::warn!("cannot record the settings that commands need: {error}");
            tokio::time::sleep(RECORD_AGAIN).await;
        }
    }

    /// One run; true if it failed. Where there is an agenda, syncs that come due go first.
    async fn carry_out(&self, request: Request, agenda: Option<&mut Agenda>) -> bool {
        let span = telemetry::run_span(request.name());
        self.carry_out_traced(request, agenda)
            .instrument(span)
            .await
    }

    async fn carry_out_traced(&self, request: Request, agenda: Option<&mut Agenda>) -> bool {
        let (pipeline, board) = (&self.pipeline, &self.admin.board);
        let what = request.name();
        let result = match agenda {
            Some(agenda) if request != Request::UpToNow => {
                Box::pin(self.in_parts(request.clone(), agenda)).await
            }
            _ => pipeline.carry_out(request.clone()).await,
        };
        board.did(pipeline.progress.counts().1);
        if request == Request::UpToNow {
            board.ran(self.clock.now(), &result);
            let whole = result.as_ref().is_ok_and(|summary| !summary.interrupted);
            if let (Some(ping), true) = (&self.ping, whole) {
                ping.send().await;
            }
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

    /// A run that may be long, and the syncs that come due meanwhile.
    async fn in_parts(&self, request: Request, agenda: &mut Agenda) -> Result<Summary, SyncError> {
        let (pipeline, board) = (&self.pipeline, &self.admin.board);
        let mut run = pipeline.begin(request).await?;
        while !run
            .go_on(Some(&|| agenda.sync_is_due(self.clock.now())))
            .await?
        {
            board.did(pipeline.progress.counts().1);
            let failed = Box::pin(self.carry_out(Request::UpToNow, None)).await;
            agenda.done(&Request::UpToNow, self.clock.now(), failed);
        }
        run.end().await
    }

    /// Waits until something is due or, while nothing is asked for in spare time, until something may be.
    async fn until_due(&self, bell: &Bell, agenda: &mut Agenda, spare: bool) {
        loop {
            bell.rings().await;
            let now = self.clock.now();
            if agenda.due(now).is_some()
                || (!spare && agenda.may_recheck(now))
                || asked::waits(&self.pipeline.store).await
            {
                return;
            }
        }
    }

    /// Asks again for a few of the CVs that were confirmed longest ago, with quota that nobody needs; false if there are
    /// none. Dropped as soon as something is due.
    async fn recheck(&self, spare: bool) -> bool {
        let after = match self.config.sync.recheck_after {
            Some(after) if spare => after,
            _ => return std::future::pending().await,
        };
        let few = self.config.api.rate_per_minute.get() / RECHECKS_PER_QUOTA;
        let unseen = self.pipeline.unconfirmed(after, i64::from(few.max(1)));
        match unseen.await {
            Ok(ids) if ids.is_empty() => false,
            Ok(ids) => {
                self.carry_out(Request::These(ids), None).await;
                true
            }
            Err(error) => {
                if let Some(total) = FAILED.due("recheck", 1) {
                    tracing::warn!(total, "cannot look for CVs to ask for again: {error}");
                }
                false
            }
        }
    }
}
