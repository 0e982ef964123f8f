//! `cvsync windows`

use serde::Serialize;
use sqlx::PgConnection;

use super::output::Output;
use super::tool::{self, RunArgs, database};
use super::{Usage, table};
use crate::clock::Clock;
use crate::config::{self, Env};
use crate::model::Window;
use crate::model::window::instant;
use crate::model::words::number;
use crate::store::coverage;
use crate::store::leader_setting::{self, LeaderSetting};
use crate::store::sync_window::{self, SyncWindow};
use crate::sync::Request;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List the windows with their results, newest first; `upserted` is inserted plus updated
    List {
        /// Maximum number of windows
        #[arg(long, default_value_t = 50)]
        limit: u32,
        #[command(flatten)]
        output: Output,
    },
    /// List the spans of VDAB's time that are not settled: the backlog; there should be none once the copy is in step
    Gaps {
        #[command(flatten)]
        output: Output,
    },
    /// List a window again, and fetch each CV that is not known to be up to date
    Relist {
        /// Id of the window, as `list` shows it
        id: i64,
        #[command(flatten)]
        run: RunArgs,
    },
}

#[derive(Serialize)]
struct Gap {
    van: String,
    tot: String,
}

pub(super) async fn run(command: Command, env: &Env) -> anyhow::Result<()> {
    match command {
        Command::List { limit, output } => {
            let store = database(env)?;
            let list = async |tx: &mut PgConnection| sync_window::latest(tx, limit.into()).await;
            let windows = store.read("listing windows", list).await?;
            output.print(&windows, |windows| ledger(windows));
        }
        Command::Gaps { output } => {
            let store = database(env)?;
            let gaps = async |tx: &mut PgConnection| Ok(gaps(tx, env).await);
            let gaps = store.read("looking for gaps", gaps).await??;
            output.print(&gaps, |gaps| {
                table(
                    &["van", "tot"],
                    gaps.iter()
                        .map(|gap| vec![gap.van.clone(), gap.tot.clone()]),
                )
            });
        }
        Command::Relist { id, run } => {
            let store = crate::store::Store::new(&crate::config::Database::load(env)?)?;
            let find = async |tx: &mut PgConnection| sync_window::find(tx, id).await;
            let window = store.read("looking for a window", find).await?;
            let window = window
                .and_then(|window| Window::new(window.van, window.tot))
                .ok_or_else(|| {
                    Usage(format!(
                        "no window has the id {id}; see `cvsync windows list`"
                    ))
                })?;
            tool::run(run, env, Request::Range(window)).await?;
        }
    }
    Ok(())
}

/// The spans before the live edge that are not settled, in order.
async fn gaps(tx: &mut PgConnection, env: &Env) -> anyhow::Result<Vec<Gap>> {
    let leader = leader_setting::all(tx).await?;
    let leader = leader.iter().map(LeaderSetting::recorded);
    let settings = config::Sync::load(&env.of_leader(leader))?;
    let coverage = coverage::read(tx, Clock::default().now()).await?;
    let gaps = coverage.gaps(settings.from).into_iter().rev();
    let gap = |window: Window| Gap {
        van: instant(window.van()),
        tot: instant(window.tot()),
    };
    Ok(gaps.map(gap).collect())
}

fn ledger(windows: &[SyncWindow]) -> String {
    let rows = windows.iter().map(|window| {
        let mut row = vec![
            window.id.to_string(),
            instant(window.van),
            instant(window.tot),
        ];
        row.push(match (&*window.state, window.fresh) {
            ("settled", true) => "settled".to_owned(),
            ("settled", false) => "relisted".to_owned(),
            (state, _) => state.to_owned(),
        });
        let counts = [
            window.listed,
            window.upserted,
            window.unchanged,
            window.skipped,
            window.deleted,
            window.held,
            window.parked,
        ];
        row.extend(counts.map(number));
        row
    });
    let heads = [
        "id",
        "van",
        "tot",
        "state",
        "listed",
        "upserted",
        "unchanged",
        "skipped",
        "deleted",
        "held",
        "parked",
    ];
    table(&heads, rows)
}
