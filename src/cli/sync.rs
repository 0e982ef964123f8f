//! `cvsync sync`

use std::time::Duration;

use anyhow::Context;

use super::Output;
use crate::clock::Clock;
use crate::config::{Config, Env};
use crate::daemon::{cancel_on_signal, drained};
use crate::model::window::instant;
use crate::sync::{Pipeline, Summary};
use crate::telemetry::{self, Metrics, Screen};
use crate::terminal;

/// How long a person waits for a source or a database that is away.
const PATIENCE: Duration = Duration::from_secs(120);

/// One incremental sync up to now, then exit
///
/// Goes from the watermark to as close to now as CVSYNC_SETTLE_LAG allows. Interrupt it at any time: the next one goes on
/// where it was. Safe beside a running daemon. Fails where VDAB or the database stay away for more than two minutes.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    output: Output,
}

pub async fn run(args: Args, env: &Env) -> anyhow::Result<()> {
    let config = Config::load(env)?;
    let screen = Screen::default();
    telemetry::install(&config.log, &screen)?;
    let token = cancel_on_signal()?;
    let pipeline = Pipeline::new(
        &config,
        Some(PATIENCE),
        Clock::default(),
        Metrics::new()?,
        token.clone(),
    )?;
    let work = async {
        pipeline.migrate().await?;
        terminal::shown(&screen, &pipeline.progress, pipeline.run()).await
    };
    let summary = drained(&token, work)
        .await
        .context("what was in hand took too long and was dropped; nothing is lost")??;
    args.output.print(&summary, text);
    Ok(())
}

fn text(summary: &Summary) -> String {
    let tally = summary.tally;
    let mut text = format!(
        "{} listed: {} new, {} changed, {} gone, {} as they were, {} known already, {} parked",
        tally.listed,
        tally.inserted,
        tally.updated,
        tally.deleted,
        tally.unchanged + tally.superseded,
        tally.skipped,
        tally.parked,
    );
    if let Some(watermark) = summary.watermark {
        text += &format!("; in step up to {}", instant(watermark));
    }
    if summary.interrupted {
        text += "; interrupted, the next sync goes on from here";
    }
    text
}
