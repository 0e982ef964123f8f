//! `cvsync healthcheck`

use std::time::Duration;

use super::beside::ask;
use crate::config::Env;

/// Check that the daemon in this container is alive
///
/// For the HEALTHCHECK of a container, whose image has no shell and no curl. Requests /livez from CVSYNC_HTTP_ADDR, and exits with 0
/// if the daemon responds.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) async fn run(Args {}: Args, env: &Env) -> anyhow::Result<()> {
    ask(env, "/livez", Duration::from_secs(3)).await?;
    Ok(())
}
