//! `cvsync parked`

use serde::Serialize;
use sqlx::PgConnection;

use super::chosen::Chosen;
use super::output::{Output, note};
use super::tool::database;
use super::{LONGEST_LIST, Usage, table};
use crate::config::Env;
use crate::model::window::instant;
use crate::model::words::count;
use crate::store::parked_cv::{self, ParkedCv};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List the parked CVs, the reason and the time of the next attempt
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Retry these CVs in the next sync
    Retry(Chosen),
    /// Stop retrying these CVs; a change that VDAB lists later brings them back
    Drop(Chosen),
}

#[derive(Serialize)]
struct Retried {
    retried: u64,
}

#[derive(Serialize)]
struct Dropped {
    dropped: u64,
}

pub(super) async fn run(command: Command, env: &Env) -> anyhow::Result<()> {
    let store = database(env)?;
    match command {
        Command::List { output } => {
            let list = async |tx: &mut PgConnection| parked_cv::list(tx, LONGEST_LIST).await;
            let parked = store.read("listing parked CVs", list).await?;
            output.print(&parked, |parked| text(parked));
        }
        Command::Retry(chosen) => {
            let ids = if chosen.is_empty() {
                note(
                    "without an ID, `cvsync parked retry` retries all parked CVs; write --all, which a later release requires",
                );
                None
            } else {
                chosen.read()?
            };
            // The store takes an empty list for all.
            let ids = ids.unwrap_or_default();
            let retry = async |tx: &mut PgConnection| -> anyhow::Result<u64> {
                Ok(all(&ids, parked_cv::retry(tx, &ids).await?)?)
            };
            let retried = store.write_or_undo("retrying parked CVs", retry).await?;
            chosen.output.print(&Retried { retried }, |it| {
                format!("The next sync retries {}.", count(it.retried, "parked CV"))
            });
        }
        Command::Drop(chosen) => {
            let ids = chosen.read()?;
            let drop = async |tx: &mut PgConnection| -> anyhow::Result<u64> {
                Ok(match &ids {
                    Some(ids) => all(ids, parked_cv::forget(tx, ids).await?)?,
                    None => parked_cv::forget_all(tx).await?,
                })
            };
            let dropped = store.write_or_undo("dropping parked CVs", drop).await?;
            chosen.output.print(&Dropped { dropped }, |it| {
                format!("Dropped {}.", count(it.dropped, "parked CV"))
            });
        }
    }
    Ok(())
}

/// Refuses an id that is not parked, which may be a typing error.
fn all(ids: &[String], found: u64) -> Result<u64, Usage> {
    if ids.is_empty() || found == ids.len() as u64 {
        Ok(found)
    } else {
        Err(Usage(format!(
            "only {found} of these {} CVs are parked; see `cvsync parked list` (nothing was changed)",
            ids.len()
        )))
    }
}

fn text(parked: &[ParkedCv]) -> String {
    let rows = parked.iter().map(|parked| {
        vec![
            parked.cv_id.clone(),
            parked.error_class.clone(),
            parked.attempts.to_string(),
            instant(parked.first_failed_at),
            instant(parked.next_attempt_at),
        ]
    });
    table(
        &["id", "error class", "attempts", "since", "next attempt"],
        rows,
    )
}
