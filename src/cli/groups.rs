//! The commands in groups, as `cvsync --help` lists them.

use clap::{Command, CommandFactory};

use super::Cli;

/// The widest line of help.
pub(super) const WIDTH: usize = 100;

const GROUPS: [(&str, &[&str]); 6] = [
    (
        "Start and try",
        &[
            "run",
            "demo",
            "simulate",
            "migrate",
            "check",
            "conformance",
            "config",
        ],
    ),
    (
        "Look",
        &[
            "status",
            "windows",
            "explain",
            "verify",
            "parked",
            "deletes",
            "healthcheck",
        ],
    ),
    (
        "Sync",
        &[
            "sync",
            "backfill",
            "resync",
            "reconcile",
            "rewind",
            "pause",
            "resume",
        ],
    ),
    (
        "Read the data",
        &["export", "search", "reference", "clients", "feed"],
    ),
    ("Protect people", &["suppressed", "subject", "privacy"]),
    ("Shell", &["completions", "help"]),
];

/// The command line, with its commands in groups. clap lists them without groups.
pub(super) fn command() -> Command {
    let mut command = Cli::command();
    command.build();
    let mut template = "{about-with-newline}\n{usage-heading} {usage}\n".to_owned();
    for (heading, names) in GROUPS {
        template.extend(["\n", heading, ":\n", &list(&command, names)]);
    }
    template.push_str("\nOptions:\n{options}\n");
    Cli::command().help_template(template)
}

/// One line per command.
fn list(all: &Command, names: &[&str]) -> String {
    let wide = GROUPS.iter().flat_map(|(_, names)| *names);
    let wide = wide.map(|name| name.len()).max().unwrap_or_default();
    let mut text = String::new();
    for name in names {
        let about = all.find_subcommand(name).and_then(Command::get_about);
        let about = about.map(ToString::to_string).unwrap_or_default();
        let indent = 4 + wide;
        let mut line = format!("  {name:<wide$}");
        line.push(' ');
        let mut length = line.len();
        for word in about.split_whitespace() {
            if length + 1 + word.len() > WIDTH {
                line.push('\n');
                line.push_str(&" ".repeat(indent));
                length = indent;
            } else {
                line.push(' ');
            }
            line.push_str(word);
            length += 1 + word.len();
        }
        text.push_str(&line);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_command_is_in_one_group() {
        let mut all = Cli::command();
        all.build();
        let all: BTreeSet<_> = all
            .get_subcommands()
            .map(|it| it.get_name().to_owned())
            .collect();
        let grouped: Vec<_> = GROUPS.iter().flat_map(|(_, names)| *names).collect();
        assert_eq!(grouped.len(), all.len());
        assert_eq!(
            grouped
                .iter()
                .map(|name| (*name).to_string())
                .collect::<BTreeSet<_>>(),
            all
        );
        let help = command().render_long_help().to_string();
        assert!(
            help.lines().all(|line| line.chars().count() <= WIDTH),
            "{help}"
        );
        for (heading, names) in GROUPS {
            let (_, rest) = help.split_once(&format!("{heading}:\n")).unwrap();
            assert!(rest.trim_start().starts_with(names[0]), "{help}");
        }
        assert!(help.contains("--env-file"), "{help}");
    }
}
