//! `cvsync reconcile`

use super::tool::{self, RunArgs};
use crate::config::Env;
use crate::sync::Request;

/// Compare the whole source with the database: fetch what is missing, delete what is gone
///
/// Lists everything from CVSYNC_SYNC_FROM up to the watermark. What seems to be gone is asked for one by one, and deleted
/// only where VDAB confirms it. The daemon does the same on CVSYNC_RECONCILE_SCHEDULE.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    run: RunArgs,
}

pub(super) async fn run(args: Args, env: &Env) -> anyhow::Result<()> {
    tool::run(args.run, env, Request::Reconcile).await
}
