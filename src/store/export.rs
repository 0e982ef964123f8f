//! The views, read whole, a piece at a time: memory does not depend on how much there is.

use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt};
use sqlx::PgConnection;

use super::StoreError;
use super::sql::query_as;

/// The table of whole documents, which can be read like a view.
pub const DOCUMENTS: &str = "cv";

/// The views that can be read whole.
pub const VIEWS: &[&str] = &[
    "kandidaat",
    "persoon",
    "ervaring",
    "opleiding",
    "attestering",
    "competentie",
    "gewenste_job",
    "gewenste_functie",
    "gewenste_regio",
    "referentie",
];

/// How the rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// RFC 4180 under a line of column names; null is an empty field, an empty text is `""`.
    Csv,
    /// The same, with an apostrophe before each character that could begin a formula in a spreadsheet.
    SpreadsheetCsv,
    /// A JSON object a line.
    Json,
}

/// A column of a view.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Column {
    pub name: String,
    /// As PostgreSQL names it: `uuid`, `text`, `text[]`, `integer`, `date`, ….
    pub kind: String,
}

/// Reading takes as long as the reader does. Dates and times have one form, whatever is set for the database.
const UNHURRIED: &str = "set local statement_timeout = 0;
    set local timezone = 'UTC';
    set local datestyle = 'ISO, YMD'";

/// The columns of a view that this role may read; none if it may not, or if there is no such view.
pub async fn columns(tx: &mut PgConnection, view: &str) -> Result<Vec<Column>, StoreError> {
    Ok(query_as(
        "select attname::text as name, format_type(atttypid, atttypmod) as kind
           from pg_attribute
          where attrelid = to_regclass('cvsync.' || quote_ident($1))
            and attnum > 0
            and has_column_privilege(attrelid, attnum, 'select')
          order by attnum",
    )
    .bind(view)
    .fetch_all(tx)
    .await?)
}

/// A column in which an apostrophe stands before each character that could begin a formula: at the start of the text, and after a
/// character at which a spreadsheet may split it into cells.
fn harmless(Column { name, kind }: &Column) -> String {
    let is_text = matches!(kind.as_str(), "text" | "text[]" | "jsonb" | "tsvector");
    if is_text {
        format!(
            r#"regexp_replace({name}::text, '(^|[;,|\t\r\n])([\s"]*)([=+@＝＋－＠-])', '\1\2''\3', 'g') as {name}"#
        )
    } else {
        name.clone()
    }
}

/// All rows of one of [`VIEWS`] or of [`DOCUMENTS`], in no order. They are as of one moment, for which PostgreSQL keeps what is deleted meanwhile.
///
/// `columns` come from [`columns()`], and names within them need no quotes.
pub async fn read<'c>(
    tx: &'c mut PgConnection,
    view: &str,
    columns: &[Column],
    rows: Rows,
) -> Result<BoxStream<'c, Result<Bytes, StoreError>>, StoreError> {
    sqlx::raw_sql(UNHURRIED).execute(&mut *tx).await?;
    let names = columns.iter().map(|column| match rows {
        Rows::SpreadsheetCsv => harmless(column),
        Rows::Csv | Rows::Json => column.name.clone(),
    });
    let names = names.collect::<Vec<_>>().join(", ");
    let statement = match rows {
        Rows::Csv | Rows::SpreadsheetCsv => {
            format!("copy (select {names} from cvsync.{view}) to stdout with (format csv, header)")
        }
        // No JSON holds these two characters, so nothing is quoted.
        Rows::Json => format!(
            r"copy (select row_to_json(line) from (select {names} from cvsync.{view}) as line)
              to stdout with (format csv, quote E'\x01', delimiter E'\x02')"
        ),
    };
    let pieces = tx.copy_out_raw(&statement).await?;
    Ok(pieces.map(|piece| piece.map_err(StoreError::from)).boxed())
}
