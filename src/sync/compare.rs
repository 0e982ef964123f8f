//! Compares the whole source with the database in bounded memory: it lists every window, then fetches the ids that differ. VDAB's
//! response for each of them decides.

use uuid::Uuid;

use super::SyncError;
use super::list::Lister;
use super::listing::{self, Side};
use super::plan::Plan;
use super::request::{Compare, Comparison, Stage, Task};
use crate::model::{Difference, Tally};
use crate::store::cv;
use crate::store::reconcile::Part;

/// CVs that did not match CVSYNC_KEEP and are not listed: a comparison asks for so many, since a source that does not list old
/// changes has others too. `CVSYNC_RECHECK_AFTER` finds the rest.
const MOST_FILTERED: usize = 2_000;

/// Continues a comparison; returns the rest of it.
pub(super) async fn compare(
    mut lister: Lister<'_>,
    mut compare: Compare,
) -> Result<Option<Compare>, SyncError> {
    lister.horizon = compare.horizon;
    let was_pending = compare.is_pending();
    while !lister.dispatcher.stopped() {
        if !advance(&mut lister, &mut compare).await? {
            return Ok(None);
        }
        // Pending changes are counted separately.
        if lister.dispatcher.yields() || compare.is_pending() != was_pending {
            break;
        }
    }
    compare.horizon = lister.horizon;
    Ok(Some(compare))
}

/// One step: windows until the run must yield, or a part of the ids. False if nothing is left to do.
async fn advance(lister: &mut Lister<'_>, compare: &mut Compare) -> Result<bool, SyncError> {
    if !compare.left.is_empty() {
        let left = std::mem::take(&mut compare.left);
        compare.left = lister.dispatcher.send_all(left).await?;
        return Ok(true);
    }
    let comparison = compare.comparison;
    match &mut compare.stage {
        Stage::Whole(plan) => {
            if lister.windows(plan).await? {
                compare.stage = Stage::Since(changed_since(lister, comparison));
            }
        }
        Stage::Since(plan) => {
            if lister.windows(plan).await? {
                compare.stage = Stage::Listed(None);
            }
        }
        Stage::Listed(after) => {
            let part = part(lister, comparison, Side::Listed, *after).await?;
            if after.is_none() && part.last.is_none() {
                expect_nothing_stored(lister).await?;
            }
            compare.listed += part.read;
            compare.stage = match part.last {
                None => Stage::Unlisted(None),
                last => Stage::Listed(last),
            };
            compare.left = part.differ;
        }
        Stage::Unlisted(after) => {
            let part = part(lister, comparison, Side::Unlisted, *after).await?;
            compare.stage = match part.last {
                None if lister.dispatcher.pipeline.settings.keep.is_empty() => Stage::Pending(None),
                None => Stage::Filtered(None, MOST_FILTERED),
                last => Stage::Unlisted(last),
            };
            compare.left = part.differ;
        }
        Stage::Filtered(after, most) => {
            let mut part = part(lister, comparison, Side::Filtered, *after).await?;
            part.differ.truncate(*most);
            let most = *most - part.differ.len();
            compare.stage = match part.last {
                Some(last) if most > 0 => Stage::Filtered(Some(last), most),
                _ => Stage::Pending(None),
            };
            compare.left = part.differ;
        }
        Stage::Pending(after) => {
            let part = part(lister, comparison, Side::Pending, *after).await?;
            if part.last.is_none() {
                return Ok(false);
            }
            *after = part.last;
            compare.left = part.differ;
        }
    }
    Ok(true)
}

/// Lists the CVs that changed during the comparison: they may have left windows before these were listed.
fn changed_since(lister: &Lister<'_>, comparison: Comparison) -> Plan {
    let pipeline = lister.dispatcher.pipeline;
    let now = pipeline.vdab.time().now();
    let since = comparison.began - lister.settle_lag();
    Plan::again(since, now, lister.settle_lag(), &[], pipeline.widest())
}

/// If the source lists no CV at all while CVs are stored, the listing is not believed.
async fn expect_nothing_stored(lister: &Lister<'_>) -> Result<(), SyncError> {
    let pipeline = lister.dispatcher.pipeline;
    let stored = pipeline.read("counting both sides", cv::count).await?;
    if stored > 0 {
        return Err(SyncError::Empty { stored });
    }
    Ok(())
}

async fn part(
    lister: &Lister<'_>,
    comparison: Comparison,
    side: Side,
    after: Option<Uuid>,
) -> Result<Part, SyncError> {
    let horizon = lister.horizon.unwrap_or_default().date_naive();
    let pipeline = lister.dispatcher.pipeline;
    listing::part(pipeline, comparison, side, after, horizon).await
}

/// Adds a part of a comparison to the difference. Only CVs that a response confirmed count: the others changed meanwhile.
pub(super) fn count(difference: &mut Difference, written: Tally, rest: Option<&Task>) {
    difference.missing += written.inserted;
    difference.extra += written.deleted - written.filtered;
    difference.filtered += written.filtered;
    difference.stale += written.updated;
    difference.held += written.held;
    if let Some(Task::Compare(compare)) = rest {
        difference.listed = compare.listed;
    }
}
