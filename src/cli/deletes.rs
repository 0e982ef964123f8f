//! `cvsync deletes`

use std::time::Duration;

use serde::Serialize;
use sqlx::PgConnection;

use super::chosen::Chosen;
use super::output::Output;
use super::resync::ids;
use super::tool::{HOLDS, Tool, database, text, whole};
use super::{LONGEST_LIST, Usage, table};
use crate::config::Env;
use crate::model::window::instant;
use crate::model::words::count;
use crate::store::held_delete::{self, HeldDelete, NotDecided, Which};
use crate::sync::{Request, Summary};

/// Time limit of a decision: a million deletes may be held.
const DECIDED_WITHIN: Duration = Duration::from_mins(10);

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List the held deletes and why each is held
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Ask VDAB for these CVs again, and delete those that are gone
    Approve(Chosen),
    /// Keep these CVs; the next listing or `cvsync reconcile` decides again
    Discard(Chosen),
}

/// The run that followed an approval.
#[derive(Serialize)]
struct Approved {
    approved: u64,
    #[serde(flatten)]
    summary: Summary,
}

#[derive(Serialize)]
struct Discarded {
    discarded: u64,
}

pub(super) async fn run(command: Command, env: &Env) -> anyhow::Result<()> {
    match command {
        Command::List { output } => {
            let store = database(env)?;
            let list = async |tx: &mut PgConnection| held_delete::list(tx, LONGEST_LIST).await;
            let held = store.read("listing held deletes", list).await?;
            output.print(&held, |held| show(held));
        }
        Command::Approve(chosen) => {
            let which = which(&chosen)?;
            let tool = Tool::prepare(env, false).await?;
            let approve = async |tx: &mut PgConnection| held_delete::approve(tx, which).await;
            let store = tool.pipeline.store.within(DECIDED_WITHIN);
            let approved = store.write_or_undo("approving deletes", approve).await;
            let approved = approved.map_err(usage)?;
            let summary = tool.carry_out(Request::Approved).await?;
            let approved = Approved { approved, summary };
            chosen
                .output
                .print(&approved, |it| text(&it.summary, HOLDS));
            whole(&approved.summary)?;
        }
        Command::Discard(chosen) => {
            let which = which(&chosen)?;
            let store = database(env)?;
            let discard = async |tx: &mut PgConnection| held_delete::discard(tx, which).await;
            let store = store.within(DECIDED_WITHIN);
            let discarded = store.write_or_undo("discarding deletes", discard).await;
            let discarded = Discarded {
                discarded: discarded.map_err(usage)?,
            };
            chosen.output.print(&discarded, |it| {
                format!("Discarded {}.", count(it.discarded, "held delete"))
            });
        }
    }
    Ok(())
}

fn which(chosen: &Chosen) -> Result<Which, Usage> {
    let Some(texts) = chosen.read()? else {
        return Ok(Which::All);
    };
    let ids = ids(&texts)?;
    Ok(Which::These(ids.into_iter().map(|id| id.0).collect()))
}

fn usage(error: NotDecided) -> anyhow::Error {
    match error {
        NotDecided::Store(error) => error.into(),
        error => Usage(format!("{error}; nothing was changed")).into(),
    }
}

fn show(held: &[HeldDelete]) -> String {
    let rows = held.iter().map(|held| {
        vec![
            held.cv_id.to_string(),
            instant(held.as_of),
            instant(held.held_at),
            match held.next_attempt_at {
                Some(at) => format!("no proof; next attempt {}", instant(at)),
                None if held.filtered => "more than usual do not match CVSYNC_KEEP".to_owned(),
                None => "more than usual".to_owned(),
            },
        ]
    });
    table(&["id", "as of", "held since", "why"], rows)
}
