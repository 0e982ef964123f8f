//! The work of the leader: the live lane and the backlog lane, each with one run at a time.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use tokio::sync::watch;

use super::Daemon;
use super::agenda::{Agenda, Covered};
use super::asked::{self, Asked};
use super::carry_out::First;
use super::leader::Leader;
use super::live_agenda::LiveAgenda;
use super::schedule::Bell;
use crate::model::Window;
use crate::store::pause::Pause;
use crate::sync::Request;
use crate::telemetry::{ClosedBy, Throttle};

static FAILED: Throttle = Throttle::new();

/// Of a minute's quota, so small a part goes to CVs that are asked for again, at a time.
const RECHECKS_PER_QUOTA: u32 = 20;

/// How soon settings are recorded again where that failed.
const RECORD_AGAIN: Duration = Duration::from_secs(2);

/// How often the backlog lane looks for work.
const LOOK: Duration = Duration::from_millis(500);

/// How often the time of a pause is counted.
const PAUSE_COUNTED: Duration = Duration::from_secs(5);

fn locked(agenda: &Mutex<LiveAgenda>) -> MutexGuard<'_, LiveAgenda> {
    agenda.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Daemon {
    /// Runs what is due until the process is asked to end.
    pub(super) async fn lead(&self, leader: &Leader, bell: &Bell) {
        self.record_settings(leader).await;
        let last_success = self.pipeline.last_success().await.unwrap_or_default();
        let now = self.clock.now();
        let live = Mutex::new(LiveAgenda::new(&self.config.sync, now));
        let mut agenda = Agenda::new(&self.config.sync, now, &last_success);
        let _delivering = self.deliver().await;
        tokio::join!(
            self.live_lane(&live, bell, leader.pause.subscribe()),
            self.backlog_lane(&mut agenda, leader.pause.subscribe()),
        );
    }

    /// Lists on schedule, whatever the backlog does, and makes the runs that a person requested.
    async fn live_lane(
        &self,
        agenda: &Mutex<LiveAgenda>,
        bell: &Bell,
        mut pause: watch::Receiver<Option<Pause>>,
    ) {
        let board = &self.admin.board;
        let is_due = || locked(agenda).is_due(self.clock.now());
        // Between two syncs, a request gets its turn, even if syncs take longer than the schedule.
        let mut has_synced = false;
        while !self.token.is_cancelled() {
            let paused = pause.borrow_and_update().clone();
            board.set_pause(paused.clone());
            if paused.is_some() {
                self.until_resumed(&mut pause).await;
            } else if !has_synced && is_due() {
                has_synced = true;
                tokio::select! {
                    () = self.sync(agenda) => {}
                    // A pause drops the work under way; the next run repeats it.
                    _ = pause.changed() => locked(agenda).dropped(self.clock.now()),
                }
            } else if let Some(asked) = asked::take(&self.pipeline.store).await {
                has_synced = false;
                tokio::select! {
                    () = self.asked(asked, agenda) => {}
                    _ = pause.changed() => {}
                }
            } else {
                has_synced = false;
                board.set_next_run(locked(agenda).next());
                tokio::select! {
                    () = self.until_due(bell, &is_due) => {}
                    _ = pause.changed() => {}
                    () = self.token.cancelled() => {}
                }
            }
        }
    }

    /// One sync of the live lane. It ends at the next tick, even if VDAB then lets no detail through: the next one lists again.
    async fn sync(&self, agenda: &Mutex<LiveAgenda>) {
        self.admin.board.set_next_run(None);
        locked(agenda).begun(self.clock.now());
        let is_due = || locked(agenda).is_due(self.clock.now());
        let first = First {
            is_due: &is_due,
            ..First::NOTHING
        };
        let stuck = async {
            while !is_due() || self.pipeline.vdab.details_are_open() {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::select! {
            failed = self.carry_out(Request::Live, &first) => {
                locked(agenda).done(self.clock.now(), failed);
            }
            () = stuck => {}
        }
    }

    /// A run that a person requested. Syncs that are due go first.
    async fn asked(&self, asked: Asked, agenda: &Mutex<LiveAgenda>) {
        self.admin.board.set_next_run(None);
        let failed = if asked.request == Request::Live {
            locked(agenda).begun(self.clock.now());
            let failed = self.carry_out(Request::Live, &First::NOTHING).await;
            locked(agenda).done(self.clock.now(), failed);
            failed
        } else {
            let first = First {
                request: Some(Request::Live),
                is_due: &|| locked(agenda).is_due(self.clock.now()),
                begun: &|| locked(agenda).begun(self.clock.now()),
                done: &|failed| locked(agenda).done(self.clock.now(), failed),
            };
            self.carry_out(asked.request.clone(), &first).await
        };
        // The next leader makes what the end of this one cut short.
        if !self.token.is_cancelled() {
            asked.done(&self.pipeline.store, failed).await;
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
            tokio::select! {
                () = self.next_of_backlog(agenda) => {}
                // A pause drops the work under way; the next run repeats it.
                _ = pause.changed() => {}
            }
        }
    }

    async fn next_of_backlog(&self, agenda: &mut Agenda) {
        let now = self.clock.now();
        if let Some(request) = agenda.due(now, self.covered()) {
            let newest = self.newest_gap();
            let has_newer = || self.newest_gap() > newest;
            let first = First {
                // A backlog ends, and begins anew with the newest gap.
                request: (request != Request::Backlog).then_some(Request::Backlog),
                is_due: &has_newer,
                ..First::NOTHING
            };
            let failed = self.carry_out(request.clone(), &first).await;
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

    /// The end of the newest span that is not settled.
    fn newest_gap(&self) -> Option<DateTime<Utc>> {
        let gaps = self.pipeline.coverage.borrow().gaps(self.config.sync.from);
        gaps.first().map(Window::tot)
    }

    async fn until_resumed(&self, pause: &mut watch::Receiver<Option<Pause>>) {
        let since = Instant::now();
        tokio::select! {
            _ = pause.changed() => {}
            () = tokio::time::sleep(PAUSE_COUNTED) => {}
            () = self.token.cancelled() => {}
        }
        (self.pipeline.metrics).gate_closed(ClosedBy::Paused, since.elapsed());
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

    /// Waits until a sync is due, or a person requests a run.
    async fn until_due(&self, bell: &Bell, is_due: &(dyn Fn() -> bool + Sync)) {
        loop {
            bell.rings().await;
            if is_due() || asked::waits(&self.pipeline.store).await {
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
                self.carry_out(Request::Recheck(ids), &First::NOTHING).await;
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
