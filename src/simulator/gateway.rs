//! The path of every call: log, key, quota, faults, then the response.

use chrono::{DateTime, Utc};
use tokio::time::Instant;
use uuid::Uuid;

use super::answer::Answer;
use super::call::{Call, CallLog, CallRecord, Operation};
use super::faults::{Fault, Faults};
use super::quirks::Quirks;
use super::quota::{Quota, QuotaState};
use super::routes;
use super::settings::Settings;
use super::world::World;
use crate::contract::GatewayError;

/// A test's change of the world between a request and its response.
pub(super) type Hook = Box<dyn FnMut(&Call, &mut World) + Send>;

/// A test's change of a response before it is sent.
pub(super) type Rewrite = Box<dyn FnMut(&mut Answer) + Send>;

pub(super) struct Gateway {
    pub(super) world: World,
    pub(super) settings: Settings,
    pub(super) faults: Faults,
    pub(super) log: CallLog,
    pub(super) hook: Option<Hook>,
    pub(super) rewrite: Option<(Operation, Rewrite)>,
    pub(super) quota: Quota,
    pub(super) quirks: Quirks,
}

impl Gateway {
    /// Decides the response to a call with this key, and its fault.
    pub(super) fn handle(
        &mut self,
        call: &Call,
        key: Option<&[u8]>,
        now: DateTime<Utc>,
    ) -> (Answer, Fault) {
        let at = Instant::now();
        self.world.advance(now);
        let (mut answer, fault) = self.decide(call, key, at);
        self.quirks.send(&mut answer);
        self.log.record(CallRecord {
            at,
            operation: call.operation,
            id: call.id.as_deref().and_then(|id| Uuid::try_parse(id).ok()),
            status: (fault != Fault::Stall).then_some(answer.status),
        });
        (answer, fault)
    }

    fn decide(&mut self, call: &Call, key: Option<&[u8]>, at: Instant) -> (Answer, Fault) {
        if key != Some(self.settings.key.as_bytes()) {
            return (GatewayError::unauthorized().into(), Fault::Pass);
        }
        let limit = self.settings.rate_per_minute.filter(|rate| *rate > 0);
        let Some(limit) = limit else {
            return self.serve(call);
        };
        let standing = self
            .quota
            .take(self.quirks.counted_as(call.operation), limit as usize, at);
        let (answer, fault) = if standing.granted {
            self.serve(call)
        } else {
            let wait = standing.reset.to_string();
            (
                routes::retry_later(GatewayError::over_quota(), Some(&wait)),
                Fault::Pass,
            )
        };
        (with_standing(answer, standing), fault)
    }

    fn serve(&mut self, call: &Call) -> (Answer, Fault) {
        if let Some(hook) = &mut self.hook {
            hook(call, &mut self.world);
        }
        let fault = self.faults.next(call);
        let mut answer = self.answer(call, &fault);
        if let Some((operation, rewrite)) = &mut self.rewrite
            && *operation == call.operation
            && answer.status == 200
        {
            rewrite(&mut answer);
        }
        (answer, fault)
    }

    /// The response by the contract, or by a quirk.
    pub(super) fn answer(&self, call: &Call, fault: &Fault) -> Answer {
        let mut call = call.clone();
        if let Err(refused) = self.quirks.ask(&mut call) {
            return refused.into();
        }
        let mut answer = routes::answer(&self.world, &call, fault, self.settings.max_window);
        self.quirks.answer(&self.world, &call, &mut answer);
        answer
    }
}

fn with_standing(answer: Answer, standing: QuotaState) -> Answer {
    answer
        .with(
            "x-ratelimit-limit",
            format!("name=rate-limit,{}", standing.limit),
        )
        .with(
            "x-ratelimit-remaining",
            format!("name=rate-limit,{}", standing.remaining),
        )
        .with(
            "x-ratelimit-reset",
            format!("name=rate-limit,{}", standing.reset),
        )
}
