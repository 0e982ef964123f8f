//! `cvsync sync`

use super::tool::{self, RunArgs};
use crate::config::Env;
use crate::sync::Request;

/// One incremental sync up to now, then exit
///
/// Goes from the watermark to as close to now as CVSYNC_SETTLE_LAG allows. Interrupt it at any time: the next one goes on
/// where it was. Safe beside a running daemon. Fails where VDAB or the database stay away for more than two minutes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    run: RunArgs,
}

pub(super) async fn run(args: Args, env: &Env) -> anyhow::Result<()> {
    tool::run(args.run, env, Request::UpToNow).await
}
