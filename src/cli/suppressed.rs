//! `cvsync suppressed`

use std::collections::BTreeSet;

use clap::ValueEnum;
use serde::Serialize;
use sqlx::PgConnection;

use super::output::Output;
use super::tool::database;
use super::{LONGEST_LIST, Usage, resync, table};
use crate::clock::Clock;
use crate::config::Env;
use crate::model::window::instant;
use crate::model::words::count;
use crate::model::{CvId, When};
use crate::store::suppressed_cv::{self, Refused, Suppression, Terms};

/// The most ids of one command.
const MOST: usize = 10_000;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Delete these CVs now and never store them again
    ///
    /// An id may be suppressed before VDAB lists it. A CV that is suppressed already gets the new reason and end.
    Add(Add),
    /// List the suppressed CVs, the reason, and the time at which each suppression ends
    List {
        #[command(flatten)]
        output: Output,
    },
    /// End the suppression of these CVs; the daemon, or the next sync, fetches them
    Remove {
        /// Ids of CVs (UUIDs)
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Add {
    /// Ids of CVs (UUIDs), at most 10,000
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    /// Why the CVs must not be stored
    #[arg(long)]
    reason: Reason,
    /// Time at which the suppression ends by itself, such as 30d, 2026-02-13 (00:00 in UTC) or 2026-02-13T12:00:00Z; later than the
    /// database's time
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    until: Option<When>,
    /// Store a keyed hash in place of each id
    #[arg(long)]
    hashed: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Reason {
    /// The candidate objects to the processing
    Objection,
    /// The candidate asked for erasure
    Erasure,
    /// Any other reason
    Other,
}

impl Reason {
    fn as_str(self) -> &'static str {
        match self {
            Self::Objection => "objection",
            Self::Erasure => "erasure",
            Self::Other => "other",
        }
    }
}

#[derive(Serialize)]
struct Removed {
    removed: usize,
}

pub(super) async fn run(command: Command, env: &Env) -> anyhow::Result<()> {
    match command {
        Command::Add(args) => add(args, env).await,
        Command::List { output } => {
            let list = async |tx: &mut PgConnection| suppressed_cv::list(tx, LONGEST_LIST).await;
            let store = database(env)?;
            let suppressed = store.read("listing suppressed CVs", list).await?;
            output.print(&suppressed, |suppressed| text(suppressed));
            Ok(())
        }
        Command::Remove { ids, output } => {
            let ids = distinct(&ids)?;
            let end = async |tx: &mut PgConnection| suppressed_cv::end(tx, &ids).await;
            let store = database(env)?;
            let removed = store.write_or_undo("ending suppressions", end).await;
            let removed = removed.map_err(usage)?;
            output.print(&Removed { removed }, |it| {
                format!(
                    "Ended the suppression of {}. The daemon, or the next sync, fetches them.",
                    count(it.removed, "CV")
                )
            });
            Ok(())
        }
    }
}

async fn add(args: Add, env: &Env) -> anyhow::Result<()> {
    let ids = distinct(&args.ids)?;
    let terms = Terms {
        reason: args.reason.as_str(),
        until: args.until.map(|until| until.after(Clock::default().now())),
        hashed: args.hashed,
    };
    let add = async |tx: &mut PgConnection| suppressed_cv::add(tx, &ids, terms).await;
    let store = database(env)?;
    let added = store.write_or_undo("suppressing CVs", add).await;
    args.output.print(&added.map_err(usage)?, |it| {
        format!(
            "Suppressed {}; {} of them deleted here.",
            count(it.suppressed, "CV"),
            count(it.deleted, "document")
        )
    });
    Ok(())
}

fn distinct(texts: &[String]) -> Result<BTreeSet<CvId>, Usage> {
    if texts.len() > MOST {
        return Err(Usage(format!(
            "at most 10,000 ids per command, got {}; split them (nothing was changed)",
            texts.len()
        )));
    }
    Ok(resync::ids(texts)?.into_iter().collect())
}

fn usage(error: Refused) -> anyhow::Error {
    match error {
        Refused::Store(error) => error.into(),
        Refused::NotSuppressed(_) => Usage(format!(
            "{error}; see `cvsync suppressed list` (nothing was changed)"
        ))
        .into(),
        Refused::Past(_) => Usage(format!("{error} (nothing was changed)")).into(),
    }
}

fn text(suppressed: &[Suppression]) -> String {
    let rows = suppressed.iter().map(|it| {
        let hash = it.hash.as_ref().map(|hash| format!("hash {hash}"));
        let id = it.cv_id.map(|id| id.to_string());
        vec![
            id.or(hash).unwrap_or_default(),
            it.reason.clone(),
            instant(it.since),
            it.until.map_or("removed".to_owned(), instant),
        ]
    });
    table(&["id", "reason", "since", "until"], rows)
}
