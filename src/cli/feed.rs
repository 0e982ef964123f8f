//! `cvsync feed`

use sqlx::PgConnection;

use super::output::{Output, say};
use super::tool::database;
use super::{LONGEST_LIST, Usage, table};
use crate::config::Env;
use crate::model::window::instant;
use crate::store::cv_search;
use crate::store::feed_consumer::{self, Consumer};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// The registered consumers, and how far behind each is
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Drop a consumer: changes that it has not read are kept for it no longer
    ///
    /// `webhook`, where one is configured, comes back at the end of the feed: what it has not got by then it never gets. `search` is
    /// cvsync's own and stays.
    Forget {
        /// As `list` shows it
        name: String,
    },
}

pub(super) async fn run(command: Command, env: &Env) -> anyhow::Result<()> {
    let store = database(env)?;
    match command {
        Command::List { output } => {
            let list = async |tx: &mut PgConnection| feed_consumer::slowest(tx, LONGEST_LIST).await;
            let consumers = store.read("listing consumers", list).await?;
            output.print(&consumers, |consumers| show(consumers));
        }
        Command::Forget { name } if name == cv_search::CONSUMER => {
            let why = "`search` is cvsync's own: what CVs are found by would be incomplete";
            return Err(Usage(why.to_owned()).into());
        }
        Command::Forget { name } => {
            let forget = async |tx: &mut PgConnection| feed_consumer::forget(tx, &name).await;
            if !store.write("forgetting a consumer", forget).await? {
                let name = name.escape_debug();
                return Err(Usage(format!("no consumer is called `{name}`")).into());
            }
            say("forgotten");
        }
    }
    Ok(())
}

fn show(consumers: &[Consumer]) -> String {
    let rows = consumers.iter().map(|one| {
        vec![
            one.name.clone(),
            one.seq.to_string(),
            one.behind.to_string(),
            instant(one.updated_at),
        ]
    });
    table(&["consumer", "at", "behind", "moved"], rows)
}
