//! Batches, to PostgreSQL: one transaction each, then the windows that are settled by it, and the watermark.

use std::time::{Duration, Instant};

use sqlx::PgConnection;
use tokio::sync::mpsc::Receiver;
use tracing::{Instrument, Span, field};

use super::hand::Hand;
use super::settle::{Settled, Settlement};
use super::{Done, End, Pipeline, Summary, SyncError};
use crate::model::{Fate, Outcome, ParkClass, Tally};
use crate::store::apply::apply;
use crate::store::{Applied, Remedy, StoreError, held_delete, sync_window, watermark};
use crate::telemetry::{self, ChangeKind, Throttle, WindowOutcome};

static UNSTORABLE: Throttle = Throttle::new();
static HELD: Throttle = Throttle::new();

/// Writes until the last batch has come.
pub(super) async fn run(
    pipeline: &Pipeline,
    hand: &Hand,
    mut batches: Receiver<Vec<Done>>,
) -> Result<Summary, SyncError> {
    let mut settlement = Settlement::default();
    let mut summary = Summary::default();
    while let Some(batch) = batches.recv().await {
        let (mut outcomes, mut first_listed) = (Vec::new(), Vec::new());
        let (mut places, mut spans) = (Vec::new(), Vec::new());
        for Done { end, place, span } in batch {
            places.extend(place);
            spans.extend(span);
            match end {
                End::Listed(listed) => settlement.listed(listed),
                End::Outcome(outcome, at) => {
                    outcomes.push(outcome);
                    first_listed.push(at);
                }
            }
        }
        let applied = write_traced(pipeline, &mut outcomes, &spans).await?;
        hand.written(places.len());
        drop(places);
        for ((outcome, end), first_listed) in outcomes.iter().zip(&applied).zip(&first_listed) {
            if let Some(seq) = outcome.window {
                settlement.done(seq, *end);
            } else {
                summary.tally.listed += 1;
                end.count_in(&mut summary.tally);
            }
            observe_delay(pipeline, *end, *first_listed);
        }
        let mut tally = Tally::default();
        for end in &applied {
            end.count_in(&mut tally);
        }
        if pipeline.store.is_dry() {
            rehearse(pipeline, &applied);
        } else {
            tell_of_held(pipeline, &applied).await?;
        }
        pipeline.progress.done(tally);
        finish(pipeline, settlement.take_settled(), &mut summary).await?;
    }
    Ok(summary)
}

fn number(applied: &[Applied], wanted: Applied) -> u64 {
    applied.iter().filter(|end| **end == wanted).count() as u64
}

/// Keeps count for the brake of what a dry run rolls back.
fn rehearse(pipeline: &Pipeline, applied: &[Applied]) {
    pipeline.rehearsed.send_modify(|load| {
        load.done += number(applied, Applied::Deleted);
        load.held += number(applied, Applied::Held);
    });
}

/// Tells once a minute at most that deletes are held.
async fn tell_of_held(pipeline: &Pipeline, applied: &[Applied]) -> Result<(), SyncError> {
    let braked = number(applied, Applied::Held);
    if braked > 0 {
        let is_due = HELD.due("brake", braked).is_some();
        // A person may have decided about those that were held before. Then this is a new trouble.
        let held = pipeline
            .read("counting held deletes", held_delete::count_braked)
            .await?;
        if is_due || u64::try_from(held) == Ok(braked) {
            tracing::error!(
                held,
                "the delete brake holds deletes back: list them with `cvsync deletes list`, then approve or discard them"
            );
        }
    }
    let unproven = number(applied, Applied::Unproven);
    if unproven > 0
        && let Some(total) = HELD.due("unproven", unproven)
    {
        tracing::warn!(
            total,
            "VDAB calls CVs gone, but answers for none that is known to be live: cvsync holds their deletes and asks again later; \
             see `cvsync deletes list`"
        );
    }
    Ok(())
}

/// One batch has CVs of many windows: it says with which of the traced ones it has to do.
async fn write_traced(
    pipeline: &Pipeline,
    outcomes: &mut [Outcome],
    cvs: &[Span],
) -> Result<Vec<Applied>, SyncError> {
    let span = tracing::debug_span!(
        "batch",
        otel.kind = "client",
        batch.size = outcomes.len(),
        db.system.name = "postgresql",
        error.type = field::Empty,
        otel.status_code = field::Empty,
    );
    for cv in cvs {
        telemetry::link(&span, cv);
    }
    let written = write(pipeline, outcomes).instrument(span.clone()).await;
    written.inspect_err(|error| telemetry::failed(&span, error.class()))
}

/// Writes all of `outcomes`. One that PostgreSQL refuses is found by halving, and parked; the rest is written.
async fn write(pipeline: &Pipeline, outcomes: &mut [Outcome]) -> Result<Vec<Applied>, SyncError> {
    if outcomes.is_empty() {
        return Ok(Vec::new());
    }
    pipeline.note_doubt(outcomes).await?;
    let latest = pipeline.vdab.time().latest_now();
    let brake = pipeline.brake.after(*pipeline.rehearsed.borrow());
    let apply = async |outcomes: &[Outcome]| {
        let apply = async |tx: &mut PgConnection| apply(tx, outcomes, brake, latest).await;
        pipeline.write("writing a batch", apply).await
    };
    let error = match apply(outcomes).await {
        Err(SyncError::Store { error, .. }) if error.remedy() == Remedy::Isolate => error,
        written => return written,
    };
    if let [outcome] = outcomes {
        set_aside(outcome, &error);
        return apply(std::slice::from_ref(outcome)).await;
    }
    let (first, second) = outcomes.split_at_mut(outcomes.len() / 2);
    let mut applied = Box::pin(write(pipeline, first)).await?;
    applied.extend(Box::pin(write(pipeline, second)).await?);
    Ok(applied)
}

/// Makes of an outcome that PostgreSQL refuses one that it takes: the CV is parked. One that is parked already stays as it is, and its
/// error is the run's.
fn set_aside(outcome: &mut Outcome, error: &StoreError) {
    let (Fate::Live(id, _) | Fate::Gone(id) | Fate::Unproven { id, .. }) = &outcome.fate else {
        return;
    };
    if let Some(total) = UNSTORABLE.due("", 1) {
        tracing::warn!(
            cv.id = %id,
            total,
            "{error}, so cvsync parked its CV; see `cvsync parked list`"
        );
    }
    outcome.fate = Fate::Parked(id.to_string(), ParkClass::Unstorable, Duration::ZERO);
}

/// Writes down which windows are settled, and moves the watermark; here, and only here.
async fn finish(
    pipeline: &Pipeline,
    settled: Vec<Settled>,
    summary: &mut Summary,
) -> Result<(), SyncError> {
    let fresh = || {
        let fresh = settled.iter().map(|window| window.listed.planned);
        fresh
            .filter(|planned| planned.fresh)
            .map(|planned| planned.window)
    };
    let reached = fresh().map(|window| window.tot()).max();
    let from = fresh().map(|window| window.van()).min();
    if settled.is_empty() {
        return Ok(());
    }
    let moved = pipeline
        .write("settling a window", async |tx| {
            for window in &settled {
                if let Some(row) = window.listed.row {
                    sync_window::settle(tx, row, &window.tally).await?;
                }
            }
            match (from, reached) {
                (Some(from), Some(to)) => watermark::advance(tx, from, to).await,
                _ => Ok(false),
            }
        })
        .await?;
    for Settled { listed, tally } in settled {
        tracing::debug!(
            window.van = %listed.planned.window.van(),
            window.tot = %listed.planned.window.tot(),
            listed = tally.listed,
            "window settled"
        );
        let outcome = if listed.planned.fresh {
            WindowOutcome::Settled
        } else {
            WindowOutcome::Relisted
        };
        pipeline.metrics.window_ended(outcome, 1);
        pipeline.metrics.window_took(listed.started.elapsed());
        for (status, ids) in listed.labels.counts() {
            pipeline.metrics.listed(status, ids);
        }
        pipeline.metrics.tally(&tally);
        pipeline.progress.settled(1);
        summary.windows += 1;
        summary.tally += tally;
    }
    let reached = reached.filter(|_| moved);
    summary.watermark = reached.or(summary.watermark);
    if let Some(position) = reached {
        pipeline.watermark.send_replace(Some(position));
    }
    Ok(())
}

fn observe_delay(pipeline: &Pipeline, end: Applied, first_listed: Instant) {
    match end {
        Applied::Inserted | Applied::Updated => {
            pipeline
                .metrics
                .applied(ChangeKind::Upsert, first_listed.elapsed());
        }
        Applied::Deleted => pipeline
            .metrics
            .applied(ChangeKind::Delete, first_listed.elapsed()),
        Applied::Unchanged
        | Applied::Superseded
        | Applied::Parked
        | Applied::Held
        | Applied::Unproven => {}
    }
}
