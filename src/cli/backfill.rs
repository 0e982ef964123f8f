//! `cvsync backfill`

use chrono::{DateTime, Utc};

use super::Usage;
use super::tool::{self, RunArgs};
use crate::config::Env;
use crate::model::Window;
use crate::sync::Request;

/// Sync an explicit range; moves no watermark
///
/// Lists what changed from --van up to --tot and fetches what is not known to be up to date. Safe beside a running daemon.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// From, such as 2026-02-13T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = super::args::instant)]
    van: DateTime<Utc>,
    /// Up to, without it
    #[arg(long, value_name = "TIME", value_parser = super::args::instant)]
    tot: DateTime<Utc>,
    #[command(flatten)]
    run: RunArgs,
}

pub(super) async fn run(args: Args, env: &Env) -> anyhow::Result<()> {
    let window = Window::new(args.van, args.tot)
        .ok_or_else(|| Usage("--tot has to lie behind --van".to_owned()))?;
    tool::run(args.run, env, Request::Range(window)).await
}
