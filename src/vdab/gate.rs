//! A gate in front of all workers: closed while the source cannot or must not be asked, reopened by one probe.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::Notify;

use super::error::{ApiError, Reason, Verdict};
use super::headers::LONGEST_WAIT;
use crate::pauses::Pauses;
use crate::telemetry::Throttle;

static CLOSED: Throttle = Throttle::new();

/// How long a closed gate waits between two probes.
fn pauses(reason: Reason) -> Pauses {
    let (first, longest) = match reason {
        Reason::RateLimit | Reason::Outage => (1, 60),
        Reason::Auth => (30, 300),
    };
    Pauses::new(Duration::from_secs(first), Duration::from_secs(longest))
}

/// So many failures with no success between them are the source's fault, not that of so many CVs.
const SUSPECTS: u32 = 10;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Gate {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    closed: Option<Closed>,
    /// Failures since the last success.
    suspects: u32,
    last_healthy: Option<Instant>,
    /// One caller asks whether the source fails, or one CV: nobody else passes until it is told.
    checking: bool,
    /// Callers that wait before it.
    waiting: usize,
    /// Time spent closed that nobody has counted yet.
    uncounted: HashMap<Reason, Duration>,
}

#[derive(Debug)]
struct Closed {
    reason: Reason,
    why: ApiError,
    /// When it closed for the first time without opening since.
    since: Instant,
    counted_to: Instant,
    until: Instant,
    pauses: Pauses,
    probing: bool,
    /// Whether the log has a line about it. Then it gets another one when the gate opens.
    logged: bool,
}

/// What an operator sees of a closed gate.
#[derive(Clone, Debug, Serialize)]
pub struct ClosedGate {
    /// What kind of trouble.
    pub reason: Reason,
    /// One sentence: what is wrong and what to do.
    pub message: String,
    /// Whole seconds since it closed.
    pub closed_for_seconds: u64,
    /// Whole seconds until the next probe.
    pub probe_in_seconds: u64,
}

/// Leave to send one request. Its answer must be reported; dropping it without a report lets another one try.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    gate: &'a Gate,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The gate was open.
    Ordinary,
    /// It reopens a closed gate.
    Probe,
    /// It decides whether an open gate closes.
    Check,
}

impl Gate {
    /// Waits until the gate is open, or this caller is the one that probes.
    ///
    /// # Errors
    /// [`ApiError::GaveUp`] as soon as it is clear that the gate stays closed for longer than `patience`; a refused key
    /// does so at once. Without `patience` it waits for as long as it takes.
    pub(super) async fn pass(&self, patience: Option<Duration>) -> Result<Pass<'_>, ApiError> {
        let mut waiter = None;
        loop {
            let changed = self.changed.notified();
            let until = {
                let mut state = self.lock();
                let checking = state.checking;
                let pass = |kind| Ok(Pass { gate: self, kind });
                let until = match &mut state.closed {
                    // Woken as soon as the check has ended.
                    None if checking => Instant::now() + Duration::from_secs(1),
                    None => return pass(Kind::Ordinary),
                    Some(closed) => {
                        if let Some(patience) = patience {
                            closed.check(patience)?;
                        }
                        if !closed.probing && closed.until <= Instant::now() {
                            closed.probing = true;
                            return pass(Kind::Probe);
                        }
                        closed.until
                    }
                };
                waiter.get_or_insert_with(|| {
                    state.waiting += 1;
                    Waiter(self)
                });
                until
            };
            let wake = until.max(Instant::now() + Duration::from_millis(50));
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep_until(wake.into()) => {}
            }
        }
    }

    /// Whether any request succeeded since `instant`.
    #[must_use]
    pub(super) fn healthy_since(&self, instant: Instant) -> bool {
        self.lock().last_healthy.is_some_and(|at| at > instant)
    }

    /// Whether calls make sense now.
    #[must_use]
    pub(super) fn is_open(&self) -> bool {
        self.lock().closed.is_none()
    }

    /// The gate as an operator sees it; `None` while it is open, and where its time is over and nobody wants to pass: it is the
    /// next caller that finds out.
    #[must_use]
    pub(super) fn closed(&self) -> Option<ClosedGate> {
        let state = self.lock();
        let closed = state.closed.as_ref()?;
        let now = Instant::now();
        if state.is_forgotten(closed, now) {
            return None;
        }
        Some(ClosedGate {
            reason: closed.reason,
            message: closed.why.to_string(),
            closed_for_seconds: now.saturating_duration_since(closed.since).as_secs(),
            probe_in_seconds: closed.until.saturating_duration_since(now).as_secs(),
        })
    }

    /// Time spent closed since the last call, by reason.
    #[must_use]
    pub(super) fn take_closed_time(&self) -> HashMap<Reason, Duration> {
        let mut state = self.lock();
        state.count(Instant::now());
        std::mem::take(&mut state.uncounted)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> Pass<'a> {
    /// Whether it is still good: the gate is open and nobody checks it, or this is the probe.
    #[must_use]
    pub(super) fn holds(&self) -> bool {
        let state = self.gate.lock();
        self.kind != Kind::Ordinary || (state.closed.is_none() && !state.checking)
    }

    /// Whether this one is to show that the source answers again.
    #[must_use]
    pub(super) fn is_probe(&self) -> bool {
        self.kind == Kind::Probe
    }

    /// Tells the gate of a failure that may be the fault of one CV. Where it would close an open gate, nobody passes until
    /// the pass that this returns is reported: the caller asks for other CVs with it.
    #[must_use]
    pub(super) fn report_doubtful(self, error: &ApiError) -> Option<Pass<'a>> {
        let gate = self.gate;
        {
            let mut state = gate.lock();
            let closes = match error.verdict() {
                Verdict::Healthy => false,
                Verdict::Suspect => state.suspects + 1 >= SUSPECTS,
                Verdict::Close(..) => true,
            };
            if closes && self.kind == Kind::Ordinary && state.closed.is_none() {
                // While another one checks, its answer decides.
                let first = !std::mem::replace(&mut state.checking, true);
                return first.then(|| Pass {
                    gate,
                    kind: Kind::Check,
                });
            }
        }
        self.report(Some(error));
        None
    }

    /// Tells the gate how the request ended: `None` for an answer, else the error.
    ///
    /// Answers to requests that were under way when the gate closed do not open it: only the probe does.
    pub(super) fn report(mut self, error: Option<&ApiError>) {
        let mut state = self.gate.lock();
        let probe = self.is_probe();
        let checked = self.kind == Kind::Check;
        if checked {
            state.checking = false;
        }
        match error.map(|error| (error, error.verdict())) {
            None | Some((_, Verdict::Healthy)) => {
                state.suspects = 0;
                state.last_healthy = Some(Instant::now());
                if probe {
                    state.open();
                }
            }
            Some((error, Verdict::Suspect)) => {
                state.suspects += 1;
                if probe || checked || state.suspects >= SUSPECTS {
                    state.close(Reason::Outage, None, error, probe);
                }
            }
            Some((error, Verdict::Close(reason, asked))) => {
                state.close(reason, asked, error, probe);
            }
        }
        drop(state);
        self.kind = Kind::Ordinary;
        self.gate.changed.notify_waiters();
    }

    /// Closes the gate although the answer was good, since it said that there will be no more for `wait`.
    pub(super) fn report_last(self, wait: Duration) {
        let error = ApiError::OverQuota { wait: Some(wait) };
        self.report(Some(&error));
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.kind == Kind::Ordinary {
            return;
        }
        let mut state = self.gate.lock();
        match (self.kind, &mut state.closed) {
            (Kind::Check, _) => state.checking = false,
            (_, Some(closed)) => closed.probing = false,
            (_, None) => {}
        }
        drop(state);
        self.gate.changed.notify_waiters();
    }
}

/// A caller that waits, until it passes or is dropped.
struct Waiter<'a>(&'a Gate);

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
    }
}

impl State {
    /// Whether its time is over and nobody wants to know what is behind it.
    fn is_forgotten(&self, closed: &Closed, now: Instant) -> bool {
        closed.until <= now && !closed.probing && self.waiting == 0
    }

    fn close(&mut self, reason: Reason, asked: Option<Duration>, why: &ApiError, probe: bool) {
        let now = Instant::now();
        self.count(now);
        // Several requests under way fail together: they are one failure, and only a failed probe makes the pause grow.
        if let Some(closed) = &mut self.closed
            && closed.reason == reason
            && !probe
        {
            if let Some(asked) = asked {
                closed.until = closed.until.max(now + asked.min(LONGEST_WAIT));
            }
            return;
        }
        // What was under way when the gate closed may fail in other ways, and shortens no wait.
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
                "no calls to VDAB for a while: {why}"
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
    fn check(&self, patience: Duration) -> Result<(), ApiError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    const DOWN: ApiError = ApiError::Unreachable(String::new());
    const FAILED: ApiError = ApiError::Server {
        status: 500,
        wait: None,
    };

    async fn passes(gate: &Gate) -> bool {
        tokio::time::timeout(Duration::from_millis(20), gate.pass(None))
            .await
            .is_ok()
    }

    #[tokio::test]
    async fn one_probe_at_a_time_reopens_it() {
        let gate = Gate::default();
        let pass = gate.pass(None).await.unwrap();
        pass.report_last(Duration::from_secs(1));
        assert!(!passes(&gate).await);
        assert_eq!(gate.closed().unwrap().reason, Reason::RateLimit);
        let probe = gate.pass(None).await.unwrap();
        assert!(!passes(&gate).await, "a second one passed beside the probe");
        drop(probe);
        let probe = gate.pass(None).await.unwrap();
        probe.report(None);
        assert!(passes(&gate).await);
        let counted: Duration = gate.take_closed_time().values().sum();
        assert!(counted >= Duration::from_secs(1));
    }

    #[tokio::test]
    async fn one_whose_time_is_over_is_closed_only_while_somebody_wants_to_pass() {
        let gate = Gate::default();
        let pass = gate.pass(None).await.unwrap();
        pass.report_last(Duration::from_secs(1));
        assert!(gate.closed().is_some());
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(gate.closed().is_none());
        let counted: Duration = gate.take_closed_time().values().sum();
        assert!(counted < Duration::from_millis(1_900), "{counted:?}");
        let probe = gate.pass(None).await.unwrap();
        assert!(probe.is_probe() && gate.closed().is_some());
    }

    #[tokio::test]
    async fn failures_close_it_only_when_nothing_succeeds() {
        let gate = Gate::default();
        for round in 0..100 {
            let error = (round % 5 != 0).then_some(&FAILED);
            gate.pass(None).await.unwrap().report(error);
        }
        assert!(passes(&gate).await);
        gate.pass(None).await.unwrap().report(None);
        for _ in 0..SUSPECTS {
            assert!(passes(&gate).await);
            gate.pass(None).await.unwrap().report(Some(&FAILED));
        }
        assert_eq!(gate.closed().unwrap().reason, Reason::Outage);
    }

    #[tokio::test]
    async fn a_failure_that_may_be_of_one_cv_closes_it_only_if_the_check_fails() {
        let gate = Gate::default();
        let (one, another) = (
            gate.pass(None).await.unwrap(),
            gate.pass(None).await.unwrap(),
        );
        let check = one.report_doubtful(&DOWN).unwrap();
        assert!(
            another.report_doubtful(&DOWN).is_none(),
            "one check at a time"
        );
        assert!(!passes(&gate).await && gate.closed().is_none());
        check.report(None);
        assert!(passes(&gate).await);
        let pass = gate.pass(None).await.unwrap();
        drop(pass.report_doubtful(&DOWN).unwrap());
        assert!(
            passes(&gate).await,
            "a check that was dropped holds nobody up"
        );
        let pass = gate.pass(None).await.unwrap();
        let check = pass.report_doubtful(&DOWN).unwrap();
        check.report(Some(&FAILED));
        assert_eq!(gate.closed().unwrap().reason, Reason::Outage);
    }

    #[tokio::test]
    async fn failures_of_several_cvs_in_a_row_are_checked_too() {
        let gate = Gate::default();
        for _ in 1..SUSPECTS {
            let pass = gate.pass(None).await.unwrap();
            assert!(pass.report_doubtful(&FAILED).is_none());
        }
        let pass = gate.pass(None).await.unwrap();
        let check = pass.report_doubtful(&FAILED).unwrap();
        check.report(None);
        assert!(passes(&gate).await);
    }

    #[tokio::test]
    async fn an_answer_that_was_under_way_does_not_open_it() {
        let gate = Gate::default();
        let slow = gate.pass(None).await.unwrap();
        gate.pass(None).await.unwrap().report(Some(&DOWN));
        slow.report(None);
        assert!(gate.closed().is_some());
    }

    #[tokio::test]
    async fn what_was_under_way_shortens_no_wait() {
        let gate = Gate::default();
        let slow = gate.pass(None).await.unwrap();
        let over = ApiError::OverQuota {
            wait: Some(Duration::from_mins(1)),
        };
        gate.pass(None).await.unwrap().report(Some(&over));
        slow.report(Some(&DOWN));
        assert!(gate.closed().unwrap().probe_in_seconds > 50);
    }

    #[tokio::test]
    async fn patience_ends_and_a_refused_key_ends_it_at_once() {
        let gate = Gate::default();
        let refused = ApiError::KeyRefused {
            status: 401,
            message: String::new(),
        };
        gate.pass(None).await.unwrap().report(Some(&refused));
        let patience = Some(Duration::from_hours(1));
        let gave_up = gate.pass(patience).await.unwrap_err();
        assert!(matches!(gave_up, ApiError::GaveUp { why, .. } if *why == refused));

        let gate = Gate::default();
        gate.pass(None).await.unwrap().report(Some(&DOWN));
        let gave_up = gate.pass(Some(Duration::ZERO)).await.unwrap_err();
        assert!(matches!(gave_up, ApiError::GaveUp { .. }), "{gave_up}");
    }
}
