//! `cvsync pause` and `cvsync resume`

use chrono::{DateTime, Utc};

use sqlx::PgConnection;

use super::Usage;
use super::output::say;
use super::tool::database;
use crate::config::Env;
use crate::model::window::instant;
use crate::store::pause::{self, Begun};
use crate::telemetry;

/// No more runs, on all instances, until `resume`; visible in status and readiness
///
/// A run that is under way is ended within a few seconds, and goes on where it was once the pause is over.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Why, for whoever sees it
    #[arg(long, default_value = "by hand")]
    reason: String,
    /// When it ends by itself, such as 2026-02-13T12:00:00Z: later than the database's time
    #[arg(long, value_name = "TIME", value_parser = super::args::instant)]
    until: Option<DateTime<Utc>>,
    /// Replace the pause that holds, if one does
    #[arg(long)]
    replace: bool,
}

/// End the pause
#[derive(Debug, clap::Args)]
pub(super) struct ResumeArgs {}

pub(super) async fn run(args: Args, env: &Env) -> anyhow::Result<()> {
    let store = database(env)?;
    let by = format!("with `cvsync pause` on {}", telemetry::host());
    let begin = async |tx: &mut PgConnection| {
        pause::begin(tx, &args.reason, args.until, &by, args.replace).await
    };
    match store.write("pausing", begin).await? {
        Begun::Holds(pause) => {
            let sooner = pause.until.map_or("", |_| "; `cvsync resume` ends it sooner");
            say(&format!("paused {}: {}{sooner}", pause.end(), pause.reason));
            Ok(())
        }
        Begun::Stands(pause) => Err(Usage(format!(
            "already paused since {} {}: {}; nothing was done. Run `cvsync resume` first, or add --replace to replace that pause",
            instant(pause.since),
            pause.end(),
            pause.reason
        ))
        .into()),
        Begun::Past(now) => Err(Usage(format!(
            "--until must be later than the database's time {}, got {}; nothing was done",
            instant(now),
            args.until.map_or_else(String::new, instant)
        ))
        .into()),
    }
}

pub(super) async fn resume(ResumeArgs {}: ResumeArgs, env: &Env) -> anyhow::Result<()> {
    let store = database(env)?;
    let was_paused = store.write("resuming", pause::end).await?;
    say(if was_paused {
        "resumed"
    } else {
        "it was not paused"
    });
    Ok(())
}
