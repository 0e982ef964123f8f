//! The commands, one file each: parse, call, print.
//!
//! Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.

mod backfill;
mod beside;
mod check;
mod chosen;
mod clients;
mod completions;
mod config;
mod conformance;
mod deletes;
mod demo;
mod explain;
mod export;
mod feed;
mod groups;
mod healthcheck;
mod migrate;
mod output;
mod parked;
mod pause;
mod privacy;
mod reconcile;
mod reference;
mod resync;
mod rewind;
mod run;
mod search;
mod simulate;
mod source;
mod status;
mod subject;
mod suppressed;
mod sync;
mod tool;
mod verify;
mod windows;

use std::num::NonZero;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{FromArgMatches, Parser, Subcommand, ValueHint};
use rustix::process::{Resource, Rlimit, setrlimit};

use self::output::{Output, table};
use crate::config::{Differs, Env, Problems};
use crate::shutdown::{self, cancel_on_signal_within};
use crate::store::{StoreError, close_all};
use crate::sync::{InFuture, SyncError};
use crate::telemetry::STDERR;

/// Copies the CVs that VDAB's CV API offers to partners into PostgreSQL, and keeps the copy up to date.
///
/// Environment variables configure cvsync. `cvsync config show` lists them with their meaning and effective value.
/// `CVSYNC_API_KEY` and `CVSYNC_DATABASE_URL` are required. You can put each secret into a file instead, as in
/// `CVSYNC_API_KEY_FILE=/run/secrets/api-key`.
///
/// To try cvsync with nothing configured, run `cvsync demo`.
#[derive(Debug, Parser)]
#[command(version, max_term_width = groups::WIDTH)]
struct Cli {
    /// File of variables, one NAME=value per line; a variable that is set in the environment too keeps that value
    #[arg(long, value_name = "FILE", global = true, value_hint = ValueHint::FilePath, help_heading = "Global options")]
    env_file: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Sync(sync::Args),
    Backfill(backfill::Args),
    Resync(resync::Args),
    Reconcile(reconcile::Args),
    Verify(verify::Args),
    Status(status::Args),
    /// List, retry or drop CVs that could not be fetched or stored
    #[command(subcommand)]
    Parked(parked::Command),
    /// List, approve or discard held deletes
    #[command(subcommand)]
    Deletes(deletes::Command),
    /// Suppress CVs, so that they are not stored whatever VDAB lists
    #[command(subcommand)]
    Suppressed(suppressed::Command),
    /// Show which windows were listed, find gaps, and list a window again
    #[command(subcommand)]
    Windows(windows::Command),
    /// Manage the API keys of clients of the mirror (/mirror/v1)
    #[command(subcommand)]
    Clients(clients::Command),
    /// List or remove consumers of the change feed
    #[command(subcommand)]
    Feed(feed::Command),
    Explain(explain::Args),
    Subject(subject::Args),
    /// Describe the processing of personal data
    #[command(subcommand)]
    Privacy(privacy::Command),
    Search(search::Args),
    /// Fetch or look up reference data: codes and their labels
    #[command(subcommand)]
    Reference(reference::Command),
    Export(export::Args),
    Pause(pause::Args),
    Resume(pause::ResumeArgs),
    Rewind(rewind::Args),
    Migrate(migrate::Args),
    Check(check::Args),
    Conformance(conformance::Args),
    /// Show the configuration
    #[command(subcommand)]
    Config(config::Command),
    Simulate(simulate::Args),
    Demo(demo::Args),
    Healthcheck(healthcheck::Args),
    Completions(completions::Args),
}

/// Runs the command that the arguments name.
#[must_use]
pub fn main() -> ExitCode {
    forbid_core_dumps();
    let matches = groups::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let code = shutdown::run(|| run_to_end(cli));
    STDERR.flush(shutdown::LAST_LINES);
    code
}

/// A core dump would hold secrets and personal data. Where the system does not allow the call, as under systemd, the unit forbids them.
fn forbid_core_dumps() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let _ = setrlimit(Resource::Core, none);
}

fn run_to_end(cli: Cli) -> ExitCode {
    match dispatch(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<Failed>() => ExitCode::FAILURE,
        Err(error) => {
            output::complain(&format!("{error:#}"));
            let is_usage = error.is::<Usage>() || error.is::<InFuture>() || is_other_shape(&error);
            if is_usage || error.is::<Problems>() || error.is::<Differs>() {
                ExitCode::from(2)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

/// Whether the daemon's settings have changed, so that the command would store other data.
fn is_other_shape(error: &anyhow::Error) -> bool {
    let run = error.downcast_ref::<SyncError>();
    let written = error.downcast_ref::<StoreError>();
    matches!(run, Some(SyncError::OtherShape)) || written == Some(&StoreError::OtherShape)
}

/// The most lines of a list.
const LONGEST_LIST: i64 = 10_000;

/// Wrong usage that only the arguments together, or the database, can show.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

/// A signal stopped the command before it was finished.
#[derive(Debug, thiserror::Error)]
#[error("interrupted before the command finished")]
struct Interrupted;

/// A command failed, and its output has already said so.
#[derive(Debug, thiserror::Error)]
#[error("failed")]
struct Failed;

fn dispatch(cli: Cli) -> anyhow::Result<()> {
    let mut env = Env::of_process();
    if let Some(path) = cli.env_file {
        env = env.with_file(&path)?;
    }
    match cli.command {
        Command::Config(command) => config::run(&command, &env),
        Command::Completions(args) => {
            completions::run(&args);
            Ok(())
        }
        Command::Run(args) => block_on(run::run(args, &env)),
        Command::Sync(args) => block_on(sync::run(args, &env)),
        Command::Backfill(args) => block_on(backfill::run(args, &env)),
        Command::Resync(args) => block_on(resync::run(args, &env)),
        Command::Reconcile(args) => block_on(reconcile::run(args, &env)),
        Command::Verify(args) => block_on(verify::run(args, &env)),
        Command::Status(args) => block_on(status::run(args, &env)),
        Command::Parked(command) => stoppable(parked::run(command, &env)),
        Command::Deletes(command) => stoppable(deletes::run(command, &env)),
        Command::Suppressed(command) => stoppable(suppressed::run(command, &env)),
        Command::Windows(command) => stoppable(windows::run(command, &env)),
        Command::Clients(command) => stoppable(clients::run(command, &env)),
        Command::Feed(command) => stoppable(feed::run(command, &env)),
        Command::Explain(args) => stoppable(explain::run(args, &env)),
        Command::Subject(args) => stoppable(subject::run(args, &env)),
        Command::Privacy(command) => stoppable(privacy::run(command, &env)),
        Command::Search(args) => block_on(search::run(args, &env)),
        Command::Reference(command @ reference::Command::Sync { .. }) => {
            block_on(reference::run(command, &env))
        }
        Command::Reference(command) => stoppable(reference::run(command, &env)),
        Command::Export(args) => stoppable(export::run(args, &env)),
        Command::Pause(args) => stoppable(pause::run(args, &env)),
        Command::Resume(args) => stoppable(pause::resume(args, &env)),
        Command::Rewind(args) => stoppable(rewind::run(args, &env)),
        Command::Migrate(args) => stoppable(migrate::run(args, &env)),
        Command::Check(args) => stoppable(check::run(args, &env)),
        Command::Conformance(args) => stoppable(conformance::run(args, &env)),
        Command::Simulate(args) => block_on(simulate::run(args, &env)),
        Command::Demo(args) => block_on(demo::run(args, &env)),
        Command::Healthcheck(args) => stoppable(healthcheck::run(args, &env)),
    }
}

/// Time limit for stopping a command that cannot stop at once, because nobody reads its stdout.
const STOP: Duration = Duration::from_secs(1);

/// Runs a command that a signal stops at once.
fn stoppable<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    block_on(async {
        let token = cancel_on_signal_within(STOP)?;
        let done = token.run_until_cancelled(work).await;
        done.unwrap_or_else(|| Err(Interrupted.into()))
    })
}

/// More threads bring nothing, and containers limit them.
const MOST_THREADS: usize = 8;

fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(processors.min(MOST_THREADS))
        .enable_all()
        .build()?;
    let done = runtime.block_on(async {
        let done = work.await;
        close_all(shutdown::CLOSE).await;
        done
    });
    // Nothing of ours still runs. A DNS lookup must not keep the process alive.
    runtime.shutdown_background();
    done
}
