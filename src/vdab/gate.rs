//! A gate in front of all workers. It is closed while VDAB cannot or must not be called, and one probe reopens it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::error::{ApiError, Reason};
use super::gate_state::{ClosedGate, State};

#[derive(Debug, Default)]
pub(super) struct Gate {
    state: Mutex<State>,
    changed: Notify,
}

/// Permission to send one request, whose outcome must be reported. If this is dropped without a report, another caller may try.
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
    /// Waits until the gate is open, or until this caller is the one that probes. Without `patience` it waits without a limit.
    ///
    /// # Errors
    /// [`ApiError::GaveUp`] as soon as it is clear that the gate stays closed for longer than `patience`, and at once if the key
    /// is refused.
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
                            closed.check_patience(patience)?;
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

    #[must_use]
    pub(super) fn is_open(&self) -> bool {
        self.lock().closed.is_none()
    }

    #[must_use]
    pub(super) fn closed(&self) -> Option<ClosedGate> {
        self.lock().show(Instant::now())
    }

    /// Time spent closed since the last call, by reason.
    #[must_use]
    pub(super) fn take_closed_time(&self) -> HashMap<Reason, Duration> {
        self.lock().take_closed_time(Instant::now())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> Pass<'a> {
    /// Whether it still allows a request: the gate is open and nobody checks it, or this is the probe or the check.
    #[must_use]
    pub(super) fn holds(&self) -> bool {
        let state = self.gate.lock();
        self.kind != Kind::Ordinary || (state.closed.is_none() && !state.checking)
    }

    /// Whether this request is to show that VDAB answers again.
    #[must_use]
    pub(super) fn is_probe(&self) -> bool {
        self.kind == Kind::Probe
    }

    /// Reports a failure that may be the fault of one CV. If it would close an open gate, it returns a pass with which the
    /// caller asks for other CVs. Nobody else passes until that one is reported.
    #[must_use]
    pub(super) fn report_doubtful(self, error: &ApiError) -> Option<Pass<'a>> {
        let gate = self.gate;
        {
            let mut state = gate.lock();
            let is_open = self.kind == Kind::Ordinary && state.closed.is_none();
            if is_open && state.would_close(error) {
                // While another caller checks, the outcome of that check decides.
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

    /// Reports how the request ended: `None` for a response, else the error.
    pub(super) fn report(mut self, error: Option<&ApiError>) {
        let mut state = self.gate.lock();
        let is_check = self.kind == Kind::Check;
        if is_check {
            state.checking = false;
        }
        state.report(error, self.is_probe(), is_check);
        drop(state);
        self.kind = Kind::Ordinary;
        self.gate.changed.notify_waiters();
    }

    /// Reports a good response that says that the quota is used up for `wait`: the gate closes.
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

/// A caller that waits. It stops waiting when this is dropped.
struct Waiter<'a>(&'a Gate);

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::failure::Said;
    use super::super::gate_state::SUSPECTS;
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
            said: Said::default(),
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
