//! `cvsync export`

#[cfg(feature = "parquet")]
mod parquet;
mod target;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
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
use crate::store::export::{self, Column, DOCUMENTS, Rows, VIEWS};
use crate::store::leader_setting::{self, LeaderSetting};

/// Export a view to a file or to stdout
///
/// Rows are in no particular order. Only the columns that the database user may read are exported. Texts are the candidates' own: a
/// spreadsheet may run a text that begins with `=`, `+`, `-` or `@` as a formula. Add --for-spreadsheets before you open a CSV file in one.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// View to export, or cv for the whole documents
    #[arg(value_parser = PossibleValuesParser::new([&DOCUMENTS].into_iter().chain(VIEWS)))]
    view: String,
    /// Format of the export; if unset, the ending of the file's name decides: .ndjson, .jsonl, .csv or .parquet
    #[arg(long)]
    format: Option<Format>,
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

impl Args {
    /// The format that is given or that the file's name shows, if it can be written to the target.
    fn format(&self) -> Result<Format, Usage> {
        let named = self.output.as_deref().and_then(Format::of);
        let format = self.format.or(named).ok_or_else(|| {
            let text = match &self.output {
                None => "--format must be given for an export to stdout: ndjson, csv or parquet".to_owned(),
                Some(path) => format!(
                    "--format must be given, because the name {} ends with none of .ndjson, .jsonl, .csv and .parquet",
                    path.display()
                ),
            };
            Usage(text)
        })?;
        let error = if format != Format::Parquet {
            return Ok(format);
        } else if !cfg!(feature = "parquet") {
            "--format parquet is not in this build of cvsync; build it with `--features parquet`, or use the container image"
        } else if self.output.is_none() && io::stdout().is_terminal() {
            "--format parquet cannot be shown on a terminal; add --output FILE, or redirect stdout"
        } else {
            return Ok(format);
        };
        Err(Usage(error.to_owned()))
    }
}

impl Format {
    /// The format that the name of a file shows.
    fn of(path: &Path) -> Option<Self> {
        let ending = path.extension()?.to_str()?.to_ascii_lowercase();
        match &*ending {
            "ndjson" | "jsonl" => Some(Self::Ndjson),
            "csv" => Some(Self::Csv),
            "parquet" => Some(Self::Parquet),
            _ => None,
        }
    }
}

pub(super) async fn run(args: Args, env: &Env) -> anyhow::Result<()> {
    let format = args.format()?;
    if args.for_spreadsheets && format != Format::Csv {
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
        copied = copy(tx, &args, format).await;
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
async fn copy(tx: &mut PgConnection, args: &Args, format: Format) -> anyhow::Result<Option<Sink>> {
    let columns = export::columns(tx, &args.view).await?;
    if columns.is_empty() {
        bail!(
            "cvsync.{} does not exist or this database user may not read it; run `cvsync migrate` if the schema is older, otherwise grant access (\"Who sees what\" in docs/data.md)",
            args.view
        );
    }
    let rows = match format {
        Format::Csv if args.for_spreadsheets => Rows::SpreadsheetCsv,
        Format::Csv => Rows::Csv,
        Format::Ndjson | Format::Parquet => Rows::Json,
    };
    let target = Target::open(args.output.as_deref())?;
    let mut sink = match Sink::new(format, target, &columns) {
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
