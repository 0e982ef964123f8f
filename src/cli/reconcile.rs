//! `cvsync reconcile`

use super::tool::{self, RunArgs};
use crate::config::Env;
use crate::sync::Request;

/// Compare everything that VDAB lists with the database; fetch missing CVs and delete removed ones
///
/// Lists everything from CVSYNC_SYNC_FROM up to the watermark. cvsync asks for each CV that VDAB no longer lists, and deletes it
/// only if VDAB confirms that it is gone. The daemon does the same on CVSYNC_RECONCILE_SCHEDULE.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    run: RunArgs,
}

pub(super) async fn run(args: Args, env: &Env) -> anyhow::Result<()> {
    tool::run(args.run, env, Request::Reconcile).await
}
