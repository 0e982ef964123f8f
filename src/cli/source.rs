//! The shared start of commands that only call VDAB.

use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;

use super::output::note;
use crate::clock::Clock;
use crate::config::{self, Api, Env, Log, Otel};
use crate::model::JsonPointer;
use crate::store::Store;
use crate::sync::loan;
use crate::telemetry::{self, Metrics, Screen};
use crate::vdab::Client;

/// Maximum wait for a source that is unreachable, or for a quota that is used up.
const PATIENCE: Duration = Duration::from_mins(1);

/// VDAB's API for a command. It needs no database; with one, it shares the quota of the daemon that leads there.
pub(super) struct Source {
    pub vdab: Client,
    /// Borrows calls for the client.
    _loans: Option<AbortOnDropHandle<()>>,
}

impl Source {
    /// `exclude` is removed from documents.
    pub(super) async fn prepare(env: &Env, exclude: Vec<JsonPointer>) -> anyhow::Result<Self> {
        let api = Api::load(env)?;
        let database = names_database(env).then(|| config::Database::load(env));
        let store = database.transpose()?.as_ref().map(Store::new).transpose()?;
        telemetry::install(&Log::load(env)?, &Otel::default(), &Screen::default())?;
        let patience = Some(PATIENCE);
        let mut vdab = Client::new(&api, exclude, patience, Clock::default(), Metrics::new()?)?;
        let store = match store {
            None => Err("CVSYNC_DATABASE_URL is not set".to_owned()),
            Some(store) => match store.ping().await {
                Ok(()) => Ok(store),
                Err(error) => Err(error.to_string()),
            },
        };
        let loans = store
            .map(|store| loan::borrow(&mut vdab, &store))
            .inspect_err(|why| note(&format!("the quota is not shared with a daemon: {why}")))
            .ok();
        Ok(Self {
            vdab,
            _loans: loans,
        })
    }
}

fn names_database(env: &Env) -> bool {
    env.sets("CVSYNC_DATABASE_URL") || env.sets("CVSYNC_DATABASE_URL_FILE")
}
