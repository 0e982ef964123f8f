//! The destination: where PostgreSQL is.

use secrecy::SecretString;

use super::reader::Reader;
use super::{Env, Problems, load, urls};

/// How to reach PostgreSQL.
#[derive(Clone, Debug)]
pub struct Database {
    /// `postgres://user:password@host:port/database`, with parameters that sqlx knows and no others.
    pub url: SecretString,
    /// Whether the URL has an `sslmode` of its own.
    pub has_sslmode: bool,
    /// Whether the URL has an `application_name` of its own.
    pub has_name: bool,
    /// Parameters of the URL that have no effect.
    pub without_effect: Vec<&'static str>,
}

impl Database {
    /// Reads the database's part alone.
    pub fn load(env: &Env) -> Result<Self, Problems> {
        load(env, Self::read)
    }

    /// Reads a URL.
    ///
    /// # Errors
    /// The problem, in words that read on from the value.
    pub fn at(url: &str) -> Result<Self, String> {
        let read = urls::postgres(url)?;
        Ok(Self {
            url: read.text.into(),
            has_sslmode: read.has_sslmode,
            has_name: read.has_name,
            without_effect: read.without_effect,
        })
    }

    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        reader.required("CVSYNC_DATABASE_URL", Self::at)
    }
}
