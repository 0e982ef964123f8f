//! `cvsync migrate`

use super::output;
use crate::config::{Database, Env, Log, Otel};
use crate::store::Store;
use crate::telemetry::{self, Screen};

/// Apply the schema and stop
///
/// Needs CVSYNC_DATABASE_URL alone. `cvsync run` does the same when it starts, so this is for those who let another role
/// own the schema.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) async fn run(Args {}: Args, env: &Env) -> anyhow::Result<()> {
    let database = Database::load(env)?;
    telemetry::install(&Log::load(env)?, &Otel::default(), &Screen::default())?;
    Store::new(&database)?.migrate().await?;
    output::say("the schema is up to date");
    Ok(())
}
