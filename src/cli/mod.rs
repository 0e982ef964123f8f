//! The commands, one file each: parse, call, print.
//!
//! Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 failed, 2 wrong use or configuration.

mod check;
mod completions;
mod config;
mod demo;
mod healthcheck;
mod migrate;
mod output;
mod run;
mod simulate;
mod sync;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::output::Output;
use crate::config::{Env, Problems};

/// Keeps a PostgreSQL database in step with the CVs that VDAB's CV API offers its partners.
///
/// Everything is configured by environment variables: `cvsync config show` lists them with their meaning and their
/// value in effect. `CVSYNC_API_KEY` and `CVSYNC_DATABASE_URL` are required; each secret can be given as a file instead,
/// as in `CVSYNC_API_KEY_FILE=/run/secrets/api-key`.
///
/// Try it with nothing configured: `cvsync demo`.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Sync(sync::Args),
    Migrate(migrate::Args),
    Check(check::Args),
    /// Look at the configuration
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
    let Cli { command } = Cli::parse();
    match dispatch(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<Failed>() => ExitCode::FAILURE,
        Err(error) => {
            output::complain(&format!("{error:#}"));
            if error.is::<Problems>() {
                ExitCode::from(2)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

/// A command whose output has already said that it failed.
#[derive(Debug, thiserror::Error)]
#[error("failed")]
struct Failed;

fn dispatch(command: Command) -> anyhow::Result<()> {
    let env = Env::of_process();
    match command {
        Command::Config(command) => config::run(&command, &env),
        Command::Completions(args) => completions::run(&args),
        Command::Run(args) => block_on(run::run(args, &env)),
        Command::Sync(args) => block_on(sync::run(args, &env)),
        Command::Migrate(args) => block_on(migrate::run(args, &env)),
        Command::Check(args) => block_on(check::run(args, &env)),
        Command::Simulate(args) => block_on(simulate::run(args, &env)),
        Command::Demo(args) => block_on(demo::run(args, &env)),
        Command::Healthcheck(args) => block_on(healthcheck::run(args, &env)),
    }
}

fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(work);
    // Nothing of ours runs any longer; a name that is still being resolved must not keep the process.
    runtime.shutdown_background();
    done
}
