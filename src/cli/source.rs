//! The shared start of commands that only call VDAB.

use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;

use super::output::note;
use crate::clock::Clock;
use crate::config::{self, Api, Env, Log, Otel};
use crate::store::Store;
use crate::store::leader_setting::{self, LeaderSetting};
use crate::sync::loan;
use crate::telemetry::{self, Metrics, Screen};
use crate::vdab::Client;

/// Maximum wait for a source that is unreachable, or for a quota that is used up.
const PATIENCE: Duration = Duration::from_mins(1);

/// VDAB's API for a command. It needs no database; with one, it shares the quota of the daemon that leads there.
pub(super) struct Source {
    /// The environment of the command, with the settings of the daemon.
    pub env: Env,
    pub vdab: Client,
    /// Borrows calls for the client.
    _loans: Option<AbortOnDropHandle<()>>,
}

impl Source {
    /// With the settings of the daemon, if there is one. Its exclusions are removed from documents.
    pub(super) async fn prepare(env: &Env) -> anyhow::Result<Self> {
        telemetry::install(&Log::load(env)?, &Otel::default(), &Screen::default())?;
        // Reports all problems of this environment before anything is asked.
        Api::load(env)?;
        let (env, store) = beside_daemon(env).await?;
        let exclude = config::Sync::load(&env)?.document_exclude;
        let api = Api::load(&env)?;
        let patience = Some(PATIENCE);
        let mut vdab = Client::new(&api, exclude, patience, Clock::default(), Metrics::new()?)?;
        let loans = store
            .map(|store| loan::borrow(&mut vdab, &store))
            .inspect_err(|why| note(&format!("the quota is not shared with a daemon: {why}")))
            .ok();
        Ok(Self {
            env,
            vdab,
            _loans: loans,
        })
    }
}

/// This environment with the settings that the latest leader recorded, and the database, or why the database is not used.
///
/// # Errors
/// If the settings differ, or if the database's URL is wrong.
pub(super) async fn beside_daemon(env: &Env) -> anyhow::Result<(Env, Result<Store, String>)> {
    if !names_database(env) {
        let why = "CVSYNC_DATABASE_URL is not set".to_owned();
        return Ok((env.clone(), Err(why)));
    }
    let store = Store::new(&config::Database::load(env)?)?;
    let read = store.read("reading the leader's settings", leader_setting::all);
    match read.await {
        Err(error) => Ok((env.clone(), Err(error.to_string()))),
        Ok(leader) => {
            let env = env.under(leader.iter().map(LeaderSetting::recorded))?;
            Ok((env, Ok(store)))
        }
    }
}

pub(super) fn names_database(env: &Env) -> bool {
    env.sets("CVSYNC_DATABASE_URL") || env.sets("CVSYNC_DATABASE_URL_FILE")
}
