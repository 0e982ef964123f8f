//! Brings stored documents into the shape of CVSYNC_KEEP and CVSYNC_DOCUMENT_EXCLUDE after a change of them, beside the runs.
//!
//! It deletes in place what it can, and requests runs that fetch the rest within the quota. Each part is one transaction, so a new
//! leader goes on where the last one stopped.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use sqlx::PgConnection;
use tokio::sync::watch;

use super::{Pipeline, SyncError};
use crate::model::{Document, Job, RefitStage, RefitWork, StoredShape};
use crate::pauses::Pauses;
use crate::store::pause::Pause;
use crate::store::refit::{self, Part, Pruning, Refit};
use crate::store::{run_request, stored_shape};
use crate::telemetry::Throttle;

static FAILED: Throttle = Throttle::new();

/// How often it looks whether a run that it requested has ended.
const PERIOD: Duration = Duration::from_millis(500);

/// The pauses between two attempts after a failure, from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// The trouble of a run that failed. Its cause is in the log.
const NOT_FETCHED: &str = "CVs cannot be fetched again after a change of CVSYNC_KEEP or CVSYNC_DOCUMENT_EXCLUDE; the log names the cause";

/// How to go on after a step.
enum Step {
    More,
    Wait,
    /// The run of this request failed.
    Failed(i64),
    Done,
}

/// Works until stored documents have the shape of the settings. Then it waits until it is dropped.
pub(crate) async fn follow(
    pipeline: &Pipeline,
    pause: watch::Receiver<Option<Pause>>,
) -> Infallible {
    let fresh = || Pauses::new(FIRST_PAUSE, LONGEST_PAUSE);
    let mut pauses = fresh();
    loop {
        let begun = Instant::now();
        if pause.borrow().is_some() {
            tokio::time::sleep(PERIOD).await;
            continue;
        }
        let wait = match step(pipeline).await {
            Ok(Step::Done) => {
                pipeline.beside(Job::Refit, None);
                std::future::pending().await
            }
            Ok(Step::More) => {
                pipeline.beside(Job::Refit, None);
                pauses = fresh();
                // Half of the time is for others.
                begun.elapsed()
            }
            Ok(Step::Wait) => PERIOD,
            Ok(Step::Failed(request)) => {
                pipeline.beside(Job::Refit, Some(NOT_FETCHED.to_owned()));
                tokio::time::sleep(pauses.next_pause()).await;
                request_again(pipeline, request).await;
                PERIOD
            }
            Err(error) => {
                if let Some(total) = FAILED.due("", 1) {
                    tracing::warn!(
                        total,
                        "retrying to bring stored documents into the shape of the settings: {error}"
                    );
                }
                pipeline.beside(
                    Job::Refit,
                    Some(format!(
                        "stored documents do not have the shape of CVSYNC_KEEP and CVSYNC_DOCUMENT_EXCLUDE yet: {error}"
                    )),
                );
                pauses.next_pause()
            }
        };
        tokio::time::sleep(wait).await;
    }
}

/// If this fails, the next step finds the request failed still.
async fn request_again(pipeline: &Pipeline, request: i64) {
    let again = async |tx: &mut PgConnection| run_request::again(tx, request).await;
    let asked = pipeline.store.write("requesting a run again", again);
    if let Err(error) = asked.await {
        tracing::debug!("cannot request a run again: {error}");
    }
}

async fn step(pipeline: &Pipeline) -> Result<Step, SyncError> {
    let (shapes, refit) = pipeline
        .read("reading the shape of stored documents", async |tx| {
            let shapes = stored_shape::all(tx).await?;
            Ok((shapes, refit::current(tx).await?))
        })
        .await?;
    let shape = pipeline.shape();
    let Some((current, earlier)) = shapes.split_last() else {
        return Ok(Step::Wait);
    };
    if *current != shape.row() {
        // The leader has not recorded its settings yet.
        return Ok(Step::Wait);
    }
    let earlier = earlier.iter().map(StoredShape::of_row);
    let work = earlier
        .map(|from| RefitWork::between(&from, &shape))
        .fold(RefitWork::default(), RefitWork::and);
    let Some(refit) = refit else {
        return next_stage(pipeline, work, None).await;
    };
    let Some(stage) = RefitStage::ALL.iter().find(|it| it.as_str() == refit.stage) else {
        return Ok(Step::Wait);
    };
    match part(pipeline, &refit, *stage, work, &shape).await? {
        Part::More => Ok(Step::More),
        Part::Waits => Ok(Step::Wait),
        Part::Failed(request) => Ok(Step::Failed(request)),
        Part::Last => next_stage(pipeline, work, Some(*stage)).await,
    }
}

async fn part(
    pipeline: &Pipeline,
    refit: &Refit,
    stage: RefitStage,
    work: RefitWork,
    shape: &StoredShape,
) -> Result<Part, SyncError> {
    let terms = shape.keep.terms();
    let terms = if work.filters_in_place() {
        &terms[..]
    } else {
        &[]
    };
    let strip = |json: &str| Document::strip(json, &shape.exclude);
    pipeline
        .write("bringing documents into shape", async |tx| match stage {
            RefitStage::Counting => refit::count(tx, refit, terms).await,
            RefitStage::Pruning => {
                let pruning = Pruning {
                    terms,
                    strip,
                    brake: pipeline.brake,
                };
                refit::prune(tx, refit, pruning).await
            }
            RefitStage::FetchingFiltered | RefitStage::FetchingStored => {
                refit::fetch(tx, refit, stage).await
            }
        })
        .await
}

async fn next_stage(
    pipeline: &Pipeline,
    work: RefitWork,
    done: Option<RefitStage>,
) -> Result<Step, SyncError> {
    let next = work.next(done);
    pipeline
        .write(
            "bringing documents into shape",
            async |tx: &mut PgConnection| match next {
                Some(stage) => refit::begin(tx, stage).await,
                None => stored_shape::settle(tx).await,
            },
        )
        .await?;
    if let Some(stage) = next {
        tracing::info!(
            stage = stage.as_str(),
            "CVSYNC_KEEP or CVSYNC_DOCUMENT_EXCLUDE has changed: bringing stored documents into shape"
        );
        return Ok(Step::More);
    }
    if done.is_some() {
        tracing::info!(
            "stored documents have the shape of CVSYNC_KEEP and CVSYNC_DOCUMENT_EXCLUDE"
        );
    }
    Ok(Step::Done)
}
