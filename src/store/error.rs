//! Errors of PostgreSQL, without any content of the stored data.

use crate::config;

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
    /// The database may have lost commits that it acknowledged, in a failover or a restore: nothing was written.
    #[error(
        "the database may have lost commits (failover or restore); cvsync starts again from the stored watermark"
    )]
    HistoryLost,
    /// The leader stores documents in another shape than this command: nothing was written.
    #[error(
        "CVSYNC_KEEP or CVSYNC_DOCUMENT_EXCLUDE has changed in the daemon since this command started, so the command would store other data; it stopped before its next write: run it again"
    )]
    OtherShape,
    /// The database or cvsync's schema in it is missing. A process that has worked in it cannot go on; one that starts can.
    #[error("the database does not let cvsync work: {0}")]
    Gone(String),
    /// Somebody asked to stop while the database was away.
    #[error("stopped")]
    Stopped,
    /// A person has to look: wrong password, missing permission, a schema touched by hand.
    #[error("the database does not let cvsync work: {0}")]
    Broken(String),
}

impl StoreError {
    /// The value of the label `error_type` in metrics.
    #[must_use]
    pub fn class(&self) -> &'static str {
        match self {
            Self::Passing(_) => "passing",
            Self::ReadOnly(_) => "read_only",
            Self::Statement(_) => "statement",
            Self::Data(_) => "data",
            Self::Fenced => "fenced",
            Self::HistoryLost => "history_lost",
            Self::OtherShape => "other_shape",
            Self::Gone(_) => "gone",
            Self::Broken(_) => "broken",
            Self::Stopped => "stopped",
        }
    }

    /// Its remedy; decided here and nowhere else.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Passing(_) => Remedy::Wait,
            Self::ReadOnly(_) => Remedy::Reconnect,
            Self::Statement(_) => Remedy::Retry,
            Self::Data(_) => Remedy::Isolate,
            Self::Fenced | Self::HistoryLost | Self::OtherShape | Self::Stopped => {
                Remedy::StandDown
            }
            Self::Gone(_) => Remedy::StartAnew,
            Self::Broken(_) => Remedy::Tell,
        }
    }

    /// The same error, with a cause that it did not know.
    pub(super) fn because(self, cause: &str) -> Self {
        match self {
            Self::Passing(text) => Self::Passing(format!("{text}; {cause}")),
            Self::Statement(text) => Self::Statement(format!("{text}; {cause}")),
            same => same,
        }
    }

    /// The same error of a database whose URL is in this variable. Texts name the variable of the primary's URL.
    pub(super) fn naming(self, variable: &str) -> Self {
        let named = |text: String| text.replace(config::DATABASE_URL, variable);
        match self {
            Self::Passing(text) => Self::Passing(named(text)),
            Self::ReadOnly(text) => Self::ReadOnly(named(text)),
            Self::Statement(text) => Self::Statement(named(text)),
            Self::Gone(text) => Self::Gone(named(text)),
            Self::Broken(text) => Self::Broken(named(text)),
            same => same,
        }
    }

    /// Whether the database itself is away, so that waiting helps. Any other error that repeats at the same place stays.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        matches!(self.remedy(), Remedy::Wait | Remedy::Reconnect)
    }
}

/// The remedy for an error of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Wait until the database is back, then do it again.
    Wait,
    /// The same, over new connections: those that are open lead to a server that takes no writes.
    Reconnect,
    /// Do it again soon, a few times.
    Retry,
    /// Find the row that PostgreSQL refuses, and set it aside.
    Isolate,
    /// Do nothing more: another instance leads, memory of the database or of the leader's settings is wrong, or the process ends.
    StandDown,
    /// End the process: one that starts creates what is missing.
    StartAnew,
    /// Stop, and tell a person what is wrong.
    Tell,
}
