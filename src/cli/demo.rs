//! `cvsync demo`

use std::path::PathBuf;
use std::time::Duration;

use super::simulate::rate;
use crate::config::{Database, Env, Log, Otel};
use crate::demo::{self, Options};
use crate::shutdown::cancel_on_signal_within;
use crate::telemetry::{self, Screen};

/// The main job, visibly, with nothing configured: a private PostgreSQL, simulated CVs that keep changing, the daemon
///
/// Shows how CVs arrive and changes follow, and where to look. Kill it with `kill -9` at any time and start it again: it
/// goes on where it was. Ctrl-C stops all of it and removes what it made, unless --keep is given. Where
/// CVSYNC_DATABASE_URL is set, that database is used instead of a private one.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How many CVs there are at first
    #[arg(long, default_value_t = 10_000)]
    candidates: u32,
    /// How many CVs change, come or go each second
    #[arg(long, default_value_t = 5.0, value_parser = rate)]
    changes_per_second: f64,
    /// Where the private PostgreSQL lives
    #[arg(long, default_value = ".demo")]
    folder: PathBuf,
    /// Leave the folder there at the end, for the next time
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
