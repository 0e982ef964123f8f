//! `cvsync feed`

use serde::Serialize;
use sqlx::PgConnection;

use super::output::Output;
use super::tool::database;
use super::{LONGEST_LIST, Usage, table};
use crate::config::Env;
use crate::model::window::instant;
use crate::model::words::number;
use crate::store::cv_search;
use crate::store::feed_consumer::{self, Consumer};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List the registered consumers of the change feed, and how far behind each is
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Remove a consumer: cvsync no longer keeps the changes that it has not read
    ///
    /// A configured `webhook` comes back at the end of the feed and does not get the changes before that. `search` is cvsync's own
    /// consumer and cannot be removed.
    Forget {
        /// Name of the consumer, as `list` shows it
        name: String,
        #[command(flatten)]
        output: Output,
    },
}

/// The name of the removed consumer.
#[derive(Serialize)]
struct Forgotten<'a> {
    forgotten: &'a str,
}

pub(super) async fn run(command: Command, env: &Env) -> anyhow::Result<()> {
    let store = database(env)?;
    match command {
        Command::List { output } => {
            let list = async |tx: &mut PgConnection| feed_consumer::slowest(tx, LONGEST_LIST).await;
            let consumers = store.read("listing consumers", list).await?;
            output.print(&consumers, |consumers| show(consumers));
        }
        Command::Forget { name, .. } if name == cv_search::CONSUMER => {
            let why = "NAME must not be \"search\": without this consumer, searches miss changed CVs (nothing was changed)";
            return Err(Usage(why.to_owned()).into());
        }
        Command::Forget { name, output } => {
            let forget = async |tx: &mut PgConnection| feed_consumer::forget(tx, &name).await;
            if !store.write("forgetting a consumer", forget).await? {
                let text = format!(
                    "no consumer has the name {name:?}; see `cvsync feed list` (nothing was changed)"
                );
                return Err(Usage(text).into());
            }
            output.print(&Forgotten { forgotten: &name }, |it| {
                format!("Removed the consumer {:?}.", it.forgotten)
            });
        }
    }
    Ok(())
}

fn show(consumers: &[Consumer]) -> String {
    let rows = consumers.iter().map(|one| {
        vec![
            one.name.clone(),
            one.seq.to_string(),
            number(one.behind),
            instant(one.updated_at),
        ]
    });
    table(&["consumer", "seq", "behind", "updated"], rows)
}
