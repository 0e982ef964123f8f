//! Ids, to outcomes: a pool of workers, each id tried until it has an outcome.
//!
//! A CV that fails by itself while others succeed is parked. While the source fails on everything nothing is: the gate
//! holds the workers, or the run ends.

use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{Receiver, Sender};
use tracing::{Instrument, field};

use super::hand::{Hand, Place};
use super::{Done, End, Item, Pipeline, SyncError, Work};
use crate::model::{Fate, Outcome, ParkClass};
use crate::telemetry;
use crate::vdab::{ApiError, Detail, Pauses, Remedy};

/// For each worker so many more CVs may wait for their next attempt without holding it.
pub(super) const WAITING_PER_WORKER: usize = 4;

/// So often the gate may close for one CV while others succeed; then it is the CV.
const REFUSALS: u32 = 8;

/// How long a parked CV, or one that is asked for by hand, is tried.
const RETRY_BRIEFLY: Duration = Duration::from_secs(10);

/// How long what is under way may still take once the run is asked to stop.
const GRACE: Duration = Duration::from_secs(5);

/// Fetches until the lister is done, or this run is asked to stop.
pub async fn run(
    pipeline: &Pipeline,
    hand: &Hand,
    workers: &Semaphore,
    mut work: Receiver<Work>,
    outcomes: Sender<Done>,
) -> Result<(), SyncError> {
    let at_once = pipeline.settings.workers * (1 + WAITING_PER_WORKER);
    let outcomes = &outcomes;
    stream::poll_fn(move |context| work.poll_recv(context))
        .take_until(pin!(pipeline.token.cancelled()))
        .map(Ok)
        .try_for_each_concurrent(at_once, |work| async move {
            let (end, place, span) = match work {
                Work::Listed(listed) => (End::Listed(listed), None, None),
                Work::Known(outcome, first_listed) => {
                    (End::Outcome(outcome, first_listed), None, None)
                }
                Work::Fetch(item) => {
                    let Some((outcome, place)) =
                        fetch_in_time(pipeline, hand, workers, &item).await?
                    else {
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

/// `None` if the run is asked to stop and the answer does not come within the grace.
async fn fetch_in_time(
    pipeline: &Pipeline,
    hand: &Hand,
    workers: &Semaphore,
    item: &Item,
) -> Result<Option<(Outcome, Option<Place>)>, SyncError> {
    let too_late = async {
        pipeline.token.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        outcome = fetch(pipeline, hand, workers, item) => outcome,
        () = too_late => Ok(None),
    }
}

async fn fetch(
    pipeline: &Pipeline,
    hand: &Hand,
    workers: &Semaphore,
    item: &Item,
) -> Result<Option<(Outcome, Option<Place>)>, SyncError> {
    let outcome = |place, as_of, fate| {
        let outcome = Outcome {
            window: item.window,
            as_of,
            fate,
        };
        Ok(Some((outcome, place)))
    };
    let park = |asked: Instant, class: ParkClass| {
        tracing::warn!(cv.id = %item.id, error.class = class.as_str(), "parked; it is tried again later");
        outcome(
            None,
            pipeline.vdab.time().at(asked),
            Fate::Parked(item.id.to_string(), class),
        )
    };
    // What no window waits for has failed before, or a person waits for it.
    let retry_for = match item.window {
        Some(_) => pipeline.settings.retry_max_elapsed,
        None => pipeline.settings.retry_max_elapsed.min(RETRY_BRIEFLY),
    };
    let mut pauses = Pauses::for_one_request();
    let mut failing_since = None;
    let mut first_failure = None;
    let mut refusals = 0;
    loop {
        let place = hand.place().await;
        let asked = Instant::now();
        let error = match attempt(pipeline, workers, item).await {
            Ok(answer) => {
                let fate = match answer.value {
                    Detail::Live(document) => Fate::Live(item.id, document),
                    Detail::Gone if pipeline.vdab.confirms_gone(Instant::now()).await => {
                        Fate::Gone(item.id)
                    }
                    Detail::Gone => Fate::Unproven(item.id),
                };
                return outcome(place, answer.as_of, fate);
            }
            Err(error) => error,
        };
        drop(place);
        pipeline.metrics.retry("fetch", error.class());
        match error.remedy() {
            Remedy::WaitForGate => {
                // The gate opens again and again, and each time it is this CV that closes it.
                let others_succeed = pipeline.vdab.detail_healthy_since(asked);
                refusals += u32::from(others_succeed || refusals == 0);
                if refusals > REFUSALS {
                    return park(asked, ParkClass::Refused);
                }
            }
            Remedy::Park(class) => return park(asked, class),
            Remedy::Stop => return Err(SyncError::Fetch(error)),
            Remedy::Retry(class) => {
                let since = *failing_since.get_or_insert(asked);
                // Before it there may have been a long wait for the gate or the quota, in which nothing was tried.
                let first_failure = *first_failure.get_or_insert_with(Instant::now);
                if since.elapsed() >= retry_for {
                    // Is it this CV that fails, or the source?
                    let others_succeed =
                        pipeline.vdab.detail_healthy_since(since) || pipeline.vdab.answers().await;
                    if !others_succeed {
                        return Err(SyncError::Fetch(error));
                    }
                    if first_failure.elapsed() >= retry_for {
                        return park(asked, class);
                    }
                }
                let pause = tokio::time::sleep(pauses.next_pause());
                tokio::select! {
                    () = pause => {}
                    () = pipeline.token.cancelled() => return Ok(None),
                }
            }
        }
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
    let span = tracing::debug_span!(
        parent: parent,
        "request",
        otel.name = "GET /kandidaten/{id}",
        otel.kind = "client",
        http.request.method = "GET",
        url.template = "/kandidaten/{id}",
        error.type = field::Empty,
        otel.status_code = field::Empty,
    );
    let answer = pipeline.vdab.detail(item.id).instrument(span.clone()).await;
    if let Err(error) = &answer {
        telemetry::failed(&span, error.class());
    }
    answer
}
