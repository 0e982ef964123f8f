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
