//! `cvsync healthcheck`

use std::time::Duration;

use super::beside::ask;
use crate::config::Env;

/// Ask the daemon in this container whether it is alive
///
/// For a container's HEALTHCHECK: the image has no shell and no curl. Asks /livez on CVSYNC_HTTP_ADDR.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) async fn run(Args {}: Args, env: &Env) -> anyhow::Result<()> {
    ask(env, "/livez", Duration::from_secs(3)).await?;
    Ok(())
}
