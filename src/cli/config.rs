//! `cvsync config show`

use super::Output;
use crate::config::{Config, Env, Shown, shown};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Show the effective value, origin and meaning of each variable, with secrets masked
    ///
    /// Exits with 2 if the configuration is invalid, with the reason on stderr.
    Show {
        #[command(flatten)]
        output: Output,
    },
}

pub(super) fn run(command: &Command, env: &Env) -> anyhow::Result<()> {
    let Command::Show { output } = command;
    output.print(&shown(env), |variables| text(variables));
    Config::load(env)?;
    Ok(())
}

fn text(variables: &[Shown]) -> String {
    let lines = variables.iter().map(|variable| {
        let value = variable.value.as_deref().unwrap_or("-");
        format!(
            "{}={value}  ({})\n    {}",
            variable.name, variable.origin, variable.meaning
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}
