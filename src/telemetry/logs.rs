//! Logs: text for people at a terminal, JSON for machines, both on stderr. And spans, where traces are pushed.

use std::io::{self, IsTerminal, Write};

use indicatif::MultiProgress;
use opentelemetry::trace::TracerProvider;
use tracing::Metadata;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, dynamic_filter_fn};
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use super::otlp::{self, Traces};
use crate::config::{Log, LogFormat, Otel};

/// No news for an operator: PostgreSQL's remarks on migrations that are there already, and a scheduler's on its start.
const QUIET: [&str; 2] = ["sqlx::postgres::notice=warn", "tokio_cron_scheduler=warn"];

/// Stderr, shared by log lines and progress bars: a line moves the bars out of its way. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Screen(pub MultiProgress);

/// Sends everything that is logged from now on to `screen`, and spans to where `otel` says, until what this returns is dropped.
///
/// # Errors
/// If logging was installed before, or traces cannot be pushed as the standard variables have it.
pub fn install(log: &Log, otel: &Otel, screen: &Screen) -> anyhow::Result<Option<Traces>> {
    let format = log.format.unwrap_or(if io::stderr().is_terminal() {
        LogFormat::Text
    } else {
        LogFormat::Json
    });
    let mut filter = EnvFilter::try_new(&log.filter)?;
    for directive in QUIET {
        filter = filter.add_directive(directive.parse()?);
    }
    let lines = fmt::layer().with_writer(screen.clone());
    let lines = match format {
        LogFormat::Text => lines
            .with_ansi(io::stderr().is_terminal())
            .with_target(false)
            .boxed(),
        // With all spans: at debug the innermost is a request, and the run around it has the trace id.
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let traces = otlp::pushed_traces(*otel)?;
    let Some(Traces(provider)) = &traces else {
        tracing_subscriber::registry()
            .with(lines)
            .with(filter)
            .try_init()?;
        return Ok(None);
    };
    // Dynamic, so that it is asked each time. Where all filters have answered for good, tracing-subscriber goes by what it
    // remembers of the question before, which may have been `enabled!` about another line: spans and lines got lost by it.
    let ours = dynamic_filter_fn(|metadata, _| is_traced(metadata))
        .with_max_level_hint(LevelFilter::DEBUG);
    let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer("cvsync"));
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .with(spans.with_filter(ours))
        .try_init()?;
    Ok(traces)
}

/// Spans of ours. Not those of the client that pushes them, and no log lines: these may hold the id of a CV.
fn is_traced(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target().starts_with("cvsync")
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
