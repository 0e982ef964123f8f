//! The shared parts of commands that use VDAB and the database.

use std::time::Duration;

use anyhow::Context;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use super::{Interrupted, Output, Usage};
use crate::clock::Clock;
use crate::config::{Config, Database, Env, Log, Otel};
use crate::model::window::instant;
use crate::model::words::{count, number};
use crate::shutdown::{cancel_on_signal, drained};
use crate::store::Store;
use crate::store::leader_setting::LeaderSetting;
use crate::store::pause;
use crate::sync::{InFuture, Pipeline, Request, Summary, loan, searchable};
use crate::telemetry::{self, Metrics, Screen, Traces};
use crate::terminal;

/// Maximum wait for a source or a database that is unreachable.
const PATIENCE: Duration = Duration::from_mins(2);

/// Options of every run by hand.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct RunArgs {
    /// List and fetch but write nothing; print the result that a run would have, and the calls made
    #[arg(long)]
    pub dry_run: bool,
    /// Run although syncing is paused
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    output: Output,
}

impl RunArgs {
    /// Prints `result` as JSON, or its summary as text.
    pub(super) fn print<R: Serialize>(self, result: &R, summary: impl FnOnce(&R) -> &Summary) {
        self.output.print(result, |result| {
            let summary = summary(result);
            if self.dry_run {
                let text = text(summary, "A run would hold");
                format!("Dry run: nothing was written.\n{text}")
            } else {
                text(summary, HOLDS)
            }
        });
    }
}

/// A pipeline at a terminal.
pub(super) struct Tool {
    /// Safe while a daemon runs: `as_of` orders the writes of both.
    pub pipeline: Pipeline,
    screen: Screen,
    token: CancellationToken,
    /// Borrows calls from the quota of the leading daemon, if there is one.
    _loans: AbortOnDropHandle<()>,
    /// Pushes the last traces when it is dropped.
    _traces: Option<Traces>,
}

impl Tool {
    /// Loads the configuration, starts logging and brings the schema up to date.
    pub(super) async fn prepare(env: &Env, dry_run: bool) -> anyhow::Result<Self> {
        let config = Box::new(Config::load(env)?);
        let screen = Screen::default();
        let traces = telemetry::install(&config.log, &config.otel, &screen)?;
        config.warn();
        let token = cancel_on_signal()?;
        let pipeline = |config: &Config| -> anyhow::Result<Pipeline> {
            let (patience, clock) = (Some(PATIENCE), Clock::default());
            let metrics = Metrics::new()?;
            let mut made = Pipeline::new(config, patience, clock, metrics, token.clone())?;
            if dry_run {
                made.store = made.store.dry();
            }
            Ok(made)
        };
        let alone = pipeline(&config)?;
        let prepared = token.run_until_cancelled(Box::pin(async {
            if !dry_run {
                alone.migrate().await?;
            }
            // Empty before the first daemon has led.
            alone.leader_settings().await
        }));
        let leader = prepared.await.ok_or(Interrupted)??;
        let leader = leader.iter().map(LeaderSetting::recorded);
        let mut pipeline = pipeline(&Config::load(&env.under(leader)?)?)?.beside_a_leader();
        Box::pin(pipeline.refuse_future_start()).await?;
        let loans = loan::borrow(&mut pipeline.vdab, &pipeline.store);
        Ok(Self {
            pipeline,
            screen,
            token,
            _loans: loans,
            _traces: traces,
        })
    }

    /// Refuses a run that writes during a pause, unless it is forced.
    pub(super) async fn refuse_pause(&self, args: RunArgs) -> anyhow::Result<()> {
        if args.force || args.dry_run {
            return Ok(());
        }
        let store = &self.pipeline.store;
        match store.read("looking for a pause", pause::current).await? {
            None => Ok(()),
            Some(pause) => Err(Usage(format!(
                "syncing is paused since {} {} (reason: {}); run `cvsync resume` first, or add --force (nothing was changed)",
                instant(pause.since),
                pause.end(),
                pause.reason
            ))
            .into()),
        }
    }

    /// Waits for `work` until a signal asks to stop.
    pub(super) async fn until_stopped<T>(
        &self,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        let done = self.token.run_until_cancelled(work).await;
        done.unwrap_or_else(|| Err(Interrupted.into()))
    }

    /// Makes one run and shows its progress.
    pub(super) async fn carry_out(&self, request: Request) -> anyhow::Result<Summary> {
        let span = telemetry::run_span(request.name());
        let run = Box::pin(self.pipeline.carry_out(request).instrument(span));
        let work = terminal::shown(&self.screen, &self.pipeline.progress, run);
        let summary = drained(&self.token, work)
            .await
            .context("stopped before the current batch was committed; nothing is lost, run the command again")??;
        if !self.pipeline.store.is_dry() && !self.token.is_cancelled() {
            searchable::catch_up(&self.pipeline.store, &self.token).await;
        }
        Ok(summary)
    }
}

/// An error if a signal ended the run before it was finished.
pub(super) fn whole(summary: &Summary) -> anyhow::Result<()> {
    if summary.interrupted {
        return Err(Interrupted.into());
    }
    Ok(())
}

/// Runs a command that consists of one run.
pub(super) async fn run(args: RunArgs, env: &Env, request: Request) -> anyhow::Result<()> {
    let tool = Box::pin(Tool::prepare(env, args.dry_run)).await?;
    tool.refuse_pause(args).await?;
    if let Request::Range(window) = &request {
        let time = tool.pipeline.vdab.time();
        InFuture::refuse("the end of the range (--tot)", window.tot(), time)?;
    }
    let summary = tool.carry_out(request).await?;
    args.print(&summary, |summary| summary);
    whole(&summary)
}

/// The database, for commands that need no source.
pub(super) fn database(env: &Env) -> anyhow::Result<Store> {
    let database = Database::load(env)?;
    telemetry::install(&Log::load(env)?, &Otel::default(), &Screen::default())?;
    Ok(Store::new(&database)?)
}

/// The start of [`text`]'s sentence about held deletes, for a run that writes.
pub(super) const HOLDS: &str = "cvsync holds";

/// Describes a run, one fact per line. `holds` begins the sentence about held deletes.
pub(super) fn text(summary: &Summary, holds: &str) -> String {
    let tally = summary.tally;
    let mut lines = vec![format!(
        "Listed {}: {} inserted, {} updated, {} unchanged, {} skipped, {} superseded, {} deleted, {} held, {} parked ({}).",
        count(tally.listed, "CV"),
        number(tally.inserted),
        number(tally.updated),
        number(tally.unchanged),
        number(tally.skipped),
        number(tally.superseded),
        number(tally.deleted),
        number(tally.held),
        number(tally.parked),
        count(summary.calls, "API call"),
    )];
    lines.extend(summary.difference.map(|difference| {
        let held = match difference.held {
            0 => String::new(),
            held => format!(" (plus {} whose deletes are held)", number(held)),
        };
        let filtered = match difference.filtered {
            0 => String::new(),
            filtered => format!(" {} no longer matched CVSYNC_KEEP.", number(filtered)),
        };
        format!(
            "VDAB lists {}. Compared with them, {} were missing here, {} were outdated, and {} were not listed any more{held}.{filtered}",
            count(difference.listed, "CV"),
            number(difference.missing),
            number(difference.stale),
            number(difference.extra),
        )
    }));
    if tally.held > 0 {
        lines.push(format!(
            "{holds} {}, because there are more than usual or VDAB gave no proof. List and decide with `cvsync deletes`.",
            count(tally.held, "delete")
        ));
    }
    let watermark = summary.watermark;
    lines.extend(watermark.map(|at| format!("Watermark: {}", instant(at))));
    if summary.interrupted {
        lines.push("Interrupted. The next run continues from here.".to_owned());
    }
    lines.join("\n")
}
