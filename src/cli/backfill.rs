//! `cvsync backfill`

use chrono::{DateTime, Utc};

use super::Usage;
use super::tool::{self, RunArgs};
use crate::config::Env;
use crate::model::Window;
use crate::model::window::instant;
use crate::sync::Request;

/// Sync an explicit range; moves no watermark
///
/// Lists the changes from --van up to --tot, and fetches each listed CV that is not known to be up to date. You can run it while
/// the daemon runs.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Start of the range, such as 2026-02-13T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = super::args::instant)]
    van: DateTime<Utc>,
    /// End of the range, which is not part of it
    #[arg(long, value_name = "TIME", value_parser = super::args::instant)]
    tot: DateTime<Utc>,
    #[command(flatten)]
    run: RunArgs,
}

pub(super) async fn run(args: Args, env: &Env) -> anyhow::Result<()> {
    let window = Window::new(args.van, args.tot).ok_or_else(|| Usage(later_than_van(&args)))?;
    tool::run(args.run, env, Request::Range(window)).await
}

fn later_than_van(args: &Args) -> String {
    format!(
        "--tot must be later than --van, got --van {} --tot {}",
        instant(args.van),
        instant(args.tot)
    )
}
