//! Sends those ids of a page to the workers that need a call, and counts all of them.

use super::dispatch::{Dispatcher, trace_some};
use super::plan::Planned;
use super::settle::Listed;
use super::sift::{self, Decision, Knowledge, sift};
use super::work::{Done, Item, Origin, Resolved};
use super::{SyncError, delta, late};
use crate::model::{Lane, Standing};
use crate::store::{cv_seen, held_delete, parked_cv, suppressed_cv};
use crate::telemetry::{Horizon, PageDrift};
use crate::vdab::{Answer, BulkItem, BulkPage, ListedId};

/// The work that a page brings. Each CV is taken once, however often the page has it.
#[derive(Default)]
struct Decided {
    /// Outcomes that are known without a call, such as deletes. They do not wait for the workers.
    resolved: Vec<Resolved>,
    to_fetch: Vec<Item>,
}

/// Changes that became visible late are counted under `horizon`, if there is one.
pub(super) async fn enqueue(
    dispatcher: &Dispatcher<'_>,
    horizon: Option<Horizon>,
    listed: &mut Listed,
    page: &Answer<BulkPage>,
) -> Result<(), SyncError> {
    let pipeline = dispatcher.pipeline;
    let items = &page.value.items;
    let knowledge = look_up(dispatcher, listed.planned, items).await?;
    listed.labels.count(items, pipeline.vdab.words());
    let before = listed.skipped;
    let Decided { resolved, to_fetch } = decide(dispatcher, listed, page, &knowledge);
    if let Some(horizon) = horizon
        && !listed.planned.fresh
    {
        // Before they are sent: once they are committed, their earlier state is lost.
        let ids = to_fetch.iter().map(|item| item.id.0).collect();
        late::count(pipeline, listed, horizon, ids).await?;
    }
    let passed = listed.skipped - before + resolved.len() as u64;
    pipeline.progress.of(dispatcher.lane).taken(passed);
    listed.ids += passed;
    for resolved in resolved {
        if !dispatcher.pass(Done::Resolved(resolved)).await {
            return Ok(());
        }
    }
    if dispatcher.lane != Lane::Live {
        send_all(dispatcher, listed, to_fetch).await;
    } else if !pipeline.vdab.details_are_open() && !to_fetch.is_empty() {
        listed.held = listed.planned.fresh;
        listed.left = !listed.held;
    } else if !listed.left {
        listed.left = !send_what_fits(dispatcher, listed, to_fetch).await;
    }
    Ok(())
}

async fn send_all(dispatcher: &Dispatcher<'_>, listed: &mut Listed, items: Vec<Item>) {
    let progress = dispatcher.pipeline.progress.of(dispatcher.lane);
    progress.taken(items.len() as u64);
    listed.ids += items.len() as u64;
    for item in items {
        if !dispatcher.fetch(item).await {
            return;
        }
    }
}

/// False if some are left to the backlog, so that the next listing does not wait for them: of a new window those that do not
/// fit into the channel, and of one that is listed again those that are not sent before the next run is due.
async fn send_what_fits(
    dispatcher: &Dispatcher<'_>,
    listed: &mut Listed,
    items: Vec<Item>,
) -> bool {
    let progress = dispatcher.pipeline.progress.of(dispatcher.lane);
    for item in items {
        let is_sent = if listed.planned.fresh {
            dispatcher.work.try_send(item).is_ok()
        } else {
            !dispatcher.yields() && dispatcher.fetch(item).await
        };
        if !is_sent {
            return false;
        }
        progress.taken(1);
        listed.ids += 1;
    }
    true
}

fn decide(
    dispatcher: &Dispatcher<'_>,
    listed: &mut Listed,
    page: &Answer<BulkPage>,
    knowledge: &Knowledge,
) -> Decided {
    let pipeline = dispatcher.pipeline;
    let words = pipeline.vdab.words();
    let planned = listed.planned;
    let origin = Origin {
        lane: planned.lane,
        since: Some(planned.window.van()),
    };
    let items = &page.value.items;
    let mut standings = sift::standings(items, words);
    let mut decided = Decided::default();
    for item in items {
        let standing = match item.id {
            ListedId::Valid(id) => standings.remove(&id.0),
            ListedId::Garbage(_) | ListedId::Missing => Some(Standing::Unknown),
        };
        let Some(standing) = standing else {
            pipeline.metrics.page_drifted(PageDrift::Duplicate, 1);
            listed.skipped += 1;
            continue;
        };
        match sift(&item.id, listed.seq, page.as_of, knowledge, standing) {
            Decision::Skip => listed.skipped += 1,
            Decision::Fetch(id) => decided.to_fetch.push(Item {
                id,
                window: Some(listed.seq),
                listed_live: words.standing(item.status.as_deref()) == Standing::Live,
                origin,
                span: trace_some(),
            }),
            Decision::Resolve(outcome) => decided.resolved.push(Resolved {
                outcome,
                origin,
                slot: None,
                span: None,
            }),
        }
    }
    decided
}

/// The state in the database of the ids on a page.
async fn look_up(
    dispatcher: &Dispatcher<'_>,
    planned: Planned,
    items: &[BulkItem],
) -> Result<Knowledge, SyncError> {
    let ids: Vec<_> = items.iter().filter_map(|item| item.id.valid()).collect();
    let ids: Vec<_> = ids.into_iter().map(|id| id.0).collect();
    let with_id = items.iter().filter(|item| item.id != ListedId::Missing);
    let keys: Vec<_> = with_id.map(|item| sift::parked_key(&item.id)).collect();
    if keys.is_empty() {
        return Ok(Knowledge::default());
    }
    let pipeline = dispatcher.pipeline;
    let since = planned.window.tot() + delta(pipeline.settings.settle_lag);
    let now = pipeline.vdab.time().latest_now();
    pipeline
        .read("reading what is known", async |tx| {
            let confirmed = cv_seen::known(tx, &ids, since, now).await?;
            let waiting = if planned.fresh {
                Vec::new()
            } else {
                parked_cv::waiting(tx, &keys).await?
            };
            let held = held_delete::among(tx, &ids).await?;
            Ok(Knowledge {
                confirmed,
                waiting: waiting.into_iter().collect(),
                held: held.into_iter().collect(),
                suppressed: suppressed_cv::among(tx, &ids).await?,
            })
        })
        .await
}
