//! What can go wrong in PostgreSQL, told without a word of what was being stored.

use sqlx::error::DatabaseError;

use super::cause;

/// A failed statement or connection.
///
/// It does not keep sqlx's error: that one's `Debug` prints PostgreSQL's context, which holds pieces of documents.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It may work again by itself: no connection, a restart, a full disk.
    #[error("the database cannot be used now: {0}")]
    Passing(String),
    /// It takes no writes: it has become a replica, or an old connection leads to one.
    #[error("the database cannot be used now: {0}")]
    ReadOnly(String),
    /// The database works, and did not carry this statement out: it took too long, waited too long for a lock, or lost a
    /// deadlock. It may work when it is tried again.
    #[error("the database did not carry out a statement: {0}")]
    Statement(String),
    /// A value that PostgreSQL refuses (SQLSTATE class 22, 23 or 54).
    #[error("the database refuses a value (SQLSTATE {0})")]
    Data(String),
    /// Another instance leads now: nothing was written.
    #[error("another instance leads now")]
    Fenced,
    /// The database or cvsync's schema in it is missing. A process that has worked in it cannot go on; one that starts can.
    #[error("the database does not let cvsync work: {0}")]
    Gone(String),
    /// A person has to look: wrong password, missing permission, a schema touched by hand.
    #[error("the database does not let cvsync work: {0}")]
    Broken(String),
}

impl StoreError {
    /// A word for metrics.
    #[must_use]
    pub fn class(&self) -> &'static str {
        match self {
            Self::Passing(_) => "passing",
            Self::ReadOnly(_) => "read_only",
            Self::Statement(_) => "statement",
            Self::Data(_) => "data",
            Self::Fenced => "fenced",
            Self::Gone(_) => "gone",
            Self::Broken(_) => "broken",
        }
    }

    /// Whether the database itself is away, so that waiting helps. Any other error that repeats at the same place stays.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Passing(_) | Self::ReadOnly(_))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database) => from_database(database.as_ref()),
            sqlx::Error::Io(io) => cause::of_io(io),
            sqlx::Error::Tls(error) => cause::of_tls_layer(error.as_ref()),
            sqlx::Error::PoolTimedOut => {
                Self::Passing("no connection became free in time".to_owned())
            }
            sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed | sqlx::Error::BeginFailed => {
                Self::Passing("the connection was closed".to_owned())
            }
            sqlx::Error::Protocol(_) => Self::Passing("the connection broke off".to_owned()),
            _ => Self::Broken(
                "an answer that cvsync does not understand; was the schema changed by hand?"
                    .to_owned(),
            ),
        }
    }
}

fn from_database(error: &dyn DatabaseError) -> StoreError {
    let code = error.code().unwrap_or_default().into_owned();
    let remedy = cause::remedy(&code).map_or_else(String::new, |remedy| format!("; {remedy}"));
    let message = || format!("{} (SQLSTATE {code}){remedy}", error.message());
    match code.get(..2).unwrap_or_default() {
        "22" | "23" | "54" => StoreError::Data(code),
        "25" if code == "25006" => StoreError::ReadOnly(message()),
        // 57014: cancelled, as by our own limit. The rest: state of the transaction, rollback, not now, a file that cannot be read.
        "57" if code == "57014" => StoreError::Statement(message()),
        "25" | "40" | "55" | "58" => StoreError::Statement(message()),
        // Connection, resources, operator.
        "08" | "53" | "57" => StoreError::Passing(message()),
        "3D" => StoreError::Gone(message()),
        "42" | "3F" if matches!(&*code, "42P01" | "3F000") => StoreError::Gone(format!(
            "cvsync's schema is not there, or not whole (SQLSTATE {code}); run `cvsync migrate` or `cvsync run` first"
        )),
        // These messages name users, databases and tables, and no values; those of other classes may.
        "28" | "42" => StoreError::Broken(message()),
        _ => StoreError::Broken(format!("SQLSTATE {code}; see the log of the server")),
    }
}
