//! Why there is no run, or why it ended before its time: which stage, which window, what is wrong.

use crate::model::Window;
use crate::store::StoreError;
use crate::vdab::{ApiError, ClientError};

/// A configuration that is formally right, and yet nothing can be built from it.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// No client.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// No store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SyncError {
    /// An error of the database at this stage.
    pub(super) fn at(stage: &'static str) -> impl FnOnce(StoreError) -> Self {
        move |error| match error {
            StoreError::Stopped => Self::Stopped,
            error => Self::Store { stage, error },
        }
    }

    /// A word for it, for traces.
    #[must_use]
    pub fn class(&self) -> &'static str {
        match self {
            Self::List { error, .. } | Self::Refused { error, .. } | Self::Fetch(error) => {
                error.class()
            }
            Self::Store { error, .. } => error.class(),
            Self::Empty { .. } => "empty",
            Self::ListingLost => "listing_lost",
            Self::Stalled(_) => "stalled",
            Self::Overdue { .. } => "overdue",
            Self::Stopped => "stopped",
        }
    }
}

/// A run that did not come to its end. Nothing is lost by it: the watermark stands before what is missing.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The source does not list a window.
    #[error("listing {window}: {error}{}", remedy(error))]
    List {
        window: Window,
        /// What the source answered last.
        error: ApiError,
    },
    /// The source refuses a window repeatedly, although it is narrow.
    #[error(
        "VDAB refuses to list {window}, although that is at most an hour: {error}{}",
        remedy(error)
    )]
    Refused {
        window: Window,
        /// The last response.
        error: ApiError,
    },
    /// The source fails on every CV, not on some.
    #[error("fetching CVs: {0}")]
    Fetch(ApiError),
    /// The database fails.
    #[error("{stage}: {error}")]
    Store {
        /// What was being done.
        stage: &'static str,
        /// What the database said last.
        error: StoreError,
    },
    /// The source lists nothing at all, though there is much: its word is not taken for it.
    #[error(
        "VDAB lists no CV at all, while {stored} are stored; has the key lost its rights? Nothing was deleted"
    )]
    Empty {
        /// CVs in the database.
        stored: i64,
    },
    /// The database restarted, or this process stood still and another one took it for dead.
    #[error(
        "the database does not hold any longer what VDAB listed; nothing was deleted, and the comparison begins anew"
    )]
    ListingLost,
    /// Nothing moved for too long, though neither source nor database was known to be away.
    #[error("nothing moved for {} s; the run was ended, and the next one goes on where it was", .0.as_secs())]
    Stalled(std::time::Duration),
    /// It moved, but far slower than the quota lets it.
    #[error(
        "{what} took {} minutes of work, far more than its calls take; the run was ended, and the next one goes on where it was",
        after.as_secs() / 60
    )]
    Overdue {
        /// A window, or the run.
        what: &'static str,
        /// Time in which neither source nor database was away.
        after: std::time::Duration,
    },
    /// Somebody asked to stop while the database was away.
    #[error("stopped")]
    Stopped,
}

/// What to set so that VDAB's response can be read.
fn remedy(error: &ApiError) -> &'static str {
    match error {
        ApiError::TooLarge { .. } => "; set CVSYNC_PAGE_SIZE to a smaller number",
        _ => "",
    }
}
