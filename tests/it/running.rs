//! A sync that is under way: looked at, waited for, dropped as a crash would.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cvsync::sync::{Pipeline, Summary, SyncError};
use tokio::task::JoinHandle;

use crate::world::World;

/// No state that a test waits for takes longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(150);

/// Waits until `state` holds.
pub(crate) async fn until(what: &str, mut state: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !state().await {
        assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) struct Running {
    pub pipeline: Arc<Pipeline>,
    run: JoinHandle<Result<Summary, SyncError>>,
    troubles: Arc<Mutex<Vec<String>>>,
    noting: JoinHandle<()>,
}

impl Running {
    /// Starts a sync as a process that starts now would.
    pub(crate) fn start(world: &World) -> Self {
        Self::with(world.pipeline())
    }

    pub(crate) fn with(pipeline: Pipeline) -> Self {
        let pipeline = Arc::new(pipeline);
        let troubles = Arc::new(Mutex::new(Vec::new()));
        let noting = tokio::spawn({
            let (troubles, mut trouble) = (Arc::clone(&troubles), pipeline.trouble.subscribe());
            async move {
                while trouble.changed().await.is_ok() {
                    if let Some(error) = trouble.borrow_and_update().as_ref() {
                        troubles.lock().unwrap().push(error.to_string());
                    }
                }
            }
        });
        let run = tokio::spawn({
            let pipeline = Arc::clone(&pipeline);
            async move { pipeline.run().await }
        });
        Self {
            pipeline,
            run,
            troubles,
            noting,
        }
    }

    /// The errors of the database, one per attempt.
    pub(crate) fn troubles(&self) -> Vec<String> {
        self.troubles.lock().unwrap().clone()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.run.is_finished()
    }

    /// Waits until the pipeline has had a database error with these words.
    pub(crate) async fn until_trouble(&self, words: &str) {
        until(words, async || {
            assert!(!self.is_over(), "it ended; {:?}", self.troubles());
            self.troubles()
                .iter()
                .any(|trouble| trouble.contains(words))
        })
        .await;
    }

    /// Waits for its end.
    pub(crate) async fn ended(mut self) -> Result<Summary, SyncError> {
        let ended = tokio::time::timeout(PATIENCE, &mut self.run).await;
        ended
            .unwrap_or_else(|_| panic!("it does not end; {:?}", self.troubles()))
            .unwrap()
    }

    /// Drops it, at whatever point it is.
    pub(crate) async fn crash(mut self) {
        self.run.abort();
        let _ = (&mut self.run).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.run.abort();
        self.noting.abort();
    }
}
