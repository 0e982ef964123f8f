//! `cvsync rewind`

use chrono::{DateTime, Utc};

use sqlx::PgConnection;

use super::Usage;
use super::output::say;
use super::tool::database;
use crate::config::Env;
use crate::model::window::instant;
use crate::store::watermark;

/// Move the watermark back (never forward), with a record of it
///
/// The next sync lists everything from there on, window by window as it was listed then (a call each: a year of five-minute
/// syncs takes an hour), and fetches what is not known to be up to date. After a restored backup,
/// rewind to before it was taken, and run `cvsync reconcile`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where to, such as 2026-02-13T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = super::args::instant)]
    to: DateTime<Utc>,
}

pub(super) async fn run(args: Args, env: &Env) -> anyhow::Result<()> {
    let store = database(env)?;
    let rewind = async |tx: &mut PgConnection| watermark::rewind(tx, args.to).await;
    let was = store.write("moving the watermark back", rewind).await?;
    let Some(was) = was else {
        return Err(Usage(format!(
            "the watermark is not later than {}; by hand it is only ever moved back",
            instant(args.to)
        ))
        .into());
    };
    say(&format!(
        "the watermark went from {} back to {}",
        instant(was),
        instant(args.to)
    ));
    Ok(())
}
