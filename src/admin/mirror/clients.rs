//! Clients' keys, cached for two seconds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::http::HeaderMap;
use sqlx::PgConnection;
use tokio::sync::Mutex;

use super::PATIENCE;
use crate::contract::KEY_HEADER;
use crate::store::mirror_client::{self, key_hash};
use crate::store::{Store, StoreError};

/// A revoked key may work for this long.
const LIFE: Duration = Duration::from_secs(2);

/// The same while the primary is unreachable and the mirror reads from a standby. Keys cannot be revoked meanwhile.
const OUTAGE_LIFE: Duration = Duration::from_secs(10);

/// How long clients wait for the primary then.
const OUTAGE_PATIENCE: Duration = Duration::from_secs(1);

/// The shortest time between two records of a key's use.
const NOTED: Duration = Duration::from_mins(1);

#[derive(Debug)]
pub(super) struct Clients {
    store: Store,
    /// Whether documents come from another server: then an outage of the primary, where keys are revoked, locks no client out.
    outlast_outage: bool,
    known: Mutex<Known>,
}

fn late() -> StoreError {
    StoreError::Passing("no response in time".to_owned())
}

#[derive(Debug, Default)]
struct Known {
    read_at: Option<Instant>,
    /// How long after that they are read again.
    life: Duration,
    clients: Vec<Client>,
}

#[derive(Debug)]
struct Client {
    name: Arc<str>,
    key_hash: Vec<u8>,
    noted_at: Option<Instant>,
}

impl Clients {
    pub(super) fn new(store: Store, outlast_outage: bool) -> Self {
        Self {
            store,
            outlast_outage,
            known: Mutex::default(),
        }
    }

    /// The name of the client whose key is in `headers`, unless it is revoked.
    pub(super) async fn know(&self, headers: &HeaderMap) -> Result<Option<Arc<str>>, StoreError> {
        let Some(key) = headers.get(KEY_HEADER) else {
            return Ok(None);
        };
        let hash = key_hash(key.as_bytes());
        let found = tokio::time::timeout(PATIENCE, self.find(&hash)).await;
        let Some((name, to_note)) = found.map_err(|_| late())?? else {
            return Ok(None);
        };
        // An error here must not lock the client out.
        if to_note {
            let patience = if self.outlast_outage {
                OUTAGE_PATIENCE
            } else {
                PATIENCE
            };
            let noted = tokio::time::timeout(patience, self.note(&name)).await;
            if let Err(error) = noted.unwrap_or_else(|_| Err(late())) {
                tracing::debug!(%error, "cannot record the use of a client's key");
            }
        }
        Ok(Some(name))
    }

    /// The client's name, and whether its use is to be noted.
    async fn find(&self, hash: &[u8; 32]) -> Result<Option<(Arc<str>, bool)>, StoreError> {
        let mut known = self.known.lock().await;
        if known.read_at.is_none_or(|at| at.elapsed() >= known.life) {
            let may_outlast = self.outlast_outage && known.read_at.is_some();
            let patience = if may_outlast {
                OUTAGE_PATIENCE
            } else {
                PATIENCE
            };
            let read = tokio::time::timeout(patience, known.read(&self.store)).await;
            match read.unwrap_or_else(|_| Err(late())) {
                Ok(()) => known.life = LIFE,
                Err(error) if may_outlast && error.is_outage() => {
                    known.read_at = Some(Instant::now());
                    known.life = OUTAGE_LIFE;
                }
                Err(error) => return Err(error),
            }
        }
        let mut found = None;
        // Compares all keys, so that the time does not depend on which one matches.
        for client in &mut known.clients {
            if verify_slices_are_equal(&client.key_hash, hash).is_ok() {
                found = Some(client);
            }
        }
        Ok(found.map(|client| {
            let to_note = client.noted_at.is_none_or(|at| at.elapsed() >= NOTED);
            if to_note {
                client.noted_at = Some(Instant::now());
            }
            (Arc::clone(&client.name), to_note)
        }))
    }

    async fn note(&self, name: &str) -> Result<(), StoreError> {
        let used = async |tx: &mut PgConnection| mirror_client::used(tx, name).await;
        self.store.write("noting the use of a key", used).await
    }
}

impl Known {
    async fn read(&mut self, store: &Store) -> Result<(), StoreError> {
        let now = Instant::now();
        let rows = store.read("reading the mirror's keys", mirror_client::in_force);
        let rows = rows.await?;
        let noted = |name: &str| {
            let client = self.clients.iter().find(|client| &*client.name == name);
            client.and_then(|client| client.noted_at)
        };
        self.clients = rows
            .into_iter()
            .map(|(name, key_hash)| Client {
                noted_at: noted(&name),
                name: name.into(),
                key_hash,
            })
            .collect();
        self.read_at = Some(now);
        Ok(())
    }
}
