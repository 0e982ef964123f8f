//! Logs: text for people at a terminal, JSON for machines, both on stderr.

use std::io::{self, IsTerminal, Write};

use indicatif::MultiProgress;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat};

/// No news for an operator: PostgreSQL's remarks on migrations that are there already, and a scheduler's on its start.
const QUIET: [&str; 2] = ["sqlx::postgres::notice=warn", "tokio_cron_scheduler=warn"];

/// Stderr, shared by log lines and progress bars: a line moves the bars out of its way. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Screen(pub MultiProgress);

/// Sends everything that is logged from now on to `screen`.
///
/// # Errors
/// If logging was installed before.
pub fn install(log: &Log, screen: &Screen) -> anyhow::Result<()> {
    let format = log.format.unwrap_or(if io::stderr().is_terminal() {
        LogFormat::Text
    } else {
        LogFormat::Json
    });
    let mut filter = EnvFilter::try_new(&log.filter)?;
    for directive in QUIET {
        filter = filter.add_directive(directive.parse()?);
    }
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(screen.clone());
    match format {
        LogFormat::Text => lines
            .with_ansi(io::stderr().is_terminal())
            .with_target(false)
            .finish()
            .try_init()?,
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init()?,
    }
    Ok(())
}

impl Write for Screen {
    /// A line that cannot be written is lost, and nothing else: told of it, tracing would print to stderr again, and panic.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let _ = self.0.suspend(|| io::stderr().write_all(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = io::stderr().flush();
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Screen {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
