//! What commands that work on source and database have in common.

use std::time::Duration;

use anyhow::Context;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use super::{Interrupted, Output};
use crate::clock::Clock;
use crate::config::{Config, Database, Env, Log, Otel};
use crate::model::window::instant;
use crate::shutdown::{cancel_on_signal, drained};
use crate::store::Store;
use crate::sync::{InFuture, Pipeline, Request, Summary, loan, searchable};
use crate::telemetry::{self, Metrics, Screen, Traces};
use crate::terminal;

/// How long a person waits for a source or a database that is away.
const PATIENCE: Duration = Duration::from_mins(2);

/// How a run by hand is made.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct RunArgs {
    /// List and fetch, write nothing; print what would have been done, and the calls that it took
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    output: Output,
}

impl RunArgs {
    /// Prints `result` as JSON, or its summary for people.
    pub(super) fn print<R: Serialize>(self, result: &R, summary: impl FnOnce(&R) -> &Summary) {
        self.output.print(result, |result| {
            let summary = summary(result);
            if self.dry_run {
                let text = text(summary, "a run that writes would hold back");
                format!("dry run, nothing written: {text}")
            } else {
                text(summary, HOLDS)
            }
        });
    }
}

/// A pipeline at a terminal.
pub(super) struct Tool {
    /// Beside a daemon or without one: `as_of` orders what both write.
    pub pipeline: Pipeline,
    screen: Screen,
    token: CancellationToken,
    /// Asks the daemon that leads, if one does, for calls out of its quota.
    _loans: AbortOnDropHandle<()>,
    /// Delivers what is left when the tool is done.
    _traces: Option<Traces>,
}

impl Tool {
    /// Everything configured, logging installed, the schema up to date.
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
            // Empty until a daemon has led.
            alone.leader_settings().await
        }));
        let leader = prepared.await.ok_or(Interrupted)??;
        let leader = leader
            .iter()
            .map(|it| (it.name.as_str(), it.value.as_deref(), it.origin.as_str()));
        let mut pipeline = pipeline(&Config::load(&env.under(leader)?)?)?;
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

    /// Waits for `work` until a signal asks to stop.
    pub(super) async fn until_stopped<T>(
        &self,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        let done = self.token.run_until_cancelled(work).await;
        done.unwrap_or_else(|| Err(Interrupted.into()))
    }

    /// One run, with its progress shown.
    pub(super) async fn carry_out(&self, request: Request) -> anyhow::Result<Summary> {
        let span = telemetry::run_span(request.name());
        let run = Box::pin(self.pipeline.carry_out(request).instrument(span));
        let work = terminal::shown(&self.screen, &self.pipeline.progress, run);
        let summary = drained(&self.token, work)
            .await
            .context("what was in hand took too long and was dropped; nothing is lost")??;
        if !self.pipeline.store.is_dry() && !self.token.is_cancelled() {
            searchable::catch_up(&self.pipeline.store, &self.token).await;
        }
        Ok(summary)
    }
}

/// An error where a signal ended the run before it was done.
pub(super) fn whole(summary: &Summary) -> anyhow::Result<()> {
    if summary.interrupted {
        return Err(Interrupted.into());
    }
    Ok(())
}

/// The whole of a command that is one run.
pub(super) async fn run(args: RunArgs, env: &Env, request: Request) -> anyhow::Result<()> {
    let tool = Box::pin(Tool::prepare(env, args.dry_run)).await?;
    if let Request::Range(window) = &request {
        let time = tool.pipeline.vdab.time();
        InFuture::refuse("the end of the range (--tot)", window.tot(), time)?;
    }
    let summary = tool.carry_out(request).await?;
    args.print(&summary, |summary| summary);
    whole(&summary)
}

/// The database alone, for commands that need no source.
pub(super) fn database(env: &Env) -> anyhow::Result<Store> {
    let database = Database::load(env)?;
    telemetry::install(&Log::load(env)?, &Otel::default(), &Screen::default())?;
    Ok(Store::new(&database)?)
}

/// The beginning of [`text`]'s sentence about held deletes, for a run that writes.
pub(super) const HOLDS: &str = "cvsync holds back";

fn deletes(number: u64) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} delete{s}")
}

/// Describes a run for people. `holds` begins the sentence about held deletes.
pub(super) fn text(summary: &Summary, holds: &str) -> String {
    let tally = summary.tally;
    let mut parts = vec![format!(
        "{} listed: {} new, {} changed, {} gone, {} as they were, {} known already, {} parked, {} held",
        tally.listed,
        tally.inserted,
        tally.updated,
        tally.deleted,
        tally.unchanged + tally.superseded,
        tally.skipped,
        tally.parked,
        tally.held,
    )];
    parts.push(match summary.calls {
        1 => "1 call".to_owned(),
        calls => format!("{calls} calls"),
    });
    parts.extend(summary.difference.map(|difference| {
        let held = match difference.held {
            0 => String::new(),
            held => format!(" (and {held} more, whose deletes are held)"),
        };
        format!(
            "the source lists {} ids; of what the syncs should have brought, {} were missing and {} out of date here, and {} were here that it does not list{}",
            difference.listed, difference.missing, difference.stale, difference.extra, held
        )
    }));
    if tally.held > 0 {
        parts.push(format!(
            "{holds} {}, because there are more than usual or VDAB gave no proof; list and decide with `cvsync deletes`",
            deletes(tally.held)
        ));
    }
    let watermark = summary.watermark;
    parts.extend(watermark.map(|at| format!("in step up to {}", instant(at))));
    if summary.interrupted {
        parts.push("interrupted, the next one goes on from here".to_owned());
    }
    parts.join("; ")
}
