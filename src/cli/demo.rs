//! `cvsync demo`

use std::path::PathBuf;
use std::time::Duration;

use super::simulate::rate;
use crate::config::{Database, Env, Log, Otel};
use crate::demo::{self, Options};
use crate::shutdown::cancel_on_signal_within;
use crate::telemetry::{self, Screen};

/// Try cvsync with nothing configured: a private PostgreSQL, a simulated VDAB whose CVs keep changing, and the daemon
///
/// Shows CVs arriving, then their changes, and where you can look at them. Kill it with `kill -9` at any time and start it again:
/// it continues where it was. Ctrl-C stops everything and removes the folder, unless you give --keep. If CVSYNC_DATABASE_URL is
/// set, the demo uses that database instead of a private one.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Number of CVs at the start
    #[arg(long, default_value_t = 10_000)]
    candidates: u32,
    /// CVs that are added, changed or removed per second
    #[arg(long, default_value_t = 5.0, value_parser = rate)]
    changes_per_second: f64,
    /// Folder of the private PostgreSQL
    #[arg(long, default_value = ".demo")]
    folder: PathBuf,
    /// Keep the folder at the end, and continue from it the next time
    #[arg(long)]
    keep: bool,
}

/// The private PostgreSQL stops after the daemon.
const STOP: Duration = Duration::from_mins(1);

pub(super) async fn run(args: Args, env: &Env) -> anyhow::Result<()> {
    let screen = Screen::default();
    let mut log = Log::load(env)?;
    if !env.sets("CVSYNC_LOG") {
        "warn".clone_into(&mut log.filter);
    }
    telemetry::install(&log, &Otel::default(), &screen)?;
    let names = ["CVSYNC_DATABASE_URL", "CVSYNC_DATABASE_URL_FILE"];
    let database_url = if names.iter().any(|name| env.sets(name)) {
        Some(Database::load(env)?.given)
    } else {
        None
    };
    let options = Options {
        candidates: args.candidates,
        changes_per_second: args.changes_per_second,
        folder: std::path::absolute(args.folder)?,
        keep: args.keep,
        database_url,
    };
    demo::run(options, &screen, cancel_on_signal_within(STOP)?).await
}
