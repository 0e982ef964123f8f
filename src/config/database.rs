//! The destination: where PostgreSQL is.

use secrecy::SecretString;

/// How to reach PostgreSQL.
#[derive(Clone, Debug)]
pub struct Database {
    /// `postgres://user:password@host:port/database`.
    pub url: SecretString,
}
