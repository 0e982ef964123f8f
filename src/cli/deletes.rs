//! `cvsync deletes`

use uuid::Uuid;

use super::output::{Output, say};
use super::resync::ids;
use super::tool::{HOLDS, Tool, database, text};
use super::{LONGEST_LIST, Usage, table};
use crate::config::Env;
use crate::model::CvId;
use crate::model::window::instant;
use crate::store::held_delete::{self, HeldDelete};
use crate::sync::Request;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// What the delete brake holds back
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Ask VDAB for these again, and delete those that are gone
    Approve(Which),
    /// Keep these: the next listing, or `reconcile`, decides anew
    Discard(Which),
}

#[derive(Debug, clap::Args)]
pub struct Which {
    /// Ids as `list` shows them, or --all
    #[arg(required_unless_present = "all")]
    ids: Vec<String>,
    /// All that are held back
    #[arg(long, conflicts_with = "ids")]
    all: bool,
}

pub async fn run(command: Command, env: &Env) -> anyhow::Result<()> {
    match command {
        Command::List { output } => {
            let store = database(env)?;
            let mut tx = store.begin().await?;
            let held = held_delete::list(&mut tx, LONGEST_LIST).await?;
            tx.commit().await?;
            output.print(&held, |held| show(held));
        }
        Command::Approve(which) => {
            let tool = Tool::prepare(env, false).await?;
            let mut tx = tool.pipeline.store.begin_write().await?;
            let held = chosen(&which, held_delete::ids(&mut tx, false).await?)?;
            let ids: Vec<_> = held.iter().map(|id| id.0).collect();
            held_delete::approve(&mut tx, &ids).await?;
            tx.commit().await?;
            let summary = tool.carry_out(Request::These(held)).await?;
            say(&text(&summary, HOLDS));
        }
        Command::Discard(which) => {
            let store = database(env)?;
            let mut tx = store.begin_write().await?;
            let held = chosen(&which, held_delete::ids(&mut tx, false).await?)?;
            let held: Vec<_> = held.into_iter().map(|id| id.0).collect();
            let discarded = held_delete::discard(&mut tx, &held).await?;
            tx.commit().await?;
            say(&format!("{discarded} deletes discarded"));
        }
    }
    Ok(())
}

/// `held` is in the order of ids.
fn chosen(which: &Which, held: Vec<Uuid>) -> Result<Vec<CvId>, Usage> {
    if which.all {
        return Ok(held.into_iter().map(CvId).collect());
    }
    let chosen = ids(&which.ids)?;
    match chosen.iter().find(|id| held.binary_search(&id.0).is_err()) {
        Some(id) => Err(Usage(format!("{id} is not held back; nothing was done"))),
        None => Ok(chosen),
    }
}

fn show(held: &[HeldDelete]) -> String {
    let rows = held.iter().map(|held| {
        vec![
            held.cv_id.to_string(),
            instant(held.as_of),
            instant(held.held_at),
            match held.next_attempt_at {
                Some(at) => format!("no proof; asked again {}", instant(at)),
                None => "more than usual".to_owned(),
            },
        ]
    });
    table(&["id", "gone at VDAB as of", "held since", "why"], rows)
}
