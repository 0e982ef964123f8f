//! The calls to one operation of the API: their quota, their gate and their number.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::error::ApiError;
use super::gate::{Gate, Pass};
use super::operation::Operation;
use super::quota::{Permit, Quota};

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Traffic {
    /// How many calls are left.
    pub quota: Quota,
    /// Whether calls make sense now.
    pub gate: Gate,
    under_way: AtomicUsize,
    received: AtomicU64,
}

/// Leave and a permit for one request.
#[derive(Debug)]
pub(super) struct Admission<'a> {
    /// To tell the gate how the request ended.
    pub pass: Pass<'a>,
    /// To be kept until then.
    pub permit: Permit<'a>,
}

/// A call that has no answer yet; over when this is dropped, whatever drops it.
pub(super) struct UnderWay<'a>(&'a Traffic);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Traffic {
    /// One of which nothing was asked yet.
    pub(super) fn new(operation: Operation, per_minute: NonZeroU32, timeout: Duration) -> Self {
        Self {
            quota: Quota::new(operation, per_minute, timeout),
            gate: Gate::default(),
            under_way: AtomicUsize::new(0),
            received: AtomicU64::new(0),
        }
    }

    /// A call begins.
    pub(super) fn begin(&self) -> UnderWay<'_> {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(self)
    }

    /// Leave and a permit for one request. The gate may have closed while this caller waited for its permit.
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

    /// An attempt ended, well or not.
    pub(super) fn end(&self, under_way: UnderWay<'_>) {
        drop(under_way);
        self.received.fetch_add(1, Ordering::Relaxed);
    }

    /// Calls that have no answer yet.
    pub(super) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    /// Attempts that ended.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}
