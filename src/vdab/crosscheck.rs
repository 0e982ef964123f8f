//! Detail calls, checked against live CVs: a failure or an absence may be of one CV alone, or of VDAB as a whole.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::Detail;
use super::attempt::{Answer, Reply};
use super::client::Client;
use super::detail;
use super::error::{ApiError, SourceHealth};
use super::gate::Pass;
use super::operation::Operation;
use super::quota::Permit;
use super::traffic::Admission;
use crate::model::CvId;

/// The most live CVs that are asked for before one failure closes the gate: the first may fail by itself.
const WITNESSES: usize = 2;

/// If two CVs are over quota within this time, neither of them is the cause, even if another CV succeeds meanwhile.
const OVER_QUOTA: Duration = Duration::from_mins(1);

impl Client {
    /// The document of a CV, or that it is gone.
    ///
    /// A CV that fails by itself proves nothing. So a live CV is asked for to reopen a closed gate, and before a failure closes
    /// the gate.
    pub async fn detail(&self, id: CvId) -> Result<Answer<Detail>, ApiError> {
        loop {
            let Admission { pass, permit } =
                self.traffic(Operation::Detail).admit(self.patience).await?;
            let canary = self.canaries.other_than(id);
            if let (Some(canary), true) = (canary, pass.is_probe()) {
                // Its outcome opens the gate, or keeps it closed.
                let reply = self.ask_detail(&pass, permit, canary).await;
                reply.report_to(pass);
                if reply.outcome.is_err() {
                    self.canaries.drop(canary);
                }
                continue;
            }
            let reply = self.ask_detail(&pass, permit, id).await;
            let (Err(error), Some(_)) = (&reply.outcome, canary) else {
                reply.report_to(pass);
                return reply.outcome;
            };
            let closes = matches!(error.source_health(), SourceHealth::Unusable(..));
            let alone = match pass.report_doubtful(error) {
                Some(check) => self.others_succeed(id, check, error).await,
                None => false,
            };
            return match reply.outcome {
                Err(error) if alone && closes => Err(ApiError::Alone(Box::new(error))),
                outcome => outcome,
            };
        }
    }

    /// Whether VDAB answers for another CV than `id`, which has failed. If not, the gate closes. These calls go before the
    /// callers that wait for the quota.
    async fn others_succeed(&self, id: CvId, check: Pass<'_>, error: &ApiError) -> bool {
        let mut why = error.clone();
        // The gate closes for many failures in a row: one more is enough.
        let witnesses = match error.source_health() {
            SourceHealth::Unusable(..) => WITNESSES,
            SourceHealth::Suspect | SourceHealth::Up => 1,
        };
        for _ in 0..witnesses {
            let Some(canary) = self.canaries.other_than(id) else {
                break;
            };
            let permit = self.traffic(Operation::Detail).quota.urgent_permit().await;
            let reply = self.ask_detail(&check, permit, canary).await;
            match &reply.outcome {
                Err(failure) if failure.source_health() != SourceHealth::Up => {
                    if matches!(failure.source_health(), SourceHealth::Unusable(..)) {
                        why = failure.clone();
                    }
                    self.canaries.drop(canary);
                }
                _ if self.is_over_quota_again(id, error) => {
                    check.report(Some(&ApiError::OverQuota { wait: None }));
                    return true;
                }
                _ => {
                    reply.report_to(check);
                    return true;
                }
            }
        }
        check.report(Some(&why));
        false
    }

    /// Whether `error` says that the quota is used up, as the response for another CV did a moment ago.
    fn is_over_quota_again(&self, id: CvId, error: &ApiError) -> bool {
        if !matches!(error, ApiError::OverQuota { .. }) {
            return false;
        }
        let mut last = self
            .over_quota
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let before = last.replace((id, Instant::now()));
        before.is_some_and(|(other, at)| other != id && at.elapsed() < OVER_QUOTA)
    }

    /// Whether VDAB answers for any CV that is known to be live; false if none is known.
    pub async fn answers(&self) -> bool {
        while let Some(canary) = self.canaries.first() {
            if self.detail(canary).await.is_ok() {
                return true;
            }
            self.canaries.drop(canary);
        }
        false
    }

    /// Whether to believe a response, received at `received`, that a CV is gone.
    ///
    /// After a few of them in a row, a live CV must have been asked for since, and must be live. False if no live CV is known.
    pub async fn confirms_gone(&self, received: Instant) -> bool {
        if self.absence.is_plausible(received) {
            return true;
        }
        let _turn = self.absence.turn.lock().await;
        while !self.absence.is_plausible(received) {
            let Some(canary) = self.canaries.first() else {
                return false;
            };
            match self.detail(canary).await {
                // If it is gone, it is no longer a canary.
                Ok(_) => {}
                Err(_) => self.canaries.drop(canary),
            }
        }
        true
    }

    /// One attempt, whose reply the caller reports to the gate.
    async fn ask_detail(&self, pass: &Pass<'_>, permit: Permit<'_>, id: CvId) -> Reply<Detail> {
        let request = self.transport.get(&["kandidaten", &id.to_string()]);
        let asked = Instant::now();
        let traffic = self.traffic(Operation::Detail);
        let classify = |answer: &_| {
            let names = &self.dialect.names;
            detail::classify(answer, id, &self.words, &self.exclude, names)
        };
        let reply = self
            .transport
            .attempt(traffic, pass, permit, request, classify);
        let reply = reply.await;
        match reply.outcome.as_ref().map(|answer| &answer.value) {
            Ok(Detail::Live(document)) => {
                self.drift.note(id, document.drift().iter().cloned());
                self.note_status(id, document.status());
                self.canaries.answered(id);
                self.absence.live(asked);
            }
            Ok(Detail::Gone) => {
                self.canaries.drop(id);
                self.absence.gone();
            }
            Err(_) => {}
        }
        reply
    }
}
