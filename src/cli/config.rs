//! `cvsync config show`

use super::Output;
use crate::config::{Config, Env, Shown, shown};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Each variable's effective value, where it comes from and what it means; secrets are masked
    ///
    /// Exits with 2 if the configuration is not valid, and says why on stderr.
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
