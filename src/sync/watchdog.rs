//! Ends a run in which nothing moves, though neither source nor database is known to be away.

use std::time::Duration;

use tokio::time::Instant;

use super::{Pipeline, SyncError};

/// How often it looks.
const PERIOD: Duration = Duration::from_secs(5);

/// Nothing of ours is silent for longer: requests and statements have limits of their own far below it.
const LIMIT: Duration = Duration::from_mins(10);

/// Returns when nothing has moved for too long. What is known to be away is waited for without a limit.
pub(super) async fn watch(pipeline: &Pipeline) -> SyncError {
    let mut moved = Instant::now();
    let mut last = None;
    loop {
        let now = (pipeline.vdab.answers_received(), pipeline.progress.moves());
        let away = !pipeline.vdab.closed_gates().is_empty() || pipeline.trouble.borrow().is_some();
        if away || last != Some(now) {
            moved = Instant::now();
            last = Some(now);
        }
        if moved.elapsed() > LIMIT {
            return SyncError::Stalled(LIMIT);
        }
        tokio::time::sleep(PERIOD).await;
    }
}
