//! The start of a run: the marks of earlier runs in the database, and the task that follows from them.

use std::time::Instant;

use chrono::{DateTime, Utc};

use super::listing::Listing;
use super::request::{self, Marks, Task};
use super::run::Run;
use super::work::Terms;
use super::{Pipeline, Request, Summary, SyncError, delta};
use crate::model::{CvId, Lane};
use crate::store::{clock_doubt, coverage, cv, feed, held_delete, relisted, sync_window};

/// The number of live CVs that are looked up as canaries.
const CANARIES: usize = 10;

struct Start {
    task: Task,
    /// When a person last moved the watermark back.
    rewound_at: Option<DateTime<Utc>>,
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
        let lane = request.lane();
        let retries = matches!(request, Request::UpToNow | Request::Live);
        let Start {
            task,
            rewound_at,
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
            terms: Terms {
                lane,
                rewound_at,
                retries,
            },
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
        self.coverage.send_replace(marks.coverage.clone());
        let watermark = marks
            .coverage
            .watermark
            .filter(|_| request == Request::Relist);
        let relisted_to =
            watermark.map(|at| request::to_relist(&self.settings, at, marks.relisted).tot);
        let now = self.vdab.time().now();
        let is_sync = matches!(request, Request::UpToNow | Request::Live);
        let announcing_since = marks.announcing_since.filter(|_| is_sync);
        let settled = now - delta(self.settings.settle_lag) - self.vdab.margin();
        let task = request.task(&self.settings, self.widest(), &marks, now, settled);
        Ok(Start {
            task,
            rewound_at: marks.rewound_at,
            relisted_to,
            announcing_since,
        })
    }

    async fn marks(&self, request: &Request) -> Result<Marks, SyncError> {
        self.write("reading the watermark", async |tx| {
            let lanes: &[Lane] = match request {
                Request::UpToNow => Lane::ALL,
                Request::Live => &[Lane::Live],
                Request::Backlog | Request::Relist => &[Lane::Backlog],
                _ => &[],
            };
            for lane in lanes {
                sync_window::abandon_open(tx, *lane).await?;
            }
            let database_time = clock_doubt::database_time(tx).await?;
            self.vdab
                .time()
                .database_says(database_time, Instant::now());
            // A wrong clock may have set it in the future. Until then the time that it skips is listed again.
            let coverage = coverage::read(tx, self.vdab.time().latest_now()).await?;
            let relisted = relisted::read(tx).await?;
            let ends = match request.looks_back_to(&self.settings, &coverage, relisted) {
                Some(at) => sync_window::ends_after(tx, at).await?,
                None => Vec::new(),
            };
            let canaries = cv::any(tx, CANARIES).await?;
            let approved = match request {
                Request::Approved => held_delete::approved(tx).await?,
                _ => Vec::new(),
            };
            Ok(Marks {
                rewound_at: coverage::rewound_at(tx).await?,
                coverage,
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
