//! The start of a run: the marks of earlier runs in the database, and the task that follows from them.

use std::time::Instant;

use chrono::{DateTime, Utc};

use super::listing::Listing;
use super::request::{self, Marks, Task};
use super::run::Run;
use super::{Pipeline, Request, Summary, SyncError};
use crate::model::CvId;
use crate::store::{clock_doubt, cv, feed, held_delete, relisted, sync_window, watermark};

/// The number of live CVs that are looked up as canaries.
const CANARIES: usize = 10;

struct Start {
    task: Task,
    /// The end of a second listing.
    relisted_to: Option<DateTime<Utc>>,
    /// For a sync that makes up for lost commits: since when every confirmed CV is announced.
    announcing_since: Option<DateTime<Utc>>,
}

impl Pipeline {
    /// Begins the run for `request`. Other runs may be made between its parts, but not at the same time.
    pub async fn begin(&self, request: Request) -> Result<Run<'_>, SyncError> {
        let (job, began) = (request.job(), self.vdab.time().now());
        let calls = self.vdab.answers_received();
        let is_relist = request == Request::Relist;
        let Start {
            task,
            relisted_to,
            announcing_since,
        } = self.start(request).await?;
        let listing = match &task {
            Task::Compare(compare) => Some(Listing::begin(self, compare.comparison).await?),
            _ => None,
        };
        Ok(Run {
            pipeline: self,
            // Without a watermark nothing can be listed a second time.
            job: job.filter(|_| !is_relist || relisted_to.is_some()),
            began,
            relisted_to,
            announcing_since,
            task: Some(task),
            listing,
            summary: Summary {
                calls: self.vdab.answers_received() - calls,
                ..Summary::default()
            },
        })
    }

    async fn start(&self, request: Request) -> Result<Start, SyncError> {
        let marks = self.marks(&request).await?;
        if matches!(request, Request::Relist | Request::Reconcile) {
            self.distrust().await?;
        }
        self.vdab.suggest_canaries(marks.canaries.iter().copied());
        self.watermark.send_replace(marks.watermark);
        let watermark = marks.watermark.filter(|_| request == Request::Relist);
        let relisted_to =
            watermark.map(|at| request::to_relist(&self.settings, at, marks.relisted).tot);
        let now = self.vdab.time().now();
        let is_sync = request == Request::UpToNow;
        let announcing_since = marks.announcing_since.filter(|_| is_sync);
        let task = request.task(&self.settings, self.widest(), &marks, now);
        Ok(Start {
            task,
            relisted_to,
            announcing_since,
        })
    }

    async fn marks(&self, request: &Request) -> Result<Marks, SyncError> {
        self.write("reading the watermark", async |tx| {
            if *request == Request::UpToNow {
                sync_window::abandon_open(tx).await?;
            }
            let database_time = clock_doubt::database_time(tx).await?;
            self.vdab
                .time()
                .database_says(database_time, Instant::now());
            // A wrong clock may have set it in the future. Until then the time that it skips is listed again.
            let watermark = watermark::read(tx)
                .await?
                .map(|position| position.min(self.vdab.time().latest_now()));
            let relisted = relisted::read(tx).await?;
            let ends = match request.looks_back_to(&self.settings, watermark, relisted) {
                Some(at) => sync_window::ends_after(tx, at).await?,
                None => Vec::new(),
            };
            let canaries = cv::any(tx, CANARIES).await?;
            let approved = match request {
                Request::Approved => held_delete::approved(tx).await?,
                _ => Vec::new(),
            };
            Ok(Marks {
                watermark,
                relisted,
                ends,
                announcing_since: feed::announcing_since(tx).await?,
                canaries,
                approved: approved.into_iter().map(CvId).collect(),
            })
        })
        .await
    }
}
