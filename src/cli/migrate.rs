//! `cvsync migrate`

use serde::Serialize;

use super::Output;
use crate::config::{Database, Env, Log, Otel};
use crate::store::Store;
use crate::telemetry::{self, Screen};

/// Bring the database schema up to date
///
/// Needs only CVSYNC_DATABASE_URL. `cvsync run` does the same at its start, so you need this command only if another role owns
/// the schema.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    output: Output,
}

/// The result of a migration.
#[derive(Serialize)]
struct Migrated {
    schema: &'static str,
}

pub(super) async fn run(args: Args, env: &Env) -> anyhow::Result<()> {
    let database = Database::load(env)?;
    telemetry::install(&Log::load(env)?, &Otel::default(), &Screen::default())?;
    Store::new(&database)?.migrate().await?;
    let migrated = Migrated {
        schema: "up to date",
    };
    args.output
        .print(&migrated, |it| format!("The schema is {}.", it.schema));
    Ok(())
}
