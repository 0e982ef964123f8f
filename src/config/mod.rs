//! Turns environment variables into one immutable [`Config`], and reports all problems at once.

mod api;
mod database;
mod database_tls;
mod dialect;
mod env;
mod env_file;
mod file;
mod http;
mod injected;
mod log;
mod otel;
mod postgres_parameters;
mod postgres_url;
mod problem;
mod proxy;
mod reader;
mod reference;
mod rules;
mod schedule;
mod shaping;
mod shown;
mod ssl_mode;
mod sync;
#[cfg(test)]
mod tests;
mod text;
mod urls;
mod variables;
mod webhook;

pub(crate) use self::api::{Api, OAuth, SecretFile};
pub use self::database::Database;
pub(crate) use self::database::{DATABASE_READ_URL, DATABASE_URL};
pub(crate) use self::database_tls::{Pem, Roots, Tls};
pub use self::env::Env;
pub(crate) use self::http::Http;
pub(crate) use self::log::{Log, LogFormat};
pub use self::otel::{NO_EFFECT, OBEYED};
pub(crate) use self::otel::{Otel, Protocol, Target, Temporality, Tracing};
pub(crate) use self::problem::Problems;
pub(crate) use self::proxy::{Proxies, Proxy};
use self::reader::Reader;
pub(crate) use self::reference::{DIPLOMAS, List, Reference};
pub(crate) use self::schedule::Schedule;
pub(crate) use self::shaping::{Difference, Differs, Recorded, Shaping, conflicts, shaping};
use self::shown::MASK;
pub(crate) use self::shown::{Shown, routes, shown};
pub(crate) use self::ssl_mode::SslMode;
pub(crate) use self::sync::Sync;
pub use self::variables::VARIABLES;
pub(crate) use self::webhook::Webhook;

#[derive(Clone, Debug)]
pub struct Config {
    pub api: Api,
    pub database: Database,
    /// From which the mirror reads, if not from `database`.
    pub read_database: Option<Box<Database>>,
    pub sync: Sync,
    pub http: Http,
    pub webhook: Option<Webhook>,
    pub log: Log,
    pub otel: Box<Otel>,
    /// The variables as `cvsync config show` shows them.
    pub shown: Vec<Shown>,
    /// The settings that shape the stored data, which the daemon records for commands.
    pub shaping: Vec<Shaping>,
    /// Warnings about valid settings, each with the remedy.
    pub warnings: Vec<String>,
}

impl Config {
    pub fn load(env: &Env) -> Result<Self, Problems> {
        let otel = Otel::read(env);
        load(env, |reader| {
            let api = Api::read(reader);
            let database = Database::read(reader);
            let read_database = Database::read_replica(reader);
            let sync = Sync::read(reader);
            let http = Http::read(reader);
            let webhook = Webhook::read(reader);
            let log = Log::read(reader);
            Some(Self {
                api: api?,
                database: database?,
                read_database: read_database?.map(Box::new),
                sync: sync?,
                http: http?,
                webhook: webhook?,
                log: log?,
                shown: shown(env),
                shaping: shaping(env),
                warnings: reader
                    .warnings()
                    .into_iter()
                    .chain(otel.warning())
                    .collect(),
                otel: Box::new(otel),
            })
        })
    }
}

impl Config {
    /// Logs the warnings. Call it once, after logging is installed.
    pub fn warn(&self) {
        for warning in &self.warnings {
            tracing::warn!("{warning}");
        }
    }
}

/// The settings of commands that need VDAB but no database.
#[derive(Clone, Debug)]
pub struct Source {
    pub api: Api,
    pub sync: Sync,
    pub log: Log,
}

impl Source {
    pub fn load(env: &Env) -> Result<Self, Problems> {
        load(env, |reader| {
            let api = Api::read(reader);
            let sync = Sync::read(reader);
            let log = Log::read(reader);
            Some(Self {
                api: api?,
                sync: sync?,
                log: log?,
            })
        })
    }
}

/// Reads one section. Unknown names are always reported.
fn load<T>(env: &Env, read: impl FnOnce(&mut Reader) -> Option<T>) -> Result<T, Problems> {
    let mut reader = Reader::new(env);
    let part = read(&mut reader);
    reader.finish(part)
}
