//! `cvsync pause` and `cvsync resume`

use serde::Serialize;
use sqlx::PgConnection;

use super::tool::database;
use super::{Output, Usage};
use crate::config::Env;
use crate::model::When;
use crate::model::window::instant;
use crate::store::pause::{self, Begun};
use crate::telemetry;

/// Pause syncing on all instances until `cvsync resume`; visible in status and readiness
///
/// A run in progress stops within a few seconds, and continues where it was after the pause.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Reason, which the status page and `cvsync status` show: one line of at most 200 characters
    #[arg(long, default_value = "by hand")]
    reason: String,
    /// Time at which the pause ends by itself, such as 2h, 2026-02-13 (00:00 in UTC) or 2026-02-13T12:00:00Z; at most ten years
    /// ahead
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    until: Option<When>,
    /// Replace the current pause, if there is one
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    output: Output,
}

/// End the pause on all instances
#[derive(Debug, clap::Args)]
pub(super) struct ResumeArgs {
    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
struct Resumed {
    /// `false` where nothing was paused.
    resumed: bool,
}

pub(super) async fn run(args: Args, env: &Env) -> anyhow::Result<()> {
    let store = database(env)?;
    let by = format!("with `cvsync pause` on {}", telemetry::host());
    let begin = async |tx: &mut PgConnection| {
        pause::begin(tx, &args.reason, args.until, &by, args.replace).await
    };
    match store.write("pausing", begin).await? {
        Begun::Holds(pause) => {
            args.output.print(&pause, |pause| {
                let sooner = pause.until.map_or("", |_| " `cvsync resume` ends it sooner.");
                format!("Paused {} (reason: {}).{sooner}", pause.end(), pause.reason)
            });
            Ok(())
        }
        Begun::Stands(pause) => Err(Usage(format!(
            "already paused since {} {} (reason: {}); run `cvsync resume` first, or add --replace (nothing was changed)",
            instant(pause.since),
            pause.end(),
            pause.reason
        ))
        .into()),
        Begun::NoEnd(now) => Err(Usage(format!(
            "--until must be later than the database's time {}, and at most ten years later, got {} (nothing was changed)",
            instant(now),
            args.until.map_or_else(String::new, |until| until.to_string())
        ))
        .into()),
    }
}

pub(super) async fn resume(args: ResumeArgs, env: &Env) -> anyhow::Result<()> {
    let store = database(env)?;
    let resumed = store.write("resuming", pause::end).await?;
    args.output.print(&Resumed { resumed }, |it| {
        if it.resumed {
            "Resumed."
        } else {
            "Nothing was paused."
        }
    });
    Ok(())
}
