//! The daemon: migrate, serve, sync at start and on schedule, until it is asked to stop.

mod agenda;
mod aside;
mod asked;
mod batch_size;
mod leader;
mod ping;
mod schedule;
mod webhook;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use self::agenda::Agenda;
use self::leader::Leader;
use self::ping::Ping;
use self::schedule::Bell;
use self::webhook::Webhook;
use crate::admin::{self, Admin, Board, Guard, Mirror, Phase};
use crate::clock::Clock;
use crate::config::Config;
use crate::shutdown::{self, drained};
use crate::store::{Remedy, StoreError};
use crate::sync::{Pipeline, Request, Summary, SyncError, View};
use crate::telemetry::{self, ClosedBy, Metrics, Throttle};

/// Of a minute's quota, so small a part goes to CVs that are asked for again, at a time.
const RECHECKS_PER_QUOTA: u32 = 20;

static FAILED: Throttle = Throttle::new();

/// Why the daemon ends where nothing but a new start helps.
const GONE: &str = "the database was dropped, emptied or replaced while the daemon ran; start it again, and it creates what is missing";

/// How often it is asked whether somebody has found the database gone.
const GONE_LOOKED_FOR: Duration = Duration::from_secs(1);

/// How soon settings are recorded again where that failed.
const RECORD_AGAIN: Duration = Duration::from_secs(2);

/// How often the time of a pause is counted.
const PAUSE_COUNTED: Duration = Duration::from_secs(5);

/// A daemon that has bound its address and has not begun yet.
#[derive(Debug)]
pub struct Daemon {
    config: Config,
    clock: Clock,
    pipeline: Arc<Pipeline>,
    /// Watches all of it; shared with whoever shows it elsewhere than over HTTP.
    pub admin: Arc<Admin>,
    listener: Option<TcpListener>,
    ping: Option<Ping>,
    webhook: Option<Arc<Webhook>>,
    token: CancellationToken,
}

impl Daemon {
    /// Binds the address and prepares everything else. `token` ends it.
    ///
    /// # Errors
    /// The error in the configuration or the address.
    pub async fn prepare(
        config: Config,
        clock: Clock,
        token: CancellationToken,
    ) -> anyhow::Result<Self> {
        let listener = match config.http.addr {
            Some(addr) => Some(TcpListener::bind(addr).await.with_context(|| {
                format!("cannot listen on {addr}: choose another CVSYNC_HTTP_ADDR, or `off`")
            })?),
            None => None,
        };
        let metrics = Metrics::pushed(&config.otel)?;
        let pipeline = Pipeline::new(&config, None, clock.clone(), metrics, token.clone())?;
        let pipeline = Arc::new(pipeline);
        let proxies = &config.api.proxies;
        let ping_url = config.http.ping_url.clone();
        let ping = ping_url.map(|url| Ping::new(url, proxies)).transpose()?;
        let board = Arc::new(Board::default());
        let webhook = config.webhook.as_ref().map(|settings| {
            let metrics = pipeline.metrics.clone();
            let board = Arc::clone(&board);
            Webhook::new(
                settings,
                proxies,
                &pipeline.store,
                metrics,
                clock.clone(),
                board,
            )
        });
        Ok(Self {
            ping,
            webhook: webhook.transpose()?.map(Arc::new),
            clock,
            admin: Arc::new(Admin {
                mirror: Mirror::of(&pipeline.store),
                view: View::of(&pipeline),
                store: pipeline.store.clone(),
                board,
                guard: Guard::new(&config.http),
                shown: config.shown.clone(),
            }),
            pipeline,
            config,
            listener,
            token,
        })
    }

    /// The address on which it listens.
    #[must_use]
    pub fn addr(&self) -> Option<SocketAddr> {
        self.listener.as_ref()?.local_addr().ok()
    }

    /// Works until the token is cancelled; then finishes the batch under way within four seconds (`shutdown::DRAIN`), or drops it whole.
    ///
    /// # Errors
    /// If the database or its schema is gone after the daemon has worked in it: an outage does not count. Or if a part of the
    /// daemon breaks, which no fault of source or database should bring about.
    pub async fn run(mut self) -> anyhow::Result<()> {
        admin::watch(&self.admin);
        let watching = CancellationToken::new();
        let mut parts = JoinSet::<anyhow::Result<()>>::new();
        if let Some(listener) = self.listener.take() {
            if let Ok(address) = listener.local_addr() {
                tracing::info!(%address, "serving health, metrics and status");
            }
            let (admin, token) = (Arc::clone(&self.admin), watching.clone());
            parts.spawn(async move {
                admin::serve(listener, admin, token).await;
                Ok(())
            });
        }
        let (admin, token) = (Arc::clone(&self.admin), watching.clone());
        parts.spawn(async move {
            admin::sample_until(token, &admin).await;
            Ok(())
        });
        let (admin, token) = (Arc::clone(&self.admin), watching.clone());
        parts.spawn(async move {
            admin::keep_history_until(token, &admin).await;
            Ok(())
        });
        let (admin, token) = (Arc::clone(&self.admin), watching.clone());
        parts.spawn(async move {
            admin::say_present_until(token, &admin).await;
            Ok(())
        });
        let ended = tokio::select! {
            never = self.admin.board.beat() => match never {},
            ended = drained(&self.token, self.work()) => ended.unwrap_or_else(|| {
                tracing::warn!("the work under way took too long to finish and was dropped; the next run repeats it");
                Ok(())
            }),
            part = parts.join_next() => match part {
                Some(Ok(Err(error))) => Err(error).context("a part of the daemon broke"),
                _ => Err(anyhow::anyhow!("a part of the daemon ended before its time")),
            },
        };
        watching.cancel();
        let _ = tokio::time::timeout(shutdown::ANSWER, async {
            while parts.join_next().await.is_some() {}
        })
        .await;
        match &ended {
            Ok(()) => tracing::info!("stopped"),
            Err(error) => tracing::error!("stopped: {error:#}"),
        }
        ended
    }

    async fn work(&self) -> anyhow::Result<()> {
        let (pipeline, board) = (&self.pipeline, &self.admin.board);
        match pipeline.migrate().await {
            Err(_) if self.token.is_cancelled() => return Ok(()),
            migrated => migrated?,
        }
        match pipeline.refuse_future_start().await {
            Err(_) if self.token.is_cancelled() => return Ok(()),
            judged => judged?,
        }
        let leader = Leader::new(&pipeline.store, pipeline.metrics.clone());
        board.set_name(&leader.name);
        let bell = Bell::hang().await?;
        while !self.token.is_cancelled() {
            tokio::select! {
                leads = leader.stand_by(board) => leads.context(GONE)?,
                error = self.gone() => return Err(error).context(GONE),
                () = self.token.cancelled() => break,
            }
            board.set_phase(Phase::Leading);
            tokio::select! {
                () = self.lead(&leader, &bell) => leader.give_up().await,
                // The work under way is dropped: another instance repeats it.
                kept = leader.keep() => {
                    kept.context(GONE)?;
                    board.set_phase(Phase::Standby);
                }
                error = self.gone() => return Err(error).context(GONE),
                never = aside::keep(pipeline, &self.clock, leader.pause.subscribe()) => match never {},
            }
        }
        bell.take_down().await;
        Ok(())
    }

    /// Begins to tell the webhook of changes, where there is one; dropping what it returns ends it.
    async fn deliver(&self) -> Option<AbortOnDropHandle<()>> {
        let webhook = Arc::clone(self.webhook.as_ref()?);
        webhook.register().await;
        let token = self.token.clone();
        let task = async move { webhook.deliver_until(token).await };
        Some(AbortOnDropHandle::new(tokio::spawn(task)))
    }

    /// Waits until a run, or whoever reads the numbers, finds that the database or its schema is gone.
    async fn gone(&self) -> StoreError {
        let (pipeline, board) = (&self.pipeline, &self.admin.board);
        loop {
            let run = pipeline.trouble.borrow().clone();
            let sample = board.sample().and_then(Result::err);
            for error in run.into_iter().chain(sample) {
                if error.remedy() == Remedy::StartAnew {
                    return error;
                }
            }
            tokio::time::sleep(GONE_LOOKED_FOR).await;
        }
    }

    /// Runs what is due until the end is asked for.
    async fn lead(&self, leader: &Leader, bell: &Bell) {
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
