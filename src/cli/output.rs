//! Results on stdout: text for people, JSON for programs. A reader that went away is not an error.

use std::fmt::Display;
use std::io::{self, Write};

use clap::Args;
use serde::Serialize;

use crate::telemetry::STDERR;

/// How results are printed.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Output {
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

impl Output {
    /// Prints `result` as JSON, or as what `text` makes of it.
    pub(super) fn print<R: Serialize, T: Display>(self, result: &R, text: impl FnOnce(&R) -> T) {
        if self.json {
            // Cannot fail: our results have string keys and no errors of their own.
            say(&serde_json::to_string(result).unwrap_or_default());
        } else {
            say(&text(result).to_string());
        }
    }
}

/// A line on stdout.
pub(super) fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// A line on stderr, for whoever sits at the terminal.
pub(super) fn note(line: &str) {
    STDERR.write(format!("note: {line}\n").as_bytes());
}

/// A line on stderr, about a failure.
pub(super) fn complain(line: &str) {
    STDERR.write(format!("error: {line}\n").as_bytes());
}
