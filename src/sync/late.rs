//! Changes that became visible late: how many, how late, and which overlap would show them to the next sync.

use std::time::Duration;

use uuid::Uuid;

use super::settle::Listed;
use super::{Pipeline, SyncError};
use crate::store::{cv_seen, sync_window};
use crate::telemetry::{Horizon, Throttle};

static LATE: Throttle = Throttle::new();

/// Counts ids that a settled window lists and that were not fetched since its listing before: they became visible late.
///
/// Their delay is at least the time from the end of the window to that listing.
pub(super) async fn count(
    pipeline: &Pipeline,
    listed: &Listed,
    horizon: Horizon,
    to_fetch: Vec<Uuid>,
) -> Result<(), SyncError> {
    let (Some(row), false) = (listed.row, to_fetch.is_empty()) else {
        return Ok(());
    };
    let window = listed.planned.window;
    let (before, ids) = pipeline
        .read("looking up when a window was listed", async |tx| {
            let before = sync_window::listed_before(tx, window, row).await?;
            let ids = match before {
                Some(before) => cv_seen::count_older(tx, &to_fetch, before).await?,
                None => 0,
            };
            Ok((before, u64::try_from(ids).unwrap_or(0)))
        })
        .await?;
    if ids == 0 {
        return Ok(());
    }
    let late = before.and_then(|at| (at - window.tot()).to_std().ok());
    pipeline.metrics.arrived_late(horizon, ids, late);
    let overlap = pipeline.settings.window_overlap;
    if let Some(late) = late.filter(|late| horizon == Horizon::Relist && *late > overlap / 2) {
        let better = round_up_to_hours(late * 2);
        if let Some(total) = LATE.due("", ids) {
            tracing::warn!(
                total,
                %window,
                "changes became visible at least {} min after their time; set CVSYNC_WINDOW_OVERLAP={better}h to see such changes with the next sync",
                late.as_secs() / 60,
            );
        }
        pipeline.better_overlap_hours.send_replace(Some(better));
    }
    Ok(())
}

fn round_up_to_hours(duration: Duration) -> u64 {
    duration.as_secs().div_ceil(3_600).max(1)
}
