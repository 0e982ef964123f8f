//! The progress of a run: a bar with rate and time left on a terminal, and otherwise a log line every minute.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::model::words::{count, moment};
use crate::sync::{Lanes, Snapshot};
use crate::telemetry::Screen;

const ON_A_TERMINAL: Duration = Duration::from_millis(100);
const IN_A_LOG: Duration = Duration::from_mins(1);

/// Shows `progress` until `work` is finished.
pub(crate) async fn shown<T>(
    screen: &Screen,
    progress: &Lanes,
    work: impl Future<Output = T>,
) -> T {
    let watch = async {
        if io::stderr().is_terminal() {
            draw(screen, progress).await;
        } else {
            log(progress).await;
        }
    };
    tokio::select! {
        done = work => done,
        () = watch => unreachable!("watching never ends"),
    }
}

/// Draws a bar during each run. Never returns.
pub(crate) async fn draw(screen: &Screen, progress: &Lanes) {
    let mut bar: Option<Bar> = None;
    loop {
        match progress.shown() {
            Some(now) => bar.get_or_insert_with(|| Bar::new(screen)).show(&now),
            None => bar = None,
        }
        tokio::time::sleep(ON_A_TERMINAL).await;
    }
}

/// Clears itself from the screen when it is dropped.
struct Bar(ProgressBar);

impl Bar {
    fn new(screen: &Screen) -> Self {
        let bar = screen.add(ProgressBar::new(0));
        // Cannot fail: the template is a constant, and tests draw it.
        if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} CVs  {msg}") {
            bar.set_style(style);
        }
        Self(bar)
    }

    fn show(&self, now: &Snapshot) {
        self.0.set_length(now.expected.max(now.tally.done()));
        self.0.set_position(now.tally.done());
        self.0.set_message(rate(now));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

async fn log(progress: &Lanes) {
    loop {
        tokio::time::sleep(IN_A_LOG).await;
        if let Some(now) = progress.shown() {
            tracing::info!(
                done = now.tally.done(),
                expected = now.expected,
                windows = now.windows,
                "syncing, {}",
                rate(&now)
            );
        }
    }
}

/// The rate and the time left; or the windows, while they have no CVs.
pub(crate) fn rate(now: &Snapshot) -> String {
    if now.expected == 0 {
        let up_to = now.listed_to.map_or_else(String::new, |at| {
            format!(", the latest up to {}", moment(at))
        });
        return format!("listing: {} so far{up_to}", count(now.windows, "window"));
    }
    let eta = now.eta_seconds.map_or_else(String::new, |seconds| {
        format!(
            ", {} left",
            humantime::format_duration(Duration::from_secs(seconds))
        )
    });
    format!("{:.0} per second{eta}", now.per_second)
}
