//! `cvsync parked`

use sqlx::PgConnection;

use super::output::{Output, say};
use super::tool::database;
use super::{LONGEST_LIST, Usage, table};
use crate::config::Env;
use crate::model::window::instant;
use crate::store::parked_cv::{self, ParkedCv};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// The CVs that could not be applied, and why
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Let the next sync try these again, or all
    Retry {
        /// Ids as `list` shows them; all where there are none
        ids: Vec<String>,
    },
    /// Hear no more of these: a change that VDAB lists later brings them back
    Drop {
        /// Ids as `list` shows them
        #[arg(required = true)]
        ids: Vec<String>,
    },
}

pub(super) async fn run(command: Command, env: &Env) -> anyhow::Result<()> {
    let store = database(env)?;
    match command {
        Command::List { output } => {
            let list = async |tx: &mut PgConnection| parked_cv::list(tx, LONGEST_LIST).await;
            let parked = store.read("listing parked CVs", list).await?;
            output.print(&parked, |parked| text(parked));
        }
        Command::Retry { ids } => {
            let retry = async |tx: &mut PgConnection| -> anyhow::Result<u64> {
                Ok(all(&ids, parked_cv::retry(tx, &ids).await?)?)
            };
            let found = store.write_or_undo("retrying parked CVs", retry).await?;
            say(&format!("{found} are tried again by the next sync"));
        }
        Command::Drop { ids } => {
            let drop = async |tx: &mut PgConnection| -> anyhow::Result<u64> {
                Ok(all(&ids, parked_cv::forget(tx, &ids).await?)?)
            };
            let found = store.write_or_undo("dropping parked CVs", drop).await?;
            say(&format!("{found} dropped"));
        }
    }
    Ok(())
}

/// Nothing is done where an id is not among them: it may be a typing error.
fn all(ids: &[String], found: u64) -> Result<u64, Usage> {
    if ids.is_empty() || found == ids.len() as u64 {
        Ok(found)
    } else {
        Err(Usage(format!(
            "only {found} of these {} are there; nothing was done",
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
