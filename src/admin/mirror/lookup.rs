//! Documents by id. Those that are asked for while others are being read are read together, in one query: the busier it is,
//! the less each costs.

use std::collections::HashMap;

use axum::body::Bytes;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::PATIENCE;
use crate::model::CvId;
use crate::store::{Store, StoreError, mirror, within};

/// The most that are read together.
const TOGETHER: usize = 64;

/// The most that wait.
const WAITING: usize = 1024;

/// A document, cheap to clone.
#[derive(Clone)]
pub struct Found {
    /// Its JSON.
    pub json: Bytes,
    /// Equal content, equal tag.
    pub tag: String,
}

struct Ask {
    id: Uuid,
    answer: oneshot::Sender<Result<Option<Found>, StoreError>>,
}

/// See the module's documentation.
pub struct Lookup {
    store: Store,
    asks: mpsc::Sender<Ask>,
    waiting: Mutex<mpsc::Receiver<Ask>>,
}

/// What waits holds documents.
impl std::fmt::Debug for Lookup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lookup")
    }
}

impl Lookup {
    pub fn new(store: Store) -> Self {
        let (asks, waiting) = mpsc::channel(WAITING);
        Self {
            store,
            asks,
            waiting: Mutex::new(waiting),
        }
    }

    /// The document of a CV, if it is there.
    pub async fn find(&self, CvId(id): CvId) -> Result<Option<Found>, StoreError> {
        let ended = || StoreError::Passing("cvsync is stopping".to_owned());
        within(PATIENCE, async {
            let (answer, answered) = oneshot::channel();
            self.asks
                .send(Ask { id, answer })
                .await
                .map_err(|_| ended())?;
            answered.await.map_err(|_| ended())?
        })
        .await
    }

    /// Answers until `token` is cancelled. Two of these at once keep the database busy while answers are on their way.
    pub async fn work_until(&self, token: &CancellationToken) {
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
            let ids: Vec<Uuid> = asks.iter().map(|ask| ask.id).collect();
            let read = within(PATIENCE, self.read(&ids)).await;
            for Ask { id, answer } in asks {
                let found = match &read {
                    Ok(found) => Ok(found.get(&id).cloned()),
                    Err(error) => Err(error.clone()),
                };
                // Who asked may have gone away.
                let _ = answer.send(found);
            }
        }
    }

    async fn read(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, Found>, StoreError> {
        let mut tx = self.store.begin_read().await?;
        let documents = mirror::documents(&mut tx, ids).await?;
        tx.commit().await?;
        let found = documents.into_iter().map(|document| {
            let hex = |byte: &u8| format!("{byte:02x}");
            let tag = document.content_hash.iter().map(hex).collect();
            let json = document.json.into();
            (document.cv_id, Found { json, tag })
        });
        Ok(found.collect())
    }
}
