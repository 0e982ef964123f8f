//! `cvsync rewind`

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;

use super::tool::database;
use super::{Output, Usage};
use crate::clock::Clock;
use crate::config::Env;
use crate::model::When;
use crate::model::window::instant;
use crate::store::coverage;

/// Move the watermark back (never forward) and record the move
///
/// The next sync lists everything from there on again, with one call per window: a year of five-minute syncs takes an hour. It
/// fetches each CV that is not known to be up to date. You need not rewind after you restore a backup: the daemon notices that by
/// itself.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// New watermark, such as 2026-02-13T12:00:00Z, 2026-02-13 (00:00 in UTC) or 2h (two hours ago)
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    to: When,
    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
struct Rewound {
    from: DateTime<Utc>,
    to: DateTime<Utc>,
}

pub(super) async fn run(args: Args, env: &Env) -> anyhow::Result<()> {
    let store = database(env)?;
    let to = args.to.before(Clock::default().now());
    let rewind = async |tx: &mut PgConnection| coverage::rewind(tx, to).await;
    let was = store.write("moving the watermark back", rewind).await?;
    let Some(from) = was else {
        return Err(Usage(format!(
            "--to must be earlier than the watermark, got {}; see `cvsync status` for the watermark (nothing was changed)",
            instant(to)
        ))
        .into());
    };
    let rewound = Rewound { from, to };
    args.output.print(&rewound, |it| {
        format!(
            "Moved the watermark back from {} to {}.",
            instant(it.from),
            instant(it.to)
        )
    });
    Ok(())
}
