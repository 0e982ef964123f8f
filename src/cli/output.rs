//! Results on stdout: text for people, JSON for programs. A reader that closes stdout is not an error.

use std::fmt::Display;
use std::io::{self, Write};

use clap::Args;
use serde::Serialize;

use crate::telemetry::STDERR;

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
            // Cannot fail: our results have string keys and no errors of their own.
            say(&serde_json::to_string(result).unwrap_or_default());
        } else {
            say(&text(result).to_string());
        }
    }
}

/// Writes a line to stdout.
pub(super) fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Writes a note to stderr.
pub(super) fn note(line: &str) {
    STDERR.write(format!("note: {line}\n").as_bytes());
}

/// Writes an error to stderr.
pub(super) fn complain(line: &str) {
    STDERR.write(format!("error: {line}\n").as_bytes());
}

/// A table with a header; numbers are aligned to the right. Without rows it is `none`.
pub(super) fn table(heads: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let heads = heads.iter().map(ToString::to_string).collect();
    let rows: Vec<Vec<String>> = std::iter::once(heads).chain(rows).collect();
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
