//! The daemon: migrate, serve, sync at start and on schedule, until it is asked to stop.

mod again;
mod agenda;
mod aside;
mod asked;
mod batch_size;
mod carry_out;
mod lead;
mod leader;
mod live_agenda;
mod ping;
mod receiver;
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

use self::leader::Leader;
use self::ping::Ping;
use self::schedule::Bell;
use self::webhook::Webhook;
use crate::admin::{self, Admin, Board, Guard, Mirror, Phase};
use crate::clock::Clock;
use crate::config::Config;
use crate::shutdown::{self, drained};
use crate::store::{Remedy, StoreError};
use crate::sync::{Pipeline, View};
use crate::telemetry::Metrics;

/// Why the daemon ends where nothing but a new start helps.
const GONE: &str = "the database was dropped, emptied or replaced while the daemon ran; start it again, and it creates what is missing";

/// How often it is asked whether somebody has found the database gone.
const GONE_LOOKED_FOR: Duration = Duration::from_secs(1);

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
    pub fn prepare(config: Config, clock: Clock, token: CancellationToken) -> anyhow::Result<Self> {
        let listener = match config.http.addr {
            Some(addr) => Some(admin::listen(addr).with_context(|| {
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
                mirror: Mirror::of(
                    &pipeline.store,
                    config.read_database.as_deref(),
                    config.sync.access_retention.is_some(),
                    &pipeline.metrics,
                )?,
                view: View::of(&pipeline),
                store: pipeline.store.clone(),
                board,
                guard: Guard::new(&config.http, pipeline.metrics.clone()),
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
        let started = Instant::now();
        match pipeline.migrate().await {
            Err(_) if self.token.is_cancelled() => return Ok(()),
            migrated => migrated?,
        }
        match pipeline.refuse_future_start().await {
            Err(_) if self.token.is_cancelled() => return Ok(()),
            judged => judged?,
        }
        let leader = Leader::new(
            &pipeline.store,
            pipeline.metrics.clone(),
            self.config.shaping.clone(),
            started,
        );
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
}
