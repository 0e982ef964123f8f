//! `cvsync run`

use crate::clock::Clock;
use crate::config::{Config, Env};
use crate::daemon::Daemon;
use crate::shutdown::cancel_on_signal;
use crate::telemetry::{self, Screen};

/// Run the daemon: migrate, then sync at the start and on schedule, until SIGTERM, SIGINT or SIGHUP
///
/// Serves a status page, /livez, /readyz, /metrics and /api/status on CVSYNC_HTTP_ADDR. It waits while VDAB or the database is
/// unreachable. On a signal it finishes the current batch or drops it as a whole, within 10 seconds. A second signal stops it at
/// once.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) async fn run(Args {}: Args, env: &Env) -> anyhow::Result<()> {
    let config = Config::load(env)?;
    let _traces = telemetry::install(&config.log, &config.otel, &Screen::default())?;
    config.warn();
    let token = cancel_on_signal()?;
    let daemon = Daemon::prepare(config, Clock::default(), token)?;
    Box::pin(daemon.run()).await
}
