//! `cvsync pause` and `cvsync resume`

use chrono::{DateTime, Utc};

use super::output::say;
use super::tool::database;
use crate::config::Env;
use crate::store::pause;

/// No more runs, on all instances, until `resume`; visible in status and readiness
///
/// A run that is under way is ended within a few seconds, and goes on where it was once the pause is over.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Why, for whoever sees it
    #[arg(long, default_value = "by hand")]
    reason: String,
    /// When it ends by itself, such as 2026-02-13T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = super::args::instant)]
    until: Option<DateTime<Utc>>,
}

/// End the pause
#[derive(Debug, clap::Args)]
pub struct ResumeArgs {}

pub async fn run(args: Args, env: &Env) -> anyhow::Result<()> {
    let store = database(env)?;
    let mut tx = store.begin_write().await?;
    pause::begin(&mut tx, &args.reason, args.until).await?;
    tx.commit().await?;
    say("paused; `cvsync resume` ends it");
    Ok(())
}

pub async fn resume(ResumeArgs {}: ResumeArgs, env: &Env) -> anyhow::Result<()> {
    let store = database(env)?;
    let mut tx = store.begin_write().await?;
    let was_paused = pause::end(&mut tx).await?;
    tx.commit().await?;
    say(if was_paused {
        "resumed"
    } else {
        "it was not paused"
    });
    Ok(())
}
