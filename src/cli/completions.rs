//! `cvsync completions`

use std::io::Write;

use clap::CommandFactory;
use clap_complete::Shell;

use super::Cli;

/// Print a completion script for a shell
///
/// For example: cvsync completions bash > /etc/bash_completion.d/cvsync
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Shell to complete in
    shell: Shell,
}

pub(super) fn run(args: &Args) {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "cvsync", &mut script);
    // A reader that went away is not an error.
    let _ = std::io::stdout().write_all(&script);
}
