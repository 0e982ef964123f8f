//! `cvsync backfill`

use super::Usage;
use super::tool::{self, RunArgs};
use crate::clock::Clock;
use crate::config::Env;
use crate::model::window::instant;
use crate::model::{When, Window};
use crate::sync::Request;

/// Sync an explicit range; moves no watermark
///
/// Lists the changes from --van up to --tot, and fetches each listed CV that is not known to be up to date. You can run it while
/// the daemon runs.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Start of the range, such as 2026-02-13T12:00:00Z, 2026-02-13 (00:00 in UTC) or 2h (two hours ago)
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    van: When,
    /// End of the range, which is not part of it, in the same forms
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    tot: When,
    #[command(flatten)]
    run: RunArgs,
}

pub(super) async fn run(args: Args, env: &Env) -> anyhow::Result<()> {
    let now = Clock::default().now();
    let (van, tot) = (args.van.before(now), args.tot.before(now));
    let window = Window::new(van, tot).ok_or_else(|| {
        Usage(format!(
            "--tot must be later than --van, got --van {} --tot {}",
            instant(van),
            instant(tot)
        ))
    })?;
    tool::run(args.run, env, Request::Range(window)).await
}
