//! The outcome of one listed id, and the counts of many.

use std::ops::AddAssign;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::cv::{CvId, Document};

/// Why a CV could not be applied; the `error_class` of `parked_cv`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ParkClass {
    /// The id is not a UUID, or VDAB calls it malformed.
    BadId,
    /// VDAB rejects this CV with a 4xx status.
    Refused,
    /// VDAB fails on this CV only.
    ServerError,
    /// The response for this CV never comes, or is cut off.
    Transport,
    /// The response is not a document of this CV: not JSON, no `cvId`, or another `cvId`.
    Unreadable,
    /// The response is larger than any CV should be.
    TooLarge,
    /// The document cannot be stored in PostgreSQL.
    Unstorable,
    /// VDAB calls the CV gone, but returned no CV that is known to be live.
    Unproven,
}

impl ParkClass {
    /// The word in the database and in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadId => "bad_id",
            Self::Refused => "refused",
            Self::ServerError => "server_error",
            Self::Transport => "transport",
            Self::Unreadable => "unreadable",
            Self::TooLarge => "too_large",
            Self::Unstorable => "unstorable",
            Self::Unproven => "unproven",
        }
    }
}

/// The state of one CV at the source, or why it is unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The CV is live, with this document.
    Live(CvId, Document),
    Gone(CvId),
    /// The source calls it gone, but returned no CV that is known to be live: not proven.
    Unproven {
        id: CvId,
        /// Whether it was listed as live, which contradicts its absence.
        listed_live: bool,
    },
    /// It could not be fetched or stored, and is not retried before this time has passed. The id is text, because garbage ids
    /// are parked too.
    Parked(String, ParkClass, Duration),
}

impl Fate {
    /// The CV; `None` if its id is garbage.
    #[must_use]
    pub(crate) fn id(&self) -> Option<CvId> {
        match self {
            Self::Parked(id, ..) => CvId::parse(id),
            _ => self.cv(),
        }
    }

    /// The CV; `None` if it is parked, since its id may be garbage.
    #[must_use]
    pub(crate) fn cv(&self) -> Option<CvId> {
        match self {
            Self::Live(id, _) | Self::Gone(id) | Self::Unproven { id, .. } => Some(*id),
            Self::Parked(..) => None,
        }
    }
}

/// The fate of one id as of `as_of`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The listing that it belongs to, in the order of the run; `None` for a retry of a parked CV.
    pub window: Option<u64>,
    /// The source's time at the start of the request.
    pub as_of: DateTime<Utc>,
    pub fate: Fate,
}

/// Counts of ids by outcome. Over settled windows `listed` is the sum of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    pub listed: u64,
    pub inserted: u64,
    pub updated: u64,
    /// Fetched with the stored content, or gone and not stored.
    pub unchanged: u64,
    pub deleted: u64,
    /// Of `deleted`, the CVs that VDAB has and that do not match CVSYNC_KEEP.
    #[serde(skip)]
    pub filtered: u64,
    /// Not fetched: the state is already stored, or the id was listed twice.
    pub skipped: u64,
    /// Older than the stored state, or than a response in the same batch.
    pub superseded: u64,
    pub parked: u64,
    /// Deletes that the delete brake holds, or that are not proven.
    pub held: u64,
}

impl Tally {
    /// Ids with an outcome; equals `listed` once a window is settled.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.inserted
            + self.updated
            + self.unchanged
            + self.deleted
            + self.skipped
            + self.superseded
            + self.parked
            + self.held
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.listed += other.listed;
        self.inserted += other.inserted;
        self.updated += other.updated;
        self.unchanged += other.unchanged;
        self.deleted += other.deleted;
        self.filtered += other.filtered;
        self.skipped += other.skipped;
        self.superseded += other.superseded;
        self.parked += other.parked;
        self.held += other.held;
    }
}

/// The result of a comparison of the whole source with the database, up to the watermark; 0 of each is the goal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    pub listed: u64,
    /// Live at the source, but neither stored nor parked.
    pub missing: u64,
    /// Stored, but gone at the source.
    pub extra: u64,
    /// Stored, but without a match of CVSYNC_KEEP, because they changed at the source or the setting changed.
    pub filtered: u64,
    /// Stored in the state before their latest change.
    pub stale: u64,
    /// Stored and not listed, with a held delete. Not in `extra`.
    pub held: u64,
}
