//! The destination: where PostgreSQL is.

use secrecy::SecretString;

use super::reader::Reader;
use super::{Env, Problems, load, urls};

/// How to reach PostgreSQL.
#[derive(Clone, Debug)]
pub struct Database {
    /// `postgres://user:password@host:port/database`.
    pub url: SecretString,
}

impl Database {
    /// Reads the database's part alone.
    pub fn load(env: &Env) -> Result<Self, Problems> {
        load(env, Self::read)
    }

    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let url = reader.required("CVSYNC_DATABASE_URL", |text| {
            // As it was written: sqlx has its own ideas about URLs.
            urls::postgres(text).map(|_| text.into())
        });
        Some(Self { url: url? })
    }
}
