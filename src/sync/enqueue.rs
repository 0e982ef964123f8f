//! Sends those ids of a page to the workers that need a call, and counts all of them.

use std::time::Instant;

use super::dispatch::{Dispatcher, trace_some};
use super::plan::Planned;
use super::settle::Listed;
use super::sift::{self, Decision, Knowledge, sift};
use super::work::{Item, Resolved, Work};
use super::{SyncError, delta, late};
use crate::model::Standing;
use crate::store::{cv_seen, held_delete, parked_cv, suppressed_cv};
use crate::telemetry::{Horizon, PageDrift};
use crate::vdab::{Answer, BulkItem, BulkPage, ListedId};

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
    pipeline.progress.taken(items.len() as u64);
    let work = decide(dispatcher, listed, page, &knowledge);
    if let Some(horizon) = horizon
        && !listed.planned.fresh
    {
        // Before they are sent: once they are committed, their earlier state is lost.
        let to_fetch = work.iter().filter_map(|work| match work {
            Work::Fetch(item) => Some(item.id.0),
            Work::Resolved(_) | Work::Listed(_) => None,
        });
        late::count(pipeline, listed, horizon, to_fetch.collect()).await?;
    }
    for work in work {
        if !dispatcher.send(work).await {
            break;
        }
    }
    Ok(())
}

/// The work that a page brings. Each CV is taken once, however often the page has it.
fn decide(
    dispatcher: &Dispatcher<'_>,
    listed: &mut Listed,
    page: &Answer<BulkPage>,
    knowledge: &Knowledge,
) -> Vec<Work> {
    let pipeline = dispatcher.pipeline;
    let words = pipeline.vdab.words();
    let first_listed = Instant::now();
    let items = &page.value.items;
    let mut standings = sift::standings(items, words);
    let mut work = Vec::new();
    listed.ids += items.len() as u64;
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
            Decision::Fetch(id) => work.push(Work::Fetch(Item {
                id,
                window: Some(listed.seq),
                listed_live: words.standing(item.status.as_deref()) == Standing::Live,
                first_listed,
                span: trace_some(),
            })),
            Decision::Resolve(outcome) => work.push(Work::Resolved(Resolved {
                outcome,
                first_listed,
                slot: None,
                span: None,
            })),
        }
    }
    work
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
