//! The errors that prevent or end a run: in which stage, for which window, and why.

use crate::model::Window;
use crate::store::StoreError;
use crate::vdab::{ApiError, ClientError};

/// A configuration that is formally right, but from which no pipeline can be built.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SyncError {
    pub(super) fn at(stage: &'static str) -> impl FnOnce(StoreError) -> Self {
        move |error| match error {
            StoreError::Stopped => Self::Stopped,
            StoreError::OtherShape => Self::OtherShape,
            error => Self::Store { stage, error },
        }
    }

    /// The label in traces.
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
            Self::OtherShape => "other_shape",
        }
    }
}

/// The error that ended a run. No data is lost: the next run starts at the watermark.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    #[error("listing {window}: {error}{}", remedy(error))]
    List { window: Window, error: ApiError },
    /// VDAB refuses a window repeatedly, although it is narrow.
    #[error(
        "VDAB refuses to list {window}, although that is at most an hour: {error}{}",
        remedy(error)
    )]
    Refused { window: Window, error: ApiError },
    /// VDAB fails for every CV, not for some.
    #[error("fetching CVs: {0}")]
    Fetch(ApiError),
    #[error("{stage}: {error}")]
    Store {
        stage: &'static str,
        error: StoreError,
    },
    /// VDAB lists no CV at all, although many are stored. That is not believed.
    #[error(
        "VDAB lists no CV at all, while {stored} are stored. No CV was deleted. Check whether your key has lost its rights"
    )]
    Empty { stored: i64 },
    /// The database restarted, or this process stood still and another one removed the listing.
    #[error(
        "the database no longer has the listing of this comparison. No CV was deleted, and the comparison starts again"
    )]
    ListingLost,
    /// The run stood still for too long, while neither VDAB nor the database was known to be down.
    #[error("no progress for {} s, so this run was ended; the next run continues from the watermark", .0.as_secs())]
    Stalled(std::time::Duration),
    /// The run made progress, but far slower than the quota allows.
    #[error(
        "{what} took {} minutes, far more than its calls need, so this run was ended; the next run continues from the watermark",
        after.as_secs() / 60
    )]
    Overdue {
        /// A window, or the run.
        what: &'static str,
        /// Without the time in which VDAB or the database was down.
        after: std::time::Duration,
    },
    /// The daemon stores documents in another shape than this command.
    #[error("{}", StoreError::OtherShape)]
    OtherShape,
    /// The process was asked to stop while the database was down.
    #[error("stopped")]
    Stopped,
}

/// The setting with which VDAB's response can be read.
fn remedy(error: &ApiError) -> &'static str {
    match error {
        ApiError::TooLarge { .. } => "; set CVSYNC_PAGE_SIZE to a smaller number",
        _ => "",
    }
}
