//! Environment variables, to one immutable [`Config`]; every problem in one report.

mod api;
mod database;
mod http;
mod log;
mod sync;

pub use self::api::{Api, OAuth};
pub use self::database::Database;
pub use self::http::Http;
pub use self::log::{Log, LogFormat};
pub use self::sync::{Schedule, Sync};

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
    /// What is logged, and how.
    pub log: Log,
}
