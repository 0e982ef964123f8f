//! Fetches the details of ids: a pool of workers, each id tried until it has an outcome.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{Instrument, field};

use super::in_flight::{InFlight, Slot};
use super::retry::{Failures, Next, Retries, WAITING};
use super::work::{Done, Item, Resolved};
use super::{Pipeline, SyncError};
use crate::model::{CvId, Fate, Lane, Outcome, ParkClass};
use crate::telemetry::{self, Throttle};
use crate::vdab::{Answer, ApiError, Detail, Operation};

static PARKED: Throttle = Throttle::new();

/// For each worker, the most CVs besides its own that wait before or behind it.
const ON_THEIR_WAY: usize = 4;

/// How long calls under way may still take once the run is asked to stop.
const GRACE: Duration = Duration::from_secs(5);

/// The resources that the CVs of a run share.
struct Stage<'a> {
    pipeline: &'a Pipeline,
    in_flight: &'a InFlight,
    lane: Lane,
    /// One permit for each CV on its way that has not failed.
    fresh: Arc<Semaphore>,
    retries: Retries,
}

/// Fetches until the lister is done, or the run is asked to stop.
pub(super) async fn run(
    pipeline: &Pipeline,
    lane: Lane,
    in_flight: &InFlight,
    mut work: Receiver<Item>,
    outcomes: Sender<Done>,
) -> Result<(), SyncError> {
    let all = pipeline.settings.workers;
    let on_their_way = all * (1 + ON_THEIR_WAY);
    let stage = &Stage {
        pipeline,
        lane,
        in_flight,
        fresh: Arc::new(Semaphore::new(on_their_way)),
        retries: Retries::new(all),
    };
    let outcomes = &outcomes;
    stream::poll_fn(move |context| work.poll_recv(context))
        .then(|item| async move {
            // Never closed.
            let permit = Arc::clone(&stage.fresh).acquire_owned().await;
            (item, permit.ok())
        })
        .take_until(pin!(pipeline.token.cancelled()))
        .map(Ok)
        .try_for_each_concurrent(on_their_way + WAITING, |(item, permit)| async move {
            let Some(resolved) = stage.fetch_in_time(item, permit).await? else {
                return Ok(());
            };
            let done = Done::Resolved(resolved);
            // A closed channel means that the writer failed, and its error ends the run.
            let _ = outcomes.send(done).await;
            Ok(())
        })
        .await
}

impl Stage<'_> {
    /// `None` if the run is asked to stop and no response arrives within [`GRACE`].
    async fn fetch_in_time(
        &self,
        item: Item,
        fresh: Option<OwnedSemaphorePermit>,
    ) -> Result<Option<Resolved>, SyncError> {
        let too_late = async {
            self.pipeline.token.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            resolved = self.fetch(item, fresh) => resolved,
            () = too_late => Ok(None),
        }
    }

    async fn fetch(
        &self,
        item: Item,
        mut fresh: Option<OwnedSemaphorePermit>,
    ) -> Result<Option<Resolved>, SyncError> {
        let mut failures = Failures::new(self.pipeline, &self.retries, &item);
        loop {
            let slot = self.in_flight.slot().await;
            let asked = Instant::now();
            let attempt = self.attempt(&item).await;
            self.pipeline.progress.of(self.lane).called();
            let error = match attempt {
                Ok(answer) => {
                    failures.release_turn();
                    return Ok(Some(self.resolve(item, answer, slot).await));
                }
                Err(error) => error,
            };
            drop(slot);
            match failures.after(error, asked, &mut fresh).await? {
                Next::Retry => {}
                Next::Park { class, wait } => return Ok(Some(self.park(item, asked, class, wait))),
                Next::Stop => return Ok(None),
            }
        }
    }

    async fn resolve(&self, item: Item, answer: Answer<Detail>, slot: Option<Slot>) -> Resolved {
        let fate = match answer.value {
            Detail::Live(document) => Fate::Live(item.id, document),
            Detail::Gone if self.pipeline.vdab.confirms_gone(Instant::now()).await => {
                Fate::Gone(item.id)
            }
            Detail::Gone => Fate::Unproven {
                id: item.id,
                listed_live: item.listed_live,
            },
        };
        resolved(item, answer.as_of, fate, slot)
    }

    fn park(&self, item: Item, asked: Instant, class: ParkClass, wait: Duration) -> Resolved {
        log_parked(item.id, class);
        let fate = Fate::Parked(item.id.to_string(), class, wait);
        let as_of = self.pipeline.vdab.time().at(asked);
        resolved(item, as_of, fate, None)
    }

    async fn attempt(&self, item: &Item) -> Result<Answer<Detail>, ApiError> {
        let _worker = self.pipeline.workers.take(self.lane).await;
        let vdab = &self.pipeline.vdab;
        let Some(parent) = &item.span else {
            return vdab.detail(item.id).await;
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
        let answer = vdab.detail(item.id).instrument(span.clone()).await;
        if let Err(error) = &answer {
            telemetry::failed(&span, error.class());
        }
        answer
    }
}

fn resolved(item: Item, as_of: DateTime<Utc>, fate: Fate, slot: Option<Slot>) -> Resolved {
    Resolved {
        outcome: Outcome {
            window: item.window,
            as_of,
            fate,
        },
        origin: item.origin,
        slot,
        span: item.span,
    }
}

fn log_parked(id: CvId, class: ParkClass) {
    if let Some(total) = PARKED.due(class.as_str(), 1) {
        tracing::warn!(
            cv.id = %id,
            error.class = class.as_str(),
            total,
            "parked a CV, to retry it later; see `cvsync parked list`"
        );
    }
}
