//! The state of a gate: whether it is closed, why, since when and until when. Nothing waits here.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::error::{ApiError, Reason, SourceHealth};
use super::headers::LONGEST_WAIT;
use crate::pauses::Pauses;
use crate::telemetry::Throttle;

static CLOSED: Throttle = Throttle::new();

/// This many failures without a success between them are the source's fault, and not that of so many CVs.
pub(super) const SUSPECTS: u32 = 10;

/// How long a closed gate waits between two probes.
fn pauses(reason: Reason) -> Pauses {
    let (first, longest) = match reason {
        Reason::RateLimit | Reason::Outage => (1, 60),
        Reason::Auth => (30, 300),
    };
    Pauses::new(Duration::from_secs(first), Duration::from_secs(longest))
}

/// How operators see a closed gate.
#[derive(Clone, Debug, Serialize)]
pub struct ClosedGate {
    pub reason: Reason,
    /// One sentence: what is wrong and what to do.
    pub message: String,
    /// The kind of error.
    pub class: &'static str,
    /// In whole seconds.
    pub closed_for_seconds: u64,
    /// Whole seconds until the next probe.
    pub probe_in_seconds: u64,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) closed: Option<Closed>,
    /// Failures since the last success.
    suspects: u32,
    pub(super) last_healthy: Option<Instant>,
    /// One caller checks whether the source fails, or one CV. Nobody else passes until it has reported.
    pub(super) checking: bool,
    /// Callers that wait before the gate.
    pub(super) waiting: usize,
    /// Time spent closed that is not in the metrics so far.
    uncounted: HashMap<Reason, Duration>,
}

#[derive(Debug)]
pub(super) struct Closed {
    reason: Reason,
    why: ApiError,
    /// When it closed for the first time without opening since.
    since: Instant,
    counted_to: Instant,
    pub(super) until: Instant,
    pauses: Pauses,
    pub(super) probing: bool,
    /// Whether it was logged. Then its opening is logged too.
    logged: bool,
}

impl State {
    /// Whether an open gate would close for `error`.
    pub(super) fn would_close(&self, error: &ApiError) -> bool {
        match error.source_health() {
            SourceHealth::Up => false,
            SourceHealth::Suspect => self.suspects + 1 >= SUSPECTS,
            SourceHealth::Unusable(..) => true,
        }
    }

    /// Takes the outcome of a request: `None` for a response, else the error. Of those that were under way when the gate closed,
    /// none opens it: only a probe does.
    pub(super) fn report(&mut self, error: Option<&ApiError>, probe: bool, checked: bool) {
        match error.map(|error| (error, error.source_health())) {
            None | Some((_, SourceHealth::Up)) => {
                self.suspects = 0;
                self.last_healthy = Some(Instant::now());
                if probe {
                    self.open();
                }
            }
            Some((error, SourceHealth::Suspect)) => {
                self.suspects += 1;
                if probe || checked || self.suspects >= SUSPECTS {
                    self.close(Reason::Outage, None, error, probe);
                }
            }
            Some((error, SourceHealth::Unusable(reason, asked))) => {
                self.close(reason, asked, error, probe);
            }
        }
    }

    /// The gate as an operator sees it; `None` while it is open.
    ///
    /// Also `None` if its time is over and nobody wants to pass: the next caller finds out.
    pub(super) fn show(&self, now: Instant) -> Option<ClosedGate> {
        let closed = self.closed.as_ref()?;
        if self.is_forgotten(closed, now) {
            return None;
        }
        Some(ClosedGate {
            reason: closed.reason,
            message: closed.why.to_string(),
            class: closed.why.class(),
            closed_for_seconds: now.saturating_duration_since(closed.since).as_secs(),
            probe_in_seconds: closed.until.saturating_duration_since(now).as_secs(),
        })
    }

    /// Time spent closed since the last call, by reason.
    pub(super) fn take_closed_time(&mut self, now: Instant) -> HashMap<Reason, Duration> {
        self.count(now);
        std::mem::take(&mut self.uncounted)
    }

    /// Whether its time is over and nobody wants to pass.
    fn is_forgotten(&self, closed: &Closed, now: Instant) -> bool {
        closed.until <= now && !closed.probing && self.waiting == 0
    }

    fn close(&mut self, reason: Reason, asked: Option<Duration>, why: &ApiError, probe: bool) {
        let now = Instant::now();
        self.count(now);
        // Requests under way that fail together are one failure. Only a failed probe makes the pause grow.
        if let Some(closed) = &mut self.closed
            && closed.reason == reason
            && !probe
        {
            if let Some(asked) = asked {
                closed.until = closed.until.max(now + asked.min(LONGEST_WAIT));
            }
            return;
        }
        // Requests that were under way when the gate closed may fail in other ways. They do not shorten the wait.
        let (not_before, probing) = match &self.closed {
            Some(closed) if !probe => (closed.until, closed.probing),
            _ => (now, false),
        };
        let (since, mut pauses, mut logged) = match self.closed.take() {
            Some(closed) if closed.reason == reason => (closed.since, closed.pauses, closed.logged),
            Some(closed) => (closed.since, pauses(reason), closed.logged),
            None => (now, pauses(reason), false),
        };
        let pause = pauses.next_pause();
        let wait = asked.map_or(pause, |asked| {
            asked.clamp(Duration::from_secs(1), LONGEST_WAIT)
        });
        if let Some(total) = CLOSED.due(reason.as_str(), 1) {
            logged = true;
            tracing::warn!(
                reason = reason.as_str(),
                error.class = why.class(),
                wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                total,
                "pausing calls to VDAB: {why}"
            );
        }
        self.closed = Some(Closed {
            reason,
            why: why.clone(),
            since,
            counted_to: now,
            until: not_before.max(now + wait),
            pauses,
            probing,
            logged,
        });
    }

    fn open(&mut self) {
        let now = Instant::now();
        self.count(now);
        if let Some(closed) = self.closed.take()
            && closed.logged
        {
            tracing::info!(
                reason = closed.reason.as_str(),
                closed_for_ms = u64::try_from((now - closed.since).as_millis()).unwrap_or(u64::MAX),
                "VDAB answers again"
            );
        }
    }

    fn count(&mut self, now: Instant) {
        let forgotten = self
            .closed
            .as_ref()
            .is_some_and(|closed| self.is_forgotten(closed, now));
        if let Some(closed) = &mut self.closed {
            let end = if forgotten { closed.until } else { now };
            *self.uncounted.entry(closed.reason).or_default() +=
                end.saturating_duration_since(closed.counted_to);
            closed.counted_to = now;
        }
    }
}

impl Closed {
    /// # Errors
    /// [`ApiError::GaveUp`] as soon as it is clear that the gate stays closed for longer than `patience`.
    pub(super) fn check_patience(&self, patience: Duration) -> Result<(), ApiError> {
        let now = Instant::now();
        let waited = now.saturating_duration_since(self.since);
        let over = self.until.saturating_duration_since(self.since) > patience || waited > patience;
        if over || self.reason == Reason::Auth {
            return Err(ApiError::GaveUp {
                waited,
                why: Box::new(self.why.clone()),
            });
        }
        Ok(())
    }
}
