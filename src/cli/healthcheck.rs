//! `cvsync healthcheck`

use std::time::Duration;

use super::beside::ask;
use super::output::say;
use crate::config::{Env, Http};

/// Check that the daemon in this container is alive
///
/// For the HEALTHCHECK of a container, whose image has no shell and no curl. Requests /livez from CVSYNC_HTTP_ADDR, and exits with 0
/// if the daemon responds. If CVSYNC_HTTP_ADDR is off, it says so and exits with 0.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) async fn run(Args {}: Args, env: &Env) -> anyhow::Result<()> {
    if Http::load(env)?.addr.is_none() {
        say("not checked, because CVSYNC_HTTP_ADDR is off");
        return Ok(());
    }
    ask(env, "/livez", Duration::from_secs(3)).await?;
    Ok(())
}
