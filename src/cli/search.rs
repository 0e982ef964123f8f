//! `cvsync search`

use std::collections::HashSet;
use std::io::{self, Write};

use futures_util::stream::{self, StreamExt};
use serde_json::{Map, Value};

use super::output::{self, complain, in_full, note};
use super::source::Source;
use super::{Failed, Interrupted, STOP, Usage, table};
use crate::config::Env;
use crate::model::words::{count, number};
use crate::model::{CvId, one_line};
use crate::shutdown::cancel_on_signal_within;
use crate::vdab::search::{LARGEST_PAGE, MOST_VELDEN};
use crate::vdab::{ApiError, Client, Detail, Remedy, Search, persevere};

/// Concurrent detail calls.
const AT_ONCE: usize = 8;

/// The widest cell of a table.
const WIDEST: usize = 60;

/// Search at VDAB, as in `cvsync search studies=MAE5AHH gewensteRegios=BE231A`
///
/// Filters are sent to VDAB unchanged, and VDAB judges them. Repeat a KEY to give it several values. While a daemon runs, the calls
/// are part of its quota and take priority. Prints personal data, only to stdout.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Filters, with VDAB's names
    #[arg(value_name = "KEY=VALUE")]
    filters: Vec<String>,
    /// Fields to list with each id, at most five; with --detail, the columns of the table
    #[arg(long, value_name = "VELD,…", value_delimiter = ',')]
    velden: Vec<String>,
    /// Maximum number of results
    #[arg(long, value_name = "N", default_value = "20", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// Fetch the whole document of each CV
    #[arg(long)]
    detail: bool,
    /// Print the results as one JSON array
    #[arg(long, conflicts_with = "ndjson")]
    json: bool,
    /// Print each result as one line of JSON, as soon as it arrives
    #[arg(long)]
    ndjson: bool,
}

/// A result: the listed fields, or the document.
type Found = Map<String, Value>;

pub(super) async fn run(args: Args, env: &Env) -> anyhow::Result<()> {
    let search = search(&args)?;
    let token = cancel_on_signal_within(STOP)?;
    let mut printer = Printer::new(&args);
    let mut left_out = LeftOut::default();
    let found = async {
        let source = Source::prepare(env).await?;
        find(&args, &source.vdab, &search, &mut printer, &mut left_out).await
    };
    let found = token.run_until_cancelled(Box::pin(found)).await;
    // The results so far are shown as a complete table or array.
    let found = found.unwrap_or_else(|| Err(Interrupted.into()));
    let shown = printer.finish(found.is_ok());
    let total = found.map_err(in_full)?;
    left_out.tell(total, shown)
}

/// Prints the results page by page; returns the total that VDAB reports.
async fn find(
    args: &Args,
    vdab: &Client,
    search: &Search,
    printer: &mut Printer,
    left_out: &mut LeftOut,
) -> anyhow::Result<Option<u64>> {
    let limit = args.limit as usize;
    let (mut seen, mut offset, mut total) = (HashSet::new(), 0, None);
    // The same for all pages: if VDAB counts pages, another size would shift them.
    let size = u16::try_from(limit).map_or(LARGEST_PAGE, |n| n.min(LARGEST_PAGE));
    while seen.len() < limit {
        let page = persevere(|| vdab.search(search, offset, size)).await?.value;
        let (listed, before) = (page.items.len(), seen.len());
        offset += listed as u64;
        total = page.total.or(total);
        // Pages shift while they are read, so a result can come twice.
        let mut items = page.items;
        items.retain(|item| {
            left_out.without_id += u64::from(item.is_empty());
            !item.is_empty()
        });
        items.retain(|item| seen.len() < limit && seen.insert(key(item)));
        if args.detail {
            details(vdab, &items, printer, left_out).await?;
        } else {
            for item in &items {
                printer.print(item);
            }
        }
        let at_end = total.map_or(listed < size.into(), |total| offset >= total);
        if at_end || seen.len() == before || printer.reader_left {
            break;
        }
    }
    Ok(total)
}

/// The search that the arguments describe.
fn search(args: &Args) -> Result<Search, Usage> {
    let filters = args.filters.iter().map(|text| filter(text));
    let velden: Vec<_> = args.velden.iter().map(|veld| veld.trim()).collect();
    if velden.len() > MOST_VELDEN {
        return Err(Usage(format!(
            "--velden must have at most {MOST_VELDEN} fields, got {}; --detail fetches whole documents",
            velden.len()
        )));
    }
    if velden.contains(&"") {
        return Err(Usage("--velden must not contain an empty name".to_owned()));
    }
    Ok(Search {
        filters: filters.collect::<Result<_, _>>()?,
        // A whole document has all fields.
        velden: velden
            .into_iter()
            .filter(|_| !args.detail)
            .map(str::to_owned)
            .collect(),
    })
}

fn filter(text: &str) -> Result<(String, String), Usage> {
    let (key, value) = text
        .split_once('=')
        .filter(|(key, _)| !key.trim().is_empty())
        .ok_or_else(|| Usage(format!("a filter must be KEY=VALUE, got {text:?}")))?;
    let instead = match key.trim().to_ascii_lowercase().as_str() {
        "velden" => "--velden",
        "aantal" => "--limit",
        "vanaf" => "--limit (cvsync reads all pages up to it)",
        _ => return Ok((key.to_owned(), value.to_owned())),
    };
    Err(Usage(format!(
        "{:?} is not a filter; use {instead}",
        key.trim()
    )))
}

/// The identity of a result: its id, or the whole result without an id.
fn key(item: &Found) -> String {
    let id = item.get("cvId").and_then(Value::as_str);
    id.map_or_else(|| json(item), str::to_owned)
}

fn json(item: &Found) -> String {
    output::json(item)
}

/// Fetches and prints the documents, in the order of the list.
async fn details(
    vdab: &Client,
    items: &[Found],
    printer: &mut Printer,
    left_out: &mut LeftOut,
) -> Result<(), ApiError> {
    let mut answers = stream::iter(items)
        .map(|item| async move {
            let id = item.get("cvId").and_then(Value::as_str);
            let id = id.and_then(CvId::parse)?;
            Some(persevere(|| vdab.detail(id)).await)
        })
        .buffered(AT_ONCE);
    while let Some(answer) = answers.next().await {
        match answer {
            None => left_out.without_id += 1,
            Some(Ok(answer)) => match answer.value {
                Detail::Live(document) => {
                    printer.print(&serde_json::from_str(document.json()).unwrap_or_default());
                }
                Detail::Gone => left_out.gone += 1,
            },
            Some(Err(error)) => match error.remedy() {
                Remedy::Park(_) | Remedy::Retry(_) => {
                    left_out.failed += 1;
                    left_out.why = Some(error);
                }
                Remedy::Stop | Remedy::WaitForGate => return Err(error),
            },
        }
        if printer.reader_left {
            break;
        }
    }
    Ok(())
}

/// Counts of CVs that were found but not shown, by reason. Ids must not go to stderr.
#[derive(Debug, Default)]
struct LeftOut {
    gone: u64,
    without_id: u64,
    failed: u64,
    why: Option<ApiError>,
}

impl LeftOut {
    fn tell(&self, total: Option<u64>, printed: u64) -> anyhow::Result<()> {
        if self.gone > 0 {
            note(&format!(
                "{} not shown: removed at VDAB in the meantime",
                count(self.gone, "CV")
            ));
        }
        if self.without_id > 0 {
            note(&format!(
                "{} not shown: without an id",
                count(self.without_id, "result")
            ));
        }
        if let Some(total) = total {
            note(&format!(
                "VDAB found {}, {} shown",
                count(total, "CV"),
                number(printed)
            ));
        }
        match &self.why {
            None => Ok(()),
            Some(why) => {
                complain(&format!(
                    "{} could not be fetched: {why}",
                    count(self.failed, "CV")
                ));
                Err(Failed.into())
            }
        }
    }
}

/// Prints results to stdout as they arrive; a table once it is complete.
struct Printer {
    form: Form,
    printed: u64,
    /// The reader of stdout is gone, so no more results are needed.
    reader_left: bool,
}

enum Form {
    Table {
        columns: Vec<String>,
        rows: Vec<Vec<String>>,
    },
    Array,
    Lines,
}

impl Printer {
    fn new(args: &Args) -> Self {
        let form = if args.json {
            Form::Array
        } else if args.ndjson {
            Form::Lines
        } else {
            let of_detail = ["status", "wijzigingsDatum"].map(str::to_owned);
            let columns = match (args.velden.is_empty(), args.detail) {
                (true, true) => of_detail.to_vec(),
                _ => args
                    .velden
                    .iter()
                    .map(|veld| veld.trim().to_owned())
                    .collect(),
            };
            Form::Table {
                columns: std::iter::once("cvId".to_owned()).chain(columns).collect(),
                rows: Vec::new(),
            }
        };
        Self {
            form,
            printed: 0,
            reader_left: false,
        }
    }

    fn print(&mut self, item: &Found) {
        match &mut self.form {
            Form::Table { columns, rows } => {
                rows.push(columns.iter().map(|column| cell(item, column)).collect());
            }
            Form::Array => {
                let before = if self.printed == 0 { "[" } else { "," };
                self.write(&format!("{before}{}\n", json(item)));
            }
            Form::Lines => self.write(&(json(item) + "\n")),
        }
        self.printed += 1;
    }

    /// Completes the table or array, and returns its number of results. After an error before the first result, stdout stays empty.
    fn finish(mut self, whole: bool) -> u64 {
        if self.printed == 0 && !whole {
            return 0;
        }
        match &mut self.form {
            Form::Table { columns, rows } => {
                let heads: Vec<_> = columns.iter().map(String::as_str).collect();
                let text = table(&heads, std::mem::take(rows).into_iter());
                self.write(&(text + "\n"));
            }
            Form::Array => self.write(if self.printed == 0 { "[]\n" } else { "]\n" }),
            Form::Lines => {}
        }
        self.printed
    }

    fn write(&mut self, text: &str) {
        let mut stdout = io::stdout();
        let written = stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush());
        self.reader_left |= written.is_err();
    }
}

/// A field as text; dots lead to nested fields.
fn cell(item: &Found, column: &str) -> String {
    let deeper = || {
        let mut names = column.split('.');
        let first = item.get(names.next()?)?;
        names.try_fold(first, |value, name| value.get(name))
    };
    match item.get(column).or_else(deeper) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => one_line(text, WIDEST),
        Some(value) => one_line(&value.to_string(), WIDEST),
    }
}
