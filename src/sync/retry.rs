//! Retries a CV that failed until it succeeds, is parked, or the run ends.
//!
//! A failed CV waits apart for its next attempt, and retries take a bounded share of the workers, so that other CVs flow on.
//!
//! A CV that fails by itself while others succeed is parked. While VDAB fails for every CV, none is parked: the gate holds the
//! workers, or the run ends.

use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use super::work::Item;
use super::{Pipeline, SyncError};
use crate::model::ParkClass;
use crate::pauses::Pauses;
use crate::telemetry::RetriedStage;
use crate::vdab::{ApiError, Remedy};

/// The most failed CVs that wait for a retry. One more is parked at its first failure.
pub(super) const WAITING: usize = 1_000;

/// One worker in this many may retry: CVs that fail repeatedly hold up no others.
const RETRYING: usize = 4;

/// The most times that the gate closes for one CV while others succeed. After that, the CV is the cause.
const REFUSALS: u32 = 8;

/// The most retries of a CV for which VDAB alone sends a response that would close the gate.
const ALONE: u32 = 2;

/// How long a CV is retried that no window lists.
const RETRY_BRIEFLY: Duration = Duration::from_secs(10);

/// How often a CV whose time is over checks whether it is still the source that fails.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The limits that all retries of a run share.
pub(super) struct Retries {
    /// One permit for each CV that waits for a retry, or is retried.
    waiting: Semaphore,
    /// One permit for each retry under way.
    turns: Semaphore,
}

impl Retries {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            waiting: Semaphore::new(WAITING),
            turns: Semaphore::new((workers / RETRYING).max(1)),
        }
    }
}

/// How to go on after a failed attempt.
pub(super) enum Next {
    Retry,
    /// Park the CV, and retry it no earlier than after `wait`.
    Park {
        class: ParkClass,
        wait: Duration,
    },
    /// The run is asked to stop.
    Stop,
}

impl Next {
    fn park(class: ParkClass) -> Self {
        Self::Park {
            class,
            wait: Duration::ZERO,
        }
    }
}

/// The failed attempts at one CV.
pub(super) struct Failures<'a> {
    pipeline: &'a Pipeline,
    retries: &'a Retries,
    /// How long the CV is retried.
    limit: Duration,
    pauses: Pauses,
    /// When the first attempt that failed began.
    since: Option<Instant>,
    /// When it failed. Before that it may have waited long for the gate or the quota.
    first: Option<Instant>,
    /// Failures that closed the gate while others succeeded.
    refusals: u32,
    /// Failures of this CV alone.
    alone: u32,
    waiting: Option<SemaphorePermit<'a>>,
    turn: Option<SemaphorePermit<'a>>,
}

impl<'a> Failures<'a> {
    pub(super) fn new(pipeline: &'a Pipeline, retries: &'a Retries, item: &Item) -> Self {
        let limit = pipeline.settings.retry_max_elapsed;
        Self {
            pipeline,
            retries,
            // If no window waits for the CV, it has failed before, or a person waits for it.
            limit: match item.window {
                Some(_) => limit,
                None => limit.min(RETRY_BRIEFLY),
            },
            pauses: Pauses::for_one_request(),
            since: None,
            first: None,
            refusals: 0,
            alone: 0,
            waiting: None,
            turn: None,
        }
    }

    /// Waits as long as needed after an attempt, begun at `asked`, that failed with `error`. `fresh` is the permit of a CV that
    /// has not failed: it is released before the wait for a retry.
    ///
    /// # Errors
    /// If VDAB fails for every CV.
    pub(super) async fn after(
        &mut self,
        error: ApiError,
        asked: Instant,
        fresh: &mut Option<OwnedSemaphorePermit>,
    ) -> Result<Next, SyncError> {
        let failed = Instant::now();
        let metrics = &self.pipeline.metrics;
        metrics.retry(RetriedStage::Fetch, error.class());
        match error.remedy() {
            Remedy::WaitForGate => Ok(self.after_refusal(asked)),
            Remedy::Park(class) => Ok(Next::park(class)),
            Remedy::Stop => Err(SyncError::Fetch(error)),
            Remedy::Retry(class) => {
                let first = *self.first.get_or_insert(failed);
                let since = *self.since.get_or_insert(asked);
                let mut pause = self.pauses.next_pause();
                if let Some(wait) = error.wait_alone() {
                    self.alone += 1;
                    pause = pause.max(wait);
                    if self.alone > ALONE || first.elapsed() + wait > self.limit {
                        return Ok(Next::Park { class, wait });
                    }
                }
                if self.is_over(since, first, error).await? {
                    return Ok(Next::park(class));
                }
                drop(fresh.take());
                Ok(self.wait(pause, first + self.limit, failed, class).await)
            }
        }
    }

    /// Gives the turn among the retries to the next CV.
    pub(super) fn release_turn(&mut self) {
        self.turn = None;
    }

    fn after_refusal(&mut self, asked: Instant) -> Next {
        // The gate opens again and again, and each time it is this CV that closes it.
        let others_succeed = self.pipeline.vdab.detail_healthy_since(asked);
        self.refusals += u32::from(others_succeed || self.refusals == 0);
        if self.refusals > REFUSALS {
            Next::park(ParkClass::Refused)
        } else {
            Next::Retry
        }
    }

    /// Whether the CV has failed for too long, or too many others wait for a retry.
    ///
    /// # Errors
    /// If it is VDAB that fails, and not this CV.
    async fn is_over(
        &mut self,
        since: Instant,
        first: Instant,
        error: ApiError,
    ) -> Result<bool, SyncError> {
        self.release_turn();
        if self.waiting.is_none() {
            self.waiting = self.retries.waiting.try_acquire().ok();
        }
        let crowded = self.waiting.is_none();
        if !crowded && since.elapsed() < self.limit {
            return Ok(false);
        }
        let vdab = &self.pipeline.vdab;
        if !(vdab.detail_healthy_since(since) || vdab.answers().await) {
            return Err(SyncError::Fetch(error));
        }
        Ok(crowded || first.elapsed() >= self.limit)
    }

    async fn wait(
        &mut self,
        pause: Duration,
        until: Instant,
        failed: Instant,
        class: ParkClass,
    ) -> Next {
        let turn = async {
            tokio::time::sleep(pause).await;
            self.next_turn(until, failed).await
        };
        let turn = tokio::select! {
            turn = turn => turn,
            () = self.pipeline.token.cancelled() => return Next::Stop,
        };
        if turn.is_none() {
            return Next::park(class);
        }
        self.turn = turn;
        Next::Retry
    }

    /// Waits for a turn among the retries.
    ///
    /// After `until` it returns `None` once VDAB has answered for others since this CV `failed`: its turn may be far off.
    async fn next_turn(&self, until: Instant, failed: Instant) -> Option<SemaphorePermit<'a>> {
        let vdab = &self.pipeline.vdab;
        let mut turn = pin!(self.retries.turns.acquire());
        loop {
            let look = until.max(Instant::now() + LOOK_AGAIN);
            tokio::select! {
                turn = &mut turn => return turn.ok(),
                () = tokio::time::sleep_until(look.into()) => {
                    if vdab.details_are_open() && vdab.detail_healthy_since(failed) {
                        return None;
                    }
                }
            }
        }
    }
}
