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

/// Write a view to a file or to stdout, whole
///
/// Rows come in no order. Only columns that the database user may read are written.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Which view
    #[arg(value_parser = PossibleValuesParser::new(VIEWS))]
    view: String,
    /// How it is written
    #[arg(long)]
    format: Format,
    /// Where to; a file appears under its name once it is whole, readable by its owner alone
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A JSON object a line
    Ndjson,
    /// With a line of column names; null is an empty field
    Csv,
    /// Apache Parquet, with the columns' types; lists and JSON as such
    Parquet,
}

pub(super) async fn run(args: Args, env: &Env) -> anyhow::Result<()> {
    if args.format == Format::Parquet && !cfg!(feature = "parquet") {
        let error = "this cvsync was built without Parquet: build it with `--features parquet`, or take the container image";
        return Err(Usage(error.to_owned()).into());
    }
    let store = database(env)?;
    // As long as it takes: a view may have millions of rows.
    let store = store.within(Duration::MAX);
    let mut copied = Ok(None);
    let read = store.read("exporting", async |tx| {
        copied = copy(tx, &args).await;
        // A copy that ended early leaves a connection that cannot even commit.
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

/// `None` where the reader went away.
async fn copy(tx: &mut PgConnection, args: &Args) -> anyhow::Result<Option<Sink>> {
    let columns = export::columns(tx, &args.view).await?;
    if columns.is_empty() {
        bail!(
            "there is no cvsync.{} that this database user may read: run `cvsync migrate` if the schema is older, else see \"Who sees what\" in docs/data.md",
            args.view
        );
    }
    let rows = if args.format == Format::Csv {
        Rows::Csv
    } else {
        Rows::Json
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
        _ => Err(error.context("the export cannot be written")),
    }
}

/// What comes from the database, as the target is to have it.
enum Sink {
    /// PostgreSQL has written it so.
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
