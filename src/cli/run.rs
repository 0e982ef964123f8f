//! `cvsync run`

use crate::clock::Clock;
use crate::config::{Config, Env};
use crate::daemon::Daemon;
use crate::shutdown::cancel_on_signal;
use crate::telemetry::{self, Screen};

/// The daemon: migrate, sync at start and on schedule, until SIGTERM, SIGINT or SIGHUP
///
/// Serves a status page, /livez, /readyz, /metrics and /api/status on CVSYNC_HTTP_ADDR. A source or a database that is
/// away is waited for; what is in hand when a signal comes is finished or dropped whole within 10 seconds. A second signal
/// stops at once.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) async fn run(Args {}: Args, env: &Env) -> anyhow::Result<()> {
    let config = Config::load(env)?;
    let _traces = telemetry::install(&config.log, &config.otel, &Screen::default())?;
    config.warn();
    let token = cancel_on_signal()?;
    let daemon = Daemon::prepare(config, Clock::default(), token).await?;
    Box::pin(daemon.run()).await
}
