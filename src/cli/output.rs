//! Results on stdout: text for people, JSON for programs. A reader that closes stdout is not an error.

use std::fmt::{Display, Write as _};
use std::io::{self, IsTerminal, Write};

use clap::Args;
use serde::Serialize;

use crate::model::{is_hidden, one_line, visible};
use crate::telemetry::STDERR;
use crate::vdab::ApiError;

/// The form in which results are printed.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Output {
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

impl Output {
    /// Prints `result` as JSON, or as the text that `text` makes of it.
    pub(super) fn print<R: Serialize, T: Display>(self, result: &R, text: impl FnOnce(&R) -> T) {
        if self.json {
            say(&json(result));
        } else {
            say(&visible(&text(result).to_string()));
        }
    }
}

/// JSON in which each hidden character is an escape sequence.
pub(super) fn json(result: &impl Serialize) -> String {
    // Cannot fail: our results have string keys and no errors of their own.
    let json = serde_json::to_string(result).unwrap_or_default();
    let mut shown = String::with_capacity(json.len());
    for c in json.chars() {
        if is_hidden(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(shown, "\\u{unit:04x}");
            }
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Whether results go to the terminal of a person.
pub(super) fn is_seen_by_a_person() -> bool {
    io::stdout().is_terminal()
}

/// The error with VDAB's words in full, if a person sees them.
pub(super) fn in_full(error: anyhow::Error) -> anyhow::Error {
    let words = error.downcast_ref().and_then(ApiError::in_full);
    match words.filter(|_| io::stderr().is_terminal()) {
        Some(words) => anyhow::anyhow!("{error:#}; VDAB's words: {words}"),
        None => error,
    }
}

/// Writes a line to stdout.
pub(super) fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Writes a note to stderr.
pub(super) fn note(line: &str) {
    STDERR.write(format!("note: {}\n", visible(line)).as_bytes());
}

/// Writes an error to stderr.
pub(super) fn complain(line: &str) {
    STDERR.write(format!("error: {}\n", visible(line)).as_bytes());
}

/// The widest cell of a table, in characters: a database may hold a name of any length.
const WIDEST: usize = 200;

/// A table with a header; numbers are aligned to the right. Without rows it is `none`.
pub(super) fn table(heads: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let heads = heads.iter().map(ToString::to_string).collect();
    let cells = |row: Vec<String>| -> Vec<String> {
        row.iter().map(|cell| one_line(cell, WIDEST)).collect()
    };
    let rows: Vec<Vec<String>> = std::iter::once(heads).chain(rows.map(cells)).collect();
    if rows.len() == 1 {
        return "none".to_owned();
    }
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let is_count = |column: usize| {
        let mut cells = rows[1..].iter().map(|row| row[column].chars());
        cells.all(|mut cell| cell.all(|c| c.is_ascii_digit() || c == ','))
    };
    let counts: Vec<bool> = (0..rows[0].len()).map(is_count).collect();
    let lines = rows.iter().map(|row| {
        let cells = row.iter().zip(&widths).zip(&counts);
        let cells: Vec<String> = cells
            .map(|((cell, width), is_count)| {
                if *is_count {
                    format!("{cell:>width$}")
                } else {
                    format!("{cell:<width$}")
                }
            })
            .collect();
        cells.join("  ").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_keeps_hidden_characters_as_escape_sequences() {
        let text = "a\u{202e}b\u{e0041}\n\u{9b}é";
        let shown = json(&text);
        assert_eq!(shown, r#""a\u202eb\udb40\udc41\n\u009bé""#);
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
    }

    #[test]
    fn a_cell_is_one_line() {
        let rows = vec![vec!["a\nb\u{1b}[2J".to_owned(), "é".repeat(500)]];
        let shown = table(&["name", "text"], rows.into_iter());
        assert_eq!(shown.lines().count(), 2);
        assert!(shown.contains("a b[2J") && shown.chars().count() < 430);
    }
}
