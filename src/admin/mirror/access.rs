//! Records which client was given which CV, in batches.
//!
//! Invariant: an answer is sent only once its record has a place in the queue. If the database takes no records, the queue fills
//! up, and further requests get 503. So no CV is given in silence: a crash loses at most the records of the last second.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::answer::Refusal;
use super::{PATIENCE, TURN};
use crate::store::cv_access::{self, Given};
use crate::store::{Store, StoreError};
use crate::telemetry::{AccessOutcome, Metrics, Throttle};

static FAILED: Throttle = Throttle::new();

/// How long records are collected for a transaction; with the last look, at most a second.
const COLLECTED: Duration = Duration::from_millis(900);

/// The pause after an error.
const AGAIN: Duration = Duration::from_secs(1);

/// Time between two looks at the queue.
const LOOK: Duration = Duration::from_millis(50);

/// The most records per transaction. So many are written before the second is over.
const BATCH: usize = 5_000;

/// The most records that wait: some seconds of a busy mirror.
const WAITING: usize = 20_000;

/// The client of a request.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    /// Empty for the admin token.
    pub name: Arc<str>,
    /// False for HEAD, which gets no content.
    pub gets_content: bool,
}

#[derive(Debug)]
pub(super) struct Access {
    /// `None` if nothing is recorded.
    records: Option<mpsc::Sender<Record>>,
    queue: Mutex<Option<Queue>>,
    /// Records that are not written yet.
    unwritten: Arc<AtomicUsize>,
    metrics: Metrics,
}

#[derive(Debug)]
struct Record {
    cv_id: Uuid,
    at: Instant,
    client: Arc<str>,
    /// Comma-separated; `None` for the whole document.
    fields: Option<Arc<str>>,
}

/// The records that are not written yet.
#[derive(Debug)]
struct Queue {
    store: Store,
    records: mpsc::Receiver<Record>,
    /// The records of the current transaction.
    batch: Vec<Record>,
    /// Their number, which the mirror also sees.
    unwritten: Arc<AtomicUsize>,
    metrics: Metrics,
}

impl Access {
    /// Records in this database, unless `records` is false.
    pub(super) fn new(store: &Store, records: bool, metrics: &Metrics) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        let unwritten = Arc::<AtomicUsize>::default();
        let queue = Queue {
            store: store.beside(1).bookkeeping().within(PATIENCE),
            records: receiver,
            batch: Vec::new(),
            unwritten: Arc::clone(&unwritten),
            metrics: metrics.clone(),
        };
        Self {
            records: records.then_some(sender),
            queue: Mutex::new(Some(queue)),
            unwritten,
            metrics: metrics.clone(),
        }
    }

    /// Records that `reader` is given these CVs: whole, or only `fields`.
    ///
    /// # Errors
    /// 503 if the queue stays full.
    pub(super) async fn given(
        &self,
        reader: &Reader,
        ids: &[Uuid],
        fields: Option<&[String]>,
    ) -> Result<(), Refusal> {
        let Some(records) = &self.records else {
            return Ok(());
        };
        if !reader.gets_content || ids.is_empty() {
            return Ok(());
        }
        let room = tokio::time::timeout(TURN, records.reserve_many(ids.len())).await;
        let Ok(Ok(room)) = room else {
            self.metrics.accessed(AccessOutcome::Refused, ids.len());
            return Err(Refusal::busy());
        };
        self.unwritten.fetch_add(ids.len(), Ordering::Relaxed);
        let at = Instant::now();
        let fields: Option<Arc<str>> = fields.map(|fields| fields.join(",").into());
        for (permit, cv_id) in room.zip(ids) {
            permit.send(Record {
                cv_id: *cv_id,
                at,
                client: Arc::clone(&reader.name),
                fields: fields.clone(),
            });
        }
        Ok(())
    }

    /// Records that are not written yet.
    pub(super) fn waiting(&self) -> usize {
        self.unwritten.load(Ordering::Relaxed)
    }

    /// Writes records until the last request is answered. From `stopping` on, it writes each record at once.
    pub(super) async fn write_until(
        &self,
        stopping: &CancellationToken,
        answered: &CancellationToken,
    ) {
        let queue = self
            .queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(mut queue) = queue {
            while queue.fill(stopping, answered).await {
                queue.write().await;
            }
        }
    }
}

impl Queue {
    /// Waits for records, at most a second from the first on; false after the last.
    async fn fill(&mut self, stopping: &CancellationToken, answered: &CancellationToken) -> bool {
        let received = tokio::select! {
            biased;
            received = self.records.recv_many(&mut self.batch, BATCH) => received,
            () = answered.cancelled() => 0,
        };
        let first = Instant::now();
        while received > 0
            && self.batch.len() < BATCH
            && first.elapsed() < COLLECTED
            && !stopping.is_cancelled()
        {
            tokio::time::sleep(LOOK).await;
            while self.batch.len() < BATCH
                && let Ok(record) = self.records.try_recv()
            {
                self.batch.push(record);
            }
        }
        received > 0
    }

    /// Writes the batch, however often it takes.
    async fn write(&mut self) {
        let given = loop {
            match self.timed().await {
                Ok(given) => break given,
                Err(error) => self.failed(&error).await,
            }
        };
        let add = async |tx: &mut PgConnection| cv_access::add(tx, &given).await;
        while let Err(error) = self.store.write("recording accesses", add).await {
            self.failed(&error).await;
        }
        self.metrics.accessed(AccessOutcome::Written, given.len());
        self.unwritten
            .fetch_sub(self.batch.len(), Ordering::Relaxed);
        self.batch.clear();
    }

    /// The batch in the database's time. A repeated write has the same times, so it adds nothing.
    async fn timed(&self) -> Result<Vec<Given>, StoreError> {
        let now: DateTime<Utc> = self.store.read("reading the time", cv_access::now).await?;
        let given = self.batch.iter().map(|record| Given {
            cv_id: record.cv_id,
            at: now - TimeDelta::from_std(record.at.elapsed()).unwrap_or_default(),
            client: Arc::clone(&record.client),
            fields: record.fields.clone(),
        });
        Ok(given.collect())
    }

    async fn failed(&self, error: &StoreError) {
        if let Some(total) = FAILED.due("records", 1) {
            let records = self.unwritten.load(Ordering::Relaxed);
            tracing::warn!(
                total,
                records,
                "cannot record which CVs clients of the mirror were given; once {WAITING} records wait, the mirror answers 503: {error}"
            );
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// The process ends although the database has not taken all records.
impl Drop for Queue {
    fn drop(&mut self) {
        let lost = self.batch.len() + self.records.len();
        if lost > 0 {
            self.metrics.accessed(AccessOutcome::Lost, lost);
            tracing::error!(
                records = lost,
                "cannot record which CVs clients of the mirror were given: the database did not answer before the process ended"
            );
        }
    }
}
