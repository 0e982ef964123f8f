//! The stages of a run as one future: list, fetch, batch and write, connected by bounded channels.

use std::sync::Arc;

use tokio::sync::mpsc;
use tracing::Span;

use super::dispatch::{Dispatcher, Yields};
use super::first_stage::list;
use super::in_flight::InFlight;
use super::request::Task;
use super::summary::Summary;
use super::work::Terms;
use super::{Pipeline, SyncError, batch, fetch, watchdog, write};
use crate::telemetry::{self, WindowOutcome};

/// The most outcomes that wait to be batched. Batches are bounded separately.
const OUTCOMES: usize = 16;

/// The result of a part of a run.
pub(super) struct Piped {
    /// The rest of the task.
    pub(super) rest: Option<Task>,
    /// Whether the rest must wait for VDAB.
    pub(super) is_held: bool,
    pub(super) summary: Summary,
}

/// Carries out `task` until it is done or `yields` stops it, under the eyes of the watchdog.
pub(super) async fn run(
    pipeline: &Pipeline,
    terms: Terms,
    task: Task,
    yields: Yields<'_>,
) -> Result<Piped, SyncError> {
    let piped = tokio::select! {
        piped = Box::pin(pipe(pipeline, terms, task, yields)) => piped,
        stalled = watchdog::watch(pipeline, terms.lane) => Err(stalled),
    };
    piped.inspect_err(|error| {
        pipeline.metrics.window_ended(WindowOutcome::Failed, 1);
        telemetry::failed(&Span::current(), error.class());
    })
}

/// If a stage fails, the others are dropped with it, and the open transaction rolls back.
async fn pipe(
    pipeline: &Pipeline,
    terms: Terms,
    task: Task,
    yields: Yields<'_>,
) -> Result<Piped, SyncError> {
    let Terms { lane, .. } = terms;
    let settings = &pipeline.settings;
    let per_minute = pipeline.vdab.per_minute();
    let mut capacity = settings.channel_capacity;
    if yields.is_some() {
        // A run that yields first finishes the ids that are on their way.
        let per_minute = usize::try_from(per_minute).unwrap_or(usize::MAX);
        capacity = capacity.min(per_minute / 4).max(1);
    }
    let (work, waiting_work) = mpsc::channel(capacity);
    let (outcomes, waiting_outcomes) = mpsc::channel(OUTCOMES);
    let (batches, waiting_batches) = mpsc::channel(1);
    let in_flight = Arc::new(InFlight::new(settings.workers, per_minute));
    pipeline.queues.watch(lane, &work, &outcomes, &in_flight);
    let dispatcher = Dispatcher {
        pipeline,
        lane,
        work,
        outcomes: outcomes.clone(),
        yields,
    };
    let list = async {
        tokio::select! {
            listed = list(dispatcher, task, terms.retries) => listed,
            () = pipeline.token.cancelled() => Ok((None, false)),
        }
    };
    let ((rest, is_held), (), (), summary) = tokio::try_join!(
        list,
        fetch::run(pipeline, lane, &in_flight, waiting_work, outcomes),
        async {
            batch::run(&in_flight, waiting_outcomes, batches).await;
            Ok(())
        },
        write::run(pipeline, terms, &in_flight, waiting_batches),
    )?;
    Ok(Piped {
        rest,
        is_held,
        summary,
    })
}
