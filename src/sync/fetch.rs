//! Ids, to outcomes: a pool of workers, each id tried until it has an outcome.
//!
//! A CV that failed waits for its next attempt apart, and retries take a bounded share of the workers: the others flow on.
//!
//! A CV that fails by itself while others succeed is parked. While the source fails on everything nothing is: the gate
//! holds the workers, or the run ends.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tracing::{Instrument, field};

use super::hand::{Hand, Place};
use super::{Done, End, Item, Pipeline, SyncError, Work};
use crate::model::{CvId, Fate, Outcome, ParkClass};
use crate::pauses::Pauses;
use crate::telemetry::{self, RetriedStage, Throttle};
use crate::vdab::{ApiError, Detail, Operation, Remedy};

static PARKED: Throttle = Throttle::new();

/// For each worker so many more CVs may be on their way to or from it.
const ON_THEIR_WAY: usize = 4;

/// The most CVs that failed by themselves and wait for their next attempt. One more is parked at its first failure.
pub(super) const WAITING: usize = 1_000;

/// Retries take one worker in so many: CVs that fail again and again hold up nobody else.
const RETRYING: usize = 4;

/// So often the gate may close for one CV while others succeed; then it is the CV.
const REFUSALS: u32 = 8;

/// So often a CV is tried once more for which VDAB gives an answer that would close the gate, if it were not for this CV
/// alone.
const ALONE: u32 = 2;

/// How long a parked CV, or one that is asked for by hand, is tried.
const RETRY_BRIEFLY: Duration = Duration::from_secs(10);

/// How long what is under way may still take once the run is asked to stop.
const GRACE: Duration = Duration::from_secs(5);

/// How often a CV whose time is over looks whether it is still the source that fails.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Everything that the CVs of a run share.
struct Stage<'a> {
    pipeline: &'a Pipeline,
    hand: &'a Hand,
    workers: &'a Semaphore,
    /// One permit for each CV on its way that waits for no retry.
    first: Arc<Semaphore>,
    /// One for each CV that waits for a retry, or is at it.
    waiting: Semaphore,
    /// One for each retry under way.
    retries: Semaphore,
}

/// Fetches until the lister is done, or this run is asked to stop.
pub(super) async fn run(
    pipeline: &Pipeline,
    hand: &Hand,
    workers: &Semaphore,
    mut work: Receiver<Work>,
    outcomes: Sender<Done>,
) -> Result<(), SyncError> {
    let all = pipeline.settings.workers;
    let on_their_way = all * (1 + ON_THEIR_WAY);
    let stage = &Stage {
        pipeline,
        hand,
        workers,
        first: Arc::new(Semaphore::new(on_their_way)),
        waiting: Semaphore::new(WAITING),
        retries: Semaphore::new((all / RETRYING).max(1)),
    };
    let outcomes = &outcomes;
    stream::poll_fn(move |context| work.poll_recv(context))
        .then(|work| async move {
            // Never closed.
            let permit = Arc::clone(&stage.first).acquire_owned().await;
            (work, permit.ok())
        })
        .take_until(pin!(pipeline.token.cancelled()))
        .map(Ok)
        .try_for_each_concurrent(on_their_way + WAITING, |(work, permit)| async move {
            let (end, place, span) = match work {
                Work::Listed(listed) => (End::Listed(listed), None, None),
                Work::Known(outcome, first_listed) => {
                    (End::Outcome(outcome, first_listed), None, None)
                }
                Work::Fetch(item) => {
                    let Some((outcome, place)) = stage.fetch_in_time(&item, permit).await? else {
                        return Ok(());
                    };
                    (End::Outcome(outcome, item.first_listed), place, item.span)
                }
            };
            // A closed channel means that the writer failed, and its error ends the run.
            let _ = outcomes.send(Done { end, place, span }).await;
            Ok(())
        })
        .await
}

impl Stage<'_> {
    /// `None` if the run is asked to stop and the answer does not come within the grace.
    async fn fetch_in_time(
        &self,
        item: &Item,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<Option<(Outcome, Option<Place>)>, SyncError> {
        let too_late = async {
            self.pipeline.token.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            outcome = self.fetch(item, permit) => outcome,
            () = too_late => Ok(None),
        }
    }

    async fn fetch(
        &self,
        item: &Item,
        mut first: Option<OwnedSemaphorePermit>,
    ) -> Result<Option<(Outcome, Option<Place>)>, SyncError> {
        let Self { pipeline, hand, .. } = self;
        let vdab = &pipeline.vdab;
        let outcome = |place, as_of, fate| {
            let outcome = Outcome {
                window: item.window,
                as_of,
                fate,
            };
            Ok(Some((outcome, place)))
        };
        let park = |asked: Instant, class: ParkClass, wait: Duration| {
            tell_of_parked(item.id, class);
            let fate = Fate::Parked(item.id.to_string(), class, wait);
            outcome(None, vdab.time().at(asked), fate)
        };
        // A CV that no window waits for has failed before, or a person waits for it.
        let retry_for = match item.window {
            Some(_) => pipeline.settings.retry_max_elapsed,
            None => pipeline.settings.retry_max_elapsed.min(RETRY_BRIEFLY),
        };
        let mut pauses = Pauses::for_one_request();
        let mut failing_since = None;
        let mut first_failure = None;
        let mut refusals = 0;
        let mut alone = 0;
        let mut waiting = None;
        let mut retry = None;
        loop {
            let place = hand.place().await;
            let asked = Instant::now();
            let error = match attempt(pipeline, self.workers, item).await {
                Ok(answer) => {
                    drop(retry);
                    let fate = match answer.value {
                        Detail::Live(document) => Fate::Live(item.id, document),
                        Detail::Gone if vdab.confirms_gone(Instant::now()).await => {
                            Fate::Gone(item.id)
                        }
                        Detail::Gone => Fate::Unproven {
                            id: item.id,
                            listed_live: item.listed_live,
                        },
                    };
                    return outcome(place, answer.as_of, fate);
                }
                Err(error) => error,
            };
            drop(place);
            let failed = Instant::now();
            pipeline.metrics.retry(RetriedStage::Fetch, error.class());
            let class = match error.remedy() {
                Remedy::WaitForGate => {
                    // The gate opens again and again, and each time it is this CV that closes it.
                    let others_succeed = vdab.detail_healthy_since(asked);
                    refusals += u32::from(others_succeed || refusals == 0);
                    if refusals > REFUSALS {
                        return park(asked, ParkClass::Refused, Duration::ZERO);
                    }
                    continue;
                }
                Remedy::Park(class) => return park(asked, class, Duration::ZERO),
                Remedy::Stop => return Err(SyncError::Fetch(error)),
                Remedy::Retry(class) => class,
            };
            let since = *failing_since.get_or_insert(asked);
            // Before it there may have been a long wait for the gate or the quota, in which nothing was tried.
            let first_failure = *first_failure.get_or_insert(failed);
            let mut pause = pauses.next_pause();
            if let Some(wait) = error.wait_alone() {
                alone += 1;
                pause = pause.max(wait);
                if alone > ALONE || first_failure.elapsed() + wait > retry_for {
                    return park(asked, class, wait);
                }
            }
            // Whoever comes next takes its turn among those that have not failed.
            drop(retry.take());
            waiting = waiting.or_else(|| self.waiting.try_acquire().ok());
            let crowded = waiting.is_none();
            if crowded || since.elapsed() >= retry_for {
                // Is it this CV that fails, or the source?
                if !(vdab.detail_healthy_since(since) || vdab.answers().await) {
                    return Err(SyncError::Fetch(error));
                }
                if crowded || first_failure.elapsed() >= retry_for {
                    return park(asked, class, Duration::ZERO);
                }
            }
            drop(first.take());
            let turn = async {
                tokio::time::sleep(pause).await;
                self.turn(first_failure + retry_for, failed).await
            };
            retry = tokio::select! {
                turn = turn => match turn {
                    None => return park(asked, class, Duration::ZERO),
                    turn => turn,
                },
                () = pipeline.token.cancelled() => return Ok(None),
            };
        }
    }

    /// Waits for a turn among the retries. `None` once it is later than `until`, if the source has answered for others since
    /// this CV `failed`: nobody knows when its turn would come.
    async fn turn(&self, until: Instant, failed: Instant) -> Option<SemaphorePermit<'_>> {
        let vdab = &self.pipeline.vdab;
        let mut turn = pin!(self.retries.acquire());
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

fn tell_of_parked(id: CvId, class: ParkClass) {
    if let Some(total) = PARKED.due(class.as_str(), 1) {
        tracing::warn!(
            cv.id = %id,
            error.class = class.as_str(),
            total,
            "parked a CV, to retry it later; see `cvsync parked list`"
        );
    }
}

async fn attempt(
    pipeline: &Pipeline,
    workers: &Semaphore,
    item: &Item,
) -> Result<crate::vdab::Answer<Detail>, ApiError> {
    // Never closed.
    let _worker = workers.acquire().await;
    let Some(parent) = &item.span else {
        return pipeline.vdab.detail(item.id).await;
    };
    let template = Operation::Detail.properties().template;
    let span = tracing::debug_span!(
        parent: parent,
        "request",
        otel.name = format!("GET {template}"),
        otel.kind = "client",
        http.request.method = "GET",
        url.template = template,
        error.type = field::Empty,
        otel.status_code = field::Empty,
    );
    let answer = pipeline.vdab.detail(item.id).instrument(span.clone()).await;
    if let Err(error) = &answer {
        telemetry::failed(&span, error.class());
    }
    answer
}
