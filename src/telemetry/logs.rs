//! Logs on stderr, as text on a terminal and otherwise as JSON; and spans, if traces are pushed.
//!
//! With any `CVSYNC_LOG`, only cvsync's own lines are written. Lines of libraries can contain configuration, or the content of
//! rows, as in PostgreSQL's notices.

use std::io::{self, IsTerminal, Write};
use std::panic;
use std::time::Duration;

use console::Term;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, TermLike};
use opentelemetry::trace::TracerProvider;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{FilterExt, LevelFilter, dynamic_filter_fn, filter_fn};
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::{Layer, SubscriberExt};

use super::STDERR;
use super::otlp::{self, Traces};
use crate::config::{Log, LogFormat, Otel};
use crate::model::is_hidden;

/// The maximum number of redraws per second.
const FRAMES: u8 = 20;

/// Stderr, shared by log lines and progress bars: a line moves the bars. Clones share it.
#[derive(Clone, Debug)]
pub struct Screen(MultiProgress);

impl Default for Screen {
    fn default() -> Self {
        let target = if io::stderr().is_terminal() {
            ProgressDrawTarget::term_like_with_hz(Box::new(Terminal(Term::stderr())), FRAMES)
        } else {
            ProgressDrawTarget::hidden()
        };
        Self(MultiProgress::with_draw_target(target))
    }
}

impl Screen {
    /// Draws `bar` below the lines.
    #[must_use]
    pub fn add(&self, bar: ProgressBar) -> ProgressBar {
        self.0.add(bar)
    }

    /// Hides the bars while `print` writes to the same terminal by other means.
    pub fn suspend(&self, print: impl FnOnce()) {
        self.0.suspend(|| {
            STDERR.flush(Duration::from_millis(100));
            print();
        });
    }
}

/// Sends log lines to `screen`, and spans to the collector of `otel` until the returned value is dropped.
///
/// # Errors
/// If logging is already installed.
pub(crate) fn install(log: &Log, otel: &Otel, screen: &Screen) -> anyhow::Result<Option<Traces>> {
    let format = log.format.unwrap_or(if io::stderr().is_terminal() {
        LogFormat::Text
    } else {
        LogFormat::Json
    });
    let filter = EnvFilter::try_new(&log.filter)?;
    let lines = fmt::layer().with_writer(screen.clone());
    let lines = match format {
        LogFormat::Text => lines
            .with_ansi(io::stderr().is_terminal())
            .with_target(false)
            .boxed(),
        // With all spans: at debug level the innermost is a request, and the run around it has the trace id.
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let (traces, failed) = match otlp::pushed_traces(otel) {
        Ok(traces) => (traces, None),
        Err(why) => (None, Some(why)),
    };
    let Some(Traces(provider)) = &traces else {
        start(
            tracing_subscriber::registry()
                .with(lines)
                .with(filter_fn(is_ours))
                .with(filter),
        )?;
        if let Some(why) = failed {
            tracing::warn!("cannot push traces: {why}");
        }
        return Ok(None);
    };
    // Dynamic, so that it is evaluated each time. If all filters are static, tracing-subscriber reuses the result of the
    // previous call, which may have been an `enabled!` for another line. Then spans and lines were lost.
    let ours = dynamic_filter_fn(|metadata, _| is_traced(metadata))
        .with_max_level_hint(LevelFilter::DEBUG);
    let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer("cvsync"));
    start(
        tracing_subscriber::registry()
            .with(lines.with_filter(filter.and(filter_fn(is_ours))))
            .with(spans.with_filter(ours)),
    )?;
    Ok(traces)
}

/// Without the bridge for the crate `log`, which only libraries use.
fn start(subscriber: impl Subscriber + Send + Sync) -> anyhow::Result<()> {
    tracing::subscriber::set_global_default(subscriber)?;
    panic::set_hook(Box::new(|panic| {
        // A formatted text can contain anything.
        let text = panic.payload().downcast_ref::<&'static str>();
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, text, "cvsync panicked: this is a bug");
    }));
    Ok(())
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    target == "cvsync" || target.starts_with("cvsync::")
}

/// Only cvsync's own spans. Log lines may contain the id of a CV.
fn is_traced(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && is_ours(metadata)
}

impl Write for Screen {
    /// Takes one whole line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let shown = on_one_line(&String::from_utf8_lossy(line));
        self.0.suspend(|| STDERR.write(shown.as_bytes()));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The line without hidden characters: a value may come from outside. Only tracing-subscriber itself writes escape sequences, for
/// colours; those in a value are already escaped.
fn on_one_line(line: &str) -> String {
    let text = line.trim_end_matches('\n');
    let shown = text.chars().filter_map(|c| match c {
        '\n' => Some(' '),
        '\u{1b}' => Some(c),
        c => (!is_hidden(c)).then_some(c),
    });
    shown.chain(['\n']).collect()
}

impl<'a> MakeWriter<'a> for Screen {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// A terminal on which bars are drawn without waiting. Only its size is read directly.
#[derive(Debug)]
struct Terminal(Term);

impl Terminal {
    #[expect(clippy::unnecessary_wraps, reason = "a trait's methods return it")]
    fn put(text: &str) -> io::Result<()> {
        STDERR.write(text.as_bytes());
        Ok(())
    }

    fn go(to: char, by: usize) -> io::Result<()> {
        if by == 0 {
            return Ok(());
        }
        Self::put(&format!("\x1b[{by}{to}"))
    }
}

impl TermLike for Terminal {
    fn width(&self) -> u16 {
        self.0.size().1
    }

    fn height(&self) -> u16 {
        self.0.size().0
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        Self::go('A', n)
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        Self::go('B', n)
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        Self::go('C', n)
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        Self::go('D', n)
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        Self::put(&format!("{text}\n"))
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        Self::put(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        Self::put("\r\x1b[2K")
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_log_is_one_line() {
        let line = "\u{1b}[32mINFO\u{1b}[0m a\u{202e}b\nERROR forged\u{200b}\u{9b}2J\n";
        let shown = "\u{1b}[32mINFO\u{1b}[0m ab ERROR forged2J\n";
        assert_eq!(on_one_line(line), shown);
    }
}
