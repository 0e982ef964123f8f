//! Documents by id. Requests that arrive during a query are answered together by the next one, so the cost per request falls
//! under load.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Bytes;
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use sqlx::PgConnection;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::PATIENCE;
use super::reads::Reads;
use crate::model::{CvId, hex};
use crate::store::{StoreError, mirror};

/// The most ids per query.
const TOGETHER: usize = 64;

/// The most requests that wait.
const WAITING: usize = 1024;

/// A document, cheap to clone.
#[derive(Clone)]
pub(super) struct Found {
    pub json: Bytes,
    /// Content hash in hexadecimal.
    pub tag: String,
}

struct Ask {
    id: Uuid,
    answer: Answer,
}

/// A document, if it is stored, and a time such that every change before it is in the answer.
type Looked = (Option<Found>, DateTime<Utc>);

type Answer = oneshot::Sender<Result<Looked, StoreError>>;

/// Waiting requests by id.
type Waiting = HashMap<Uuid, Vec<Answer>>;

pub(super) struct Lookup {
    reads: Arc<Reads>,
    asks: mpsc::Sender<Ask>,
    waiting: Mutex<mpsc::Receiver<Ask>>,
}

/// Hides the waiting requests, which hold documents.
impl std::fmt::Debug for Lookup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lookup")
    }
}

impl Lookup {
    pub(super) fn new(reads: Arc<Reads>) -> Self {
        let (asks, waiting) = mpsc::channel(WAITING);
        Self {
            reads,
            asks,
            waiting: Mutex::new(waiting),
        }
    }

    /// The document of a CV, if it is stored.
    pub(super) async fn find(&self, CvId(id): CvId) -> Result<Looked, StoreError> {
        self.reads.fences.refresh().await;
        let ended = || StoreError::Passing("cvsync is stopping".to_owned());
        let found = async {
            let (answer, answered) = oneshot::channel();
            self.asks
                .send(Ask { id, answer })
                .await
                .map_err(|_| ended())?;
            answered.await.map_err(|_| ended())?
        };
        let late = |_| StoreError::Passing("no response in time".to_owned());
        tokio::time::timeout(PATIENCE, found).await.map_err(late)?
    }

    /// Answers requests until `token` is cancelled. Two of these at once keep the database busy while responses are sent.
    pub(super) async fn work_until(&self, token: &CancellationToken) {
        while !token.is_cancelled() {
            let mut asks = Vec::new();
            let next = async {
                self.waiting
                    .lock()
                    .await
                    .recv_many(&mut asks, TOGETHER)
                    .await
            };
            if token.run_until_cancelled(next).await.is_none() {
                return;
            }
            asks.retain(|ask| !ask.answer.is_closed());
            if asks.is_empty() {
                continue;
            }
            let mut waiting = Waiting::new();
            for Ask { id, answer } in asks {
                waiting.entry(id).or_default().push(answer);
            }
            let read = self.read(&mut waiting).await;
            // The rest is not stored, or the read failed.
            for answer in waiting.into_values().flatten() {
                let _ = answer.send(read.clone().map(|as_of| (None, as_of)));
            }
        }
    }

    /// Hands each document on as soon as it is read, so that only one is held here.
    async fn read(&self, waiting: &mut Waiting) -> Result<DateTime<Utc>, StoreError> {
        let ids: Vec<Uuid> = waiting.keys().copied().collect();
        let read = async |tx: &mut PgConnection, as_of| {
            let mut documents = mirror::documents(tx, &ids);
            while let Some(document) = documents.try_next().await? {
                let found = Found {
                    tag: hex(&document.content_hash),
                    json: document.json.into(),
                };
                for answer in waiting.remove(&document.cv_id).unwrap_or_default() {
                    // The client may have disconnected.
                    let _ = answer.send(Ok((Some(found.clone()), as_of)));
                }
            }
            Ok(as_of)
        };
        self.reads.read("reading documents", read).await
    }
}
