//! What commands that only ask VDAB have in common.

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

/// How long a person waits for a source that is away, or for a quota that is used up.
const PATIENCE: Duration = Duration::from_mins(1);

/// VDAB's API at a terminal. It needs no database; where there is one, it shares the quota of the daemon that leads there.
pub(super) struct Source {
    pub vdab: Client,
    /// Asks for calls on the client's behalf.
    _loans: Option<AbortOnDropHandle<()>>,
}

impl Source {
    /// `exclude` is dropped from documents.
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
            .inspect_err(|why| note(&format!("no quota is shared with a daemon: {why}")))
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
