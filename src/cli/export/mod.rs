//! `cvsync export`

#[cfg(feature = "parquet")]
mod parquet;
mod target;

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use clap::ValueEnum;
use clap::builder::PossibleValuesParser;
use futures_util::StreamExt;
use sqlx::PgConnection;

use self::target::Target;
use super::Usage;
use super::tool::database;
use crate::config::Env;
use crate::store::StoreError;
use crate::store::export::{self, Column, Rows, VIEWS};
use crate::store::leader_setting::{self, LeaderSetting};

/// Export a view to a file or to stdout
///
/// Rows are in no particular order. Only the columns that the database user may read are exported. Texts are the candidates' own: a
/// spreadsheet may run a text that begins with `=`, `+`, `-` or `@` as a formula. Add --for-spreadsheets before you open a CSV file in one.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// View to export
    #[arg(value_parser = PossibleValuesParser::new(VIEWS))]
    view: String,
    /// Format of the export
    #[arg(long)]
    format: Format,
    /// With --format csv: put an apostrophe before each character that could begin a formula
    #[arg(long)]
    for_spreadsheets: bool,
    /// Path of the file; it appears once it is complete, readable only by its owner
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One JSON object per line
    Ndjson,
    /// With a header line; null is an empty field
    Csv,
    /// Apache Parquet with typed columns, lists and JSON
    Parquet,
}

pub(super) async fn run(args: Args, env: &Env) -> anyhow::Result<()> {
    if args.format == Format::Parquet && !cfg!(feature = "parquet") {
        let error = "--format parquet is not in this build of cvsync; build it with `--features parquet`, or use the container image";
        return Err(Usage(error.to_owned()).into());
    }
    if args.for_spreadsheets && args.format != Format::Csv {
        let error = "--for-spreadsheets needs --format csv";
        return Err(Usage(error.to_owned()).into());
    }
    let store = database(env)?;
    // A setting of this command has no effect on the rows. A reader may not be allowed to see the daemon's.
    let leader = store.read("reading the leader's settings", leader_setting::all);
    if let Ok(leader) = leader.await {
        env.contradicts(leader.iter().map(LeaderSetting::recorded))?;
    }
    // No time limit: a view may have millions of rows.
    let store = store.within(Duration::MAX);
    let mut copied = Ok(None);
    let read = store.read("exporting", async |tx| {
        copied = copy(tx, &args).await;
        // After a copy that ended early, the connection cannot commit.
        match copied {
            Ok(Some(_)) => Ok(()),
            _ => Err(StoreError::Stopped),
        }
    });
    let read = read.await;
    match (copied?, read) {
        // Afterwards: a slow disk must not keep the transaction idle.
        (Some(sink), Ok(())) => sink.finish().or_else(went_away_or),
        (None, Err(StoreError::Stopped)) => Ok(()),
        (_, read) => Ok(read?),
    }
}

/// `None` if the reader of the output is gone.
async fn copy(tx: &mut PgConnection, args: &Args) -> anyhow::Result<Option<Sink>> {
    let columns = export::columns(tx, &args.view).await?;
    if columns.is_empty() {
        bail!(
            "cvsync.{} does not exist or this database user may not read it; run `cvsync migrate` if the schema is older, otherwise grant access (\"Who sees what\" in docs/data.md)",
            args.view
        );
    }
    let rows = match args.format {
        Format::Csv if args.for_spreadsheets => Rows::SpreadsheetCsv,
        Format::Csv => Rows::Csv,
        Format::Ndjson | Format::Parquet => Rows::Json,
    };
    let target = Target::open(args.output.as_deref())?;
    let mut sink = match Sink::new(args.format, target, &columns) {
        Err(error) => return went_away_or(error.into()).map(|()| None),
        Ok(sink) => sink,
    };
    let mut pieces = export::read(tx, &args.view, &columns, rows).await?;
    while let Some(piece) = pieces.next().await {
        if let Err(error) = sink.write(&piece?) {
            return went_away_or(error.into()).map(|()| None);
        }
    }
    drop(pieces);
    Ok(Some(sink))
}

/// A reader that went away, such as `head`, is not an error.
fn went_away_or(error: anyhow::Error) -> anyhow::Result<()> {
    match error.downcast_ref::<io::Error>() {
        Some(cause) if cause.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(error.context("cannot write the export")),
    }
}

/// Writes the rows to the target in its format.
enum Sink {
    /// PostgreSQL produces the format itself.
    AsItIs(Target),
    #[cfg(feature = "parquet")]
    Parquet(Box<parquet::Table<Target>>),
}

impl Sink {
    fn new(format: Format, target: Target, columns: &[Column]) -> io::Result<Self> {
        match format {
            #[cfg(feature = "parquet")]
            Format::Parquet => Ok(Self::Parquet(Box::new(parquet::Table::new(
                target, columns,
            )?))),
            _ => {
                let _ = columns;
                Ok(Self::AsItIs(target))
            }
        }
    }

    fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        match self {
            Self::AsItIs(target) => target.write_all(piece),
            #[cfg(feature = "parquet")]
            Self::Parquet(table) => table.lines(piece),
        }
    }

    fn finish(self) -> anyhow::Result<()> {
        match self {
            Self::AsItIs(target) => target.finish(),
            #[cfg(feature = "parquet")]
            Self::Parquet(table) => table.finish()?.finish(),
        }
    }
}
