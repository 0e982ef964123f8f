//! Environment variables, to one immutable [`Config`]; every problem in one report.

mod api;
mod database;
mod database_tls;
mod dialect;
mod env;
mod file;
mod http;
mod injected;
mod log;
mod otel;
mod postgres_url;
mod problem;
mod proxy;
mod reader;
mod reference;
mod rules;
mod schedule;
mod shaping;
mod shown;
mod sync;
#[cfg(test)]
mod tests;
mod text;
mod urls;
mod variables;
mod webhook;

pub(crate) use self::api::{Api, OAuth, SecretFile};
pub use self::database::Database;
pub(crate) use self::database_tls::{Pem, Roots, Tls};
pub use self::env::Env;
pub(crate) use self::http::Http;
pub(crate) use self::log::{Log, LogFormat};
pub use self::otel::{NO_EFFECT, OBEYED};
pub(crate) use self::otel::{Otel, Protocol, Target, Temporality, Tracing};
pub(crate) use self::postgres_url::SslMode;
pub(crate) use self::problem::Problems;
pub(crate) use self::proxy::{Proxies, Proxy};
use self::reader::Reader;
pub(crate) use self::reference::{DIPLOMAS, List, Reference};
pub(crate) use self::schedule::Schedule;
pub(crate) use self::shaping::{Differs, Shaping, shaping};
use self::shown::MASK;
pub(crate) use self::shown::{Shown, routes, shown};
pub(crate) use self::sync::Sync;
pub use self::variables::VARIABLES;
pub(crate) use self::webhook::Webhook;

/// Everything that can be configured, valid as a whole.
#[derive(Clone, Debug)]
pub struct Config {
    /// The source.
    pub api: Api,
    /// The destination.
    pub database: Database,
    /// The pipeline between them.
    pub sync: Sync,
    /// Health, metrics and status.
    pub http: Http,
    /// Who is told of changes, if anybody.
    pub webhook: Option<Webhook>,
    /// What is logged, and how.
    pub log: Log,
    /// What is pushed by OTLP, and how.
    pub otel: Box<Otel>,
    /// All of it as `cvsync config show` shows it.
    pub shown: Vec<Shown>,
    /// The settings that shape the stored data, for the commands beside the daemon.
    pub shaping: Vec<Shaping>,
    /// Valid settings that should be changed, each with the remedy.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads everything.
    pub fn load(env: &Env) -> Result<Self, Problems> {
        let otel = Otel::read(env);
        load(env, |reader| {
            let api = Api::read(reader);
            let database = Database::read(reader);
            let sync = Sync::read(reader);
            let http = Http::read(reader);
            let webhook = Webhook::read(reader);
            let log = Log::read(reader);
            Some(Self {
                api: api?,
                database: database?,
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

/// What a look at the source alone needs.
#[derive(Clone, Debug)]
pub struct Source {
    /// How to reach it.
    pub api: Api,
    /// How wide it is asked, and how large its pages are.
    pub sync: Sync,
    /// What is logged, and how.
    pub log: Log,
}

impl Source {
    /// Reads these parts; no database is needed.
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

/// Reads one part. Names that nobody knows are reported whatever the part.
fn load<T>(env: &Env, read: impl FnOnce(&mut Reader) -> Option<T>) -> Result<T, Problems> {
    let mut reader = Reader::new(env);
    let part = read(&mut reader);
    reader.finish(part)
}
