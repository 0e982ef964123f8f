//! Writes batches to PostgreSQL: one transaction for each, then the windows that it settles, and the watermark.

use std::time::Duration;

use sqlx::PgConnection;
use tokio::sync::mpsc::Receiver;
use tracing::{Instrument, field};

use super::in_flight::InFlight;
use super::plan::Planned;
use super::settle::{Settled, Settlement};
use super::work::{Done, Origin, Resolved, Terms};
use super::{Pipeline, Summary, SyncError};
use crate::model::{Fate, Lane, ParkClass, Tally};
use crate::store::apply::apply;
use crate::store::{Applied, Remedy, StoreError, coverage, held_delete, sync_window};
use crate::telemetry::{self, ChangeKind, Throttle, WindowOutcome};

static UNSTORABLE: Throttle = Throttle::new();
static HELD: Throttle = Throttle::new();

/// Writes until the last batch has come.
pub(super) async fn run(
    pipeline: &Pipeline,
    terms: Terms,
    in_flight: &InFlight,
    mut batches: Receiver<Vec<Done>>,
) -> Result<Summary, SyncError> {
    let mut settlement = Settlement::default();
    let mut summary = Summary::default();
    while let Some(batch) = batches.recv().await {
        let mut batch = resolved(batch, &mut settlement);
        let results = write_traced(pipeline, &mut batch).await?;
        let mut tally = Tally::default();
        for (resolved, result) in batch.iter().zip(&results) {
            result.count_in(&mut tally);
            if let Some(seq) = resolved.outcome.window {
                settlement.applied(seq, *result);
            } else {
                summary.tally.listed += 1;
                result.count_in(&mut summary.tally);
            }
            observe_delay(pipeline, *result, resolved.origin);
        }
        let slots = batch.iter().filter(|resolved| resolved.slot.is_some());
        in_flight.committed(slots.count());
        drop(batch);
        if pipeline.store.is_dry() {
            rehearse(pipeline, &results);
        } else {
            log_held(pipeline, &results).await?;
        }
        pipeline.progress.of(terms.lane).done(tally);
        finish(pipeline, terms, settlement.take_settled(), &mut summary).await?;
    }
    Ok(summary)
}

/// The CVs of a batch. The settlement takes note of the windows in it.
fn resolved(batch: Vec<Done>, settlement: &mut Settlement) -> Vec<Resolved> {
    let mut cvs = Vec::with_capacity(batch.len());
    for done in batch {
        match done {
            Done::Listed(listed) => settlement.listed(listed),
            Done::Resolved(resolved) => cvs.push(resolved),
        }
    }
    cvs
}

fn number(results: &[Applied], wanted: Applied) -> u64 {
    results.iter().filter(|result| **result == wanted).count() as u64
}

/// Counts the deletes that a dry run rolls back, for the brake.
fn rehearse(pipeline: &Pipeline, results: &[Applied]) {
    pipeline.rehearsed.send_modify(|load| {
        load.done += number(results, Applied::Deleted) + number(results, Applied::Filtered);
        load.held += number(results, Applied::Held);
    });
}

/// Logs held deletes, at most once a minute.
async fn log_held(pipeline: &Pipeline, results: &[Applied]) -> Result<(), SyncError> {
    let braked = number(results, Applied::Held);
    if braked > 0 {
        let is_due = HELD.due("brake", braked).is_some();
        // If a person has decided about all earlier ones, these are new and are logged at once.
        let held = pipeline
            .read("counting held deletes", held_delete::count_braked)
            .await?;
        if is_due || u64::try_from(held) == Ok(braked) {
            tracing::error!(
                held,
                "the delete brake holds deletes: list them with `cvsync deletes list`, then approve or discard them"
            );
        }
    }
    let unproven = number(results, Applied::Unproven);
    if unproven > 0
        && let Some(total) = HELD.due("unproven", unproven)
    {
        tracing::warn!(
            total,
            "VDAB reports CVs as gone, but does not answer for any live CV: cvsync holds their deletes and retries later; \
             see `cvsync deletes list`"
        );
    }
    Ok(())
}

/// A batch has CVs of many windows: its span is linked to those of the traced CVs.
async fn write_traced(
    pipeline: &Pipeline,
    batch: &mut [Resolved],
) -> Result<Vec<Applied>, SyncError> {
    let span = tracing::debug_span!(
        "batch",
        otel.kind = "client",
        batch.size = batch.len(),
        db.system.name = "postgresql",
        error.type = field::Empty,
        otel.status_code = field::Empty,
    );
    for cv in batch.iter().filter_map(|resolved| resolved.span.as_ref()) {
        telemetry::link(&span, cv);
    }
    let written = write(pipeline, batch).instrument(span.clone()).await;
    written.inspect_err(|error| telemetry::failed(&span, error.class()))
}

/// Writes a whole batch. An outcome that PostgreSQL refuses is found by halving, and parked; the others are written.
async fn write(pipeline: &Pipeline, batch: &mut [Resolved]) -> Result<Vec<Applied>, SyncError> {
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    let as_of = batch.iter().map(|resolved| resolved.outcome.as_of);
    pipeline.note_doubt(as_of).await?;
    let latest = pipeline.vdab.time().latest_now();
    let brake = pipeline.brake.after(*pipeline.rehearsed.borrow());
    let keep = pipeline.settings.keep.terms();
    let apply = async |batch: &[Resolved]| {
        let outcomes = batch.iter().map(|resolved| &resolved.outcome);
        let apply = async |tx: &mut PgConnection| apply(tx, outcomes, brake, &keep, latest).await;
        pipeline.write("writing a batch", apply).await
    };
    let error = match apply(batch).await {
        Err(SyncError::Store { error, .. }) if error.remedy() == Remedy::Isolate => error,
        written => return written,
    };
    if let [resolved] = batch {
        set_aside(&mut resolved.outcome.fate, &error);
        return apply(std::slice::from_ref(resolved)).await;
    }
    let (first, second) = batch.split_at_mut(batch.len() / 2);
    let mut applied = Box::pin(write(pipeline, first)).await?;
    applied.extend(Box::pin(write(pipeline, second)).await?);
    Ok(applied)
}

/// Parks a CV whose outcome PostgreSQL refuses. If it is parked already, it stays as it is, and its error ends the run.
fn set_aside(fate: &mut Fate, error: &StoreError) {
    let Some(id) = fate.cv() else {
        return;
    };
    if let Some(total) = UNSTORABLE.due("", 1) {
        tracing::warn!(
            cv.id = %id,
            total,
            "{error}, so cvsync parked its CV; see `cvsync parked list`"
        );
    }
    *fate = Fate::Parked(id.to_string(), ParkClass::Unstorable, Duration::ZERO);
}

/// Records which windows are settled, and moves the watermark. Only this function moves it.
async fn finish(
    pipeline: &Pipeline,
    terms: Terms,
    settled: Vec<Settled>,
    summary: &mut Summary,
) -> Result<(), SyncError> {
    if settled.is_empty() {
        return Ok(());
    }
    let fresh = settled.iter().map(|window| window.listed);
    let fresh = fresh.filter(|listed| listed.planned.fresh);
    let live = fresh.clone().map(|listed| listed.planned);
    let live = live.filter(|planned| planned.lane == Lane::Live);
    let live = live.map(|planned| planned.window.tot()).max();
    let covered = fresh.filter(|listed| !listed.left);
    let covered: Vec<_> = covered.map(|listed| listed.planned.window).collect();
    let latest = pipeline.vdab.time().latest_now();
    let coverage = pipeline
        .write("settling a window", async |tx| {
            for Settled { listed, tally } in &settled {
                match listed.row {
                    Some(row) if listed.left => sync_window::abandon(tx, row).await?,
                    Some(row) => sync_window::settle(tx, row, tally).await?,
                    None => {}
                }
            }
            if live.is_some() || !covered.is_empty() {
                let from = pipeline.settings.from;
                coverage::settle(tx, &covered, live, from, terms.rewound_at).await?;
            }
            coverage::read(tx, latest).await
        })
        .await?;
    for window in settled {
        observe_settled(pipeline, &window);
        pipeline.progress.of(terms.lane).settled(1);
        summary.windows += 1;
        summary.tally += window.tally;
    }
    let moved = coverage.watermark > pipeline.coverage.borrow().watermark;
    summary.watermark = coverage.watermark.filter(|_| moved).or(summary.watermark);
    pipeline.coverage.send_replace(coverage);
    Ok(())
}

fn observe_settled(pipeline: &Pipeline, Settled { listed, tally }: &Settled) {
    let Planned { window, fresh, .. } = listed.planned;
    tracing::debug!(
        window.van = %window.van(),
        window.tot = %window.tot(),
        listed = tally.listed,
        "window settled"
    );
    let outcome = match fresh {
        _ if listed.left => WindowOutcome::Left,
        true => WindowOutcome::Settled,
        false => WindowOutcome::Relisted,
    };
    pipeline.metrics.window_ended(outcome, 1);
    pipeline.metrics.window_took(listed.started.elapsed());
    for (status, ids) in listed.labels.counts() {
        pipeline.metrics.listed(status, ids);
    }
    pipeline.metrics.tally(tally);
}

/// How long the change was visible at the source before it was committed, at most.
fn observe_delay(pipeline: &Pipeline, result: Applied, origin: Origin) {
    let kind = match result {
        Applied::Inserted | Applied::Updated => ChangeKind::Upsert,
        Applied::Deleted | Applied::Filtered => ChangeKind::Delete,
        Applied::Unchanged
        | Applied::Superseded
        | Applied::Parked
        | Applied::Held
        | Applied::Unproven
        | Applied::Skipped => return,
    };
    if let Some(since) = origin.since {
        let delay = pipeline.vdab.time().now() - since;
        let delay = delay.to_std().unwrap_or_default();
        pipeline.metrics.applied(kind, origin.lane, delay);
    }
}
