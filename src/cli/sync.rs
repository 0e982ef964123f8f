//! `cvsync sync`

use super::tool::{self, RunArgs};
use crate::config::Env;
use crate::sync::Request;

/// Sync once, from the watermark up to now, then exit
///
/// Syncs as close to now as CVSYNC_SETTLE_LAG allows. You can interrupt it at any time, and the next sync continues where it was. You
/// can run it while the daemon runs. It fails if VDAB or the database is unreachable for more than two minutes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    run: RunArgs,
}

pub(super) async fn run(args: Args, env: &Env) -> anyhow::Result<()> {
    tool::run(args.run, env, Request::UpToNow).await
}
