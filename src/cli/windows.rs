//! `cvsync windows`

use serde::Serialize;

use super::output::Output;
use super::tool::{self, RunArgs, database};
use super::{Usage, table};
use crate::config::Env;
use crate::model::Window;
use crate::model::window::instant;
use crate::store::sync_window::{self, SyncWindow};
use crate::sync::Request;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// The ledger: which spans of time were listed when, with what result; newest first
    List {
        /// How many
        #[arg(long, default_value_t = 50)]
        limit: u32,
        #[command(flatten)]
        output: Output,
    },
    /// Spans that no settled window covers; there should be none
    Gaps {
        #[command(flatten)]
        output: Output,
    },
    /// List one again, and fetch what is not known to be up to date
    Relist {
        /// Its number in the list
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

pub async fn run(command: Command, env: &Env) -> anyhow::Result<()> {
    match command {
        Command::List { limit, output } => {
            let store = database(env)?;
            let mut tx = store.begin().await?;
            let windows = sync_window::latest(&mut tx, limit.into()).await?;
            tx.commit().await?;
            output.print(&windows, |windows| ledger(windows));
        }
        Command::Gaps { output } => {
            let store = database(env)?;
            let mut tx = store.begin().await?;
            let gaps: Vec<Gap> = sync_window::gaps(&mut tx)
                .await?
                .into_iter()
                .map(|(van, tot)| Gap {
                    van: instant(van),
                    tot: instant(tot),
                })
                .collect();
            tx.commit().await?;
            output.print(&gaps, |gaps| {
                table(
                    &["from", "to"],
                    gaps.iter()
                        .map(|gap| vec![gap.van.clone(), gap.tot.clone()]),
                )
            });
        }
        Command::Relist { id, run } => {
            let store = crate::store::Store::new(&crate::config::Database::load(env)?)?;
            let mut tx = store.begin().await?;
            let window = sync_window::find(&mut tx, id).await?;
            tx.commit().await?;
            let window = window
                .and_then(|window| Window::new(window.van, window.tot))
                .ok_or_else(|| Usage(format!("there is no window {id}")))?;
            tool::run(run, env, Request::Range(window)).await?;
        }
    }
    Ok(())
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
            ("settled", false) => "again".to_owned(),
            (state, _) => state.to_owned(),
        });
        let counts = [
            window.listed,
            window.upserted,
            window.unchanged,
            window.deleted,
            window.parked,
            window.held,
            window.skipped,
        ];
        row.extend(counts.map(|count| count.to_string()));
        row
    });
    let heads = [
        "id",
        "from",
        "to",
        "state",
        "listed",
        "written",
        "unchanged",
        "deleted",
        "parked",
        "held",
        "known",
    ];
    table(&heads, rows)
}
