//! The calls to one operation of the API: their quota, their gate and their number.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::error::ApiError;
use super::gate::{Gate, Pass};
use super::operation::Operation;
use super::quota::{Permit, Quota};

#[derive(Debug)]
pub(super) struct Traffic {
    pub operation: Operation,
    pub quota: Quota,
    pub gate: Gate,
    under_way: AtomicUsize,
    received: AtomicU64,
}

/// Permission of the gate and of the quota to send one request.
#[derive(Debug)]
pub(super) struct Admission<'a> {
    /// Reports to the gate how the request ended.
    pub pass: Pass<'a>,
    /// Must be kept until the request has ended.
    pub permit: Permit<'a>,
}

/// A call without a response so far. It ends when this is dropped.
pub(super) struct UnderWay<'a>(&'a Traffic);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Traffic {
    pub(super) fn new(operation: Operation, per_minute: NonZeroU32, timeout: Duration) -> Self {
        Self {
            operation,
            quota: Quota::new(operation, per_minute, timeout),
            gate: Gate::default(),
            under_way: AtomicUsize::new(0),
            received: AtomicU64::new(0),
        }
    }

    pub(super) fn begin(&self) -> UnderWay<'_> {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(self)
    }

    /// Waits for the gate and the quota. If the gate closed while this caller waited for the quota, it waits again.
    pub(super) async fn admit(
        &self,
        patience: Option<Duration>,
    ) -> Result<Admission<'_>, ApiError> {
        loop {
            let pass = self.gate.pass(patience).await?;
            let permit = self.quota.permit().await;
            if pass.holds() {
                return Ok(Admission { pass, permit });
            }
            permit.give_back();
        }
    }

    pub(super) fn end(&self, under_way: UnderWay<'_>) {
        drop(under_way);
        self.received.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    /// Attempts that have ended, whether they succeeded or failed.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}
