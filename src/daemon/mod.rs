//! The daemon: migrate, serve, sync at start and on schedule, until it is asked to stop.

mod schedule;
mod shutdown;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use self::shutdown::{DRAIN, cancel_on_signal, drained};

use self::schedule::{Bell, Ticker};
use crate::admin::{self, Admin, Board, Phase};
use crate::clock::Clock;
use crate::config::Config;
use crate::sync::Pipeline;
use crate::telemetry::Metrics;
use crate::vdab::Pauses;

/// A run that failed is not repeated before so long, nor later than the longest or the next tick.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// A daemon that has bound its address and has not begun yet.
#[derive(Debug)]
pub struct Daemon {
    config: Config,
    clock: Clock,
    /// Watches all of it; shared with whoever shows it elsewhere than over HTTP.
    pub admin: Arc<Admin>,
    listener: Option<TcpListener>,
    token: CancellationToken,
}

impl Daemon {
    /// Binds the address and prepares everything else. `token` ends it.
    ///
    /// # Errors
    /// What is wrong with the configuration or the address.
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
        let pipeline = Pipeline::new(&config, None, clock.clone(), Metrics::new()?, token.clone())?;
        Ok(Self {
            config,
            clock,
            admin: Arc::new(Admin {
                pipeline: Arc::new(pipeline),
                board: Arc::new(Board::default()),
            }),
            listener,
            token,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> Option<SocketAddr> {
        self.listener.as_ref()?.local_addr().ok()
    }

    /// Works until the token is cancelled; then finishes what is in hand within [`DRAIN`], or drops it whole.
    ///
    /// # Errors
    /// If one of its parts breaks, which no fault of source or database should bring about.
    pub async fn run(mut self) -> anyhow::Result<()> {
        let watching = CancellationToken::new();
        let mut parts = JoinSet::<anyhow::Result<()>>::new();
        if let Some(listener) = self.listener.take() {
            tracing::info!(address = ?listener.local_addr().ok(), "serving health, metrics and status");
            let (admin, token) = (Arc::clone(&self.admin), watching.clone());
            parts.spawn(async move { Ok(admin::serve(listener, admin, token).await?) });
        }
        let (admin, token) = (Arc::clone(&self.admin), watching.clone());
        parts.spawn(async move {
            admin::sample_until(token, &admin).await;
            Ok(())
        });
        let ended = tokio::select! {
            ended = drained(&self.token, self.work()) => ended.unwrap_or_else(|| {
                tracing::warn!("what was in hand took too long and is dropped; nothing is lost");
                Ok(())
            }),
            part = parts.join_next() => match part {
                Some(Ok(Err(error))) => Err(error).context("a part of the daemon broke"),
                _ => Err(anyhow::anyhow!("a part of the daemon ended before its time")),
            },
        };
        watching.cancel();
        let _ = tokio::time::timeout(Duration::from_secs(1), async {
            while parts.join_next().await.is_some() {}
        })
        .await;
        tracing::info!("stopped");
        ended
    }

    async fn work(&self) -> anyhow::Result<()> {
        let Admin { pipeline, board } = &*self.admin;
        match pipeline.migrate().await {
            Err(_) if self.token.is_cancelled() => return Ok(()),
            migrated => migrated?,
        }
        board.set_phase(Phase::Leading);
        let bell = Bell::hang().await?;
        let mut ticker = Ticker::new(self.config.sync.schedule.clone(), self.clock.now());
        let mut pauses = Pauses::new(FIRST_PAUSE, LONGEST_PAUSE);
        while !self.token.is_cancelled() {
            board.set_next_run(None);
            let failed = self.run_once().await;
            // Ticks that were missed meanwhile are one tick, and it has just been served.
            ticker.skip_to(self.clock.now());
            board.set_next_run(ticker.next());
            let pause = if failed {
                pauses.next()
            } else {
                pauses = Pauses::new(FIRST_PAUSE, LONGEST_PAUSE);
                Duration::MAX
            };
            tokio::select! {
                () = self.next_tick(&bell, &mut ticker) => {}
                () = tokio::time::sleep(pause) => {}
                () = self.token.cancelled() => {}
            }
        }
        bell.take_down().await;
        Ok(())
    }

    /// One sync; true if it failed.
    async fn run_once(&self) -> bool {
        let Admin { pipeline, board } = &*self.admin;
        let result = pipeline.run().await;
        board.ran(self.clock.now(), &result);
        match &result {
            Ok(summary) => tracing::info!(
                windows = summary.windows,
                listed = summary.tally.listed,
                inserted = summary.tally.inserted,
                updated = summary.tally.updated,
                deleted = summary.tally.deleted,
                unchanged = summary.tally.unchanged,
                parked = summary.tally.parked,
                "synced"
            ),
            Err(error) => tracing::warn!("the sync did not come to its end: {error}"),
        }
        result.is_err()
    }

    async fn next_tick(&self, bell: &Bell, ticker: &mut Ticker) {
        while !ticker.is_due(self.clock.now()) {
            bell.rings().await;
        }
    }
}
