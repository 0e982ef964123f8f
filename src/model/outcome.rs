//! What became of one listed id, and the tally of many.

use std::ops::AddAssign;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::cv::{CvId, Document};

/// Why a CV could not be applied; the `error_class` of `parked_cv`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ParkClass {
    /// The id is no UUID, or VDAB calls it malformed.
    BadId,
    /// VDAB refuses this CV with a status of its own.
    Refused,
    /// VDAB fails on this CV, and on no other.
    ServerError,
    /// The answer for this CV never comes, or breaks off.
    Transport,
    /// The answer is no document of this CV: no JSON, no `cvId`, another `cvId`.
    Unreadable,
    /// The answer is larger than any CV should be.
    TooLarge,
    /// The document cannot be stored in PostgreSQL.
    Unstorable,
    /// VDAB calls the CV gone, but answers for no CV that is known to be live.
    Unproven,
}

impl ParkClass {
    /// The word for it in the database and in metrics.
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

/// What the source says about one CV, or why it could not be learnt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is there, with this document.
    Live(CvId, Document),
    Gone(CvId),
    /// The source calls it gone, but answers for no CV that is known to be live: no proof.
    Unproven {
        id: CvId,
        /// Whether it was listed as live, so that its absence contradicts the list.
        listed_live: bool,
    },
    /// It could not be learnt, and is not asked for again before so long. The id is text here, since garbage ids end here
    /// too.
    Parked(String, ParkClass, Duration),
}

/// The fate of one id, as the source knew it at `as_of`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Which listing asked for it, in the order of the run; `None` for a retry of a parked CV.
    pub window: Option<u64>,
    /// Source time at which the request started whose answer this is.
    pub as_of: DateTime<Utc>,
    /// What the answer was.
    pub fate: Fate,
}

/// How many ids met which end. Over settled windows `listed` is the sum of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// Ids that the source listed.
    pub listed: u64,
    /// Documents that were not there before.
    pub inserted: u64,
    /// Documents with new content.
    pub updated: u64,
    /// Confirmed as they were.
    pub unchanged: u64,
    /// Documents that went.
    pub deleted: u64,
    /// Known to be up to date without asking.
    pub skipped: u64,
    /// Overtaken by a newer answer for the same CV.
    pub superseded: u64,
    /// Set aside to be retried later.
    pub parked: u64,
    /// Deletes that are held back: by the delete brake, or for lack of proof.
    pub held: u64,
}

impl Tally {
    /// Ids that met an end; equals `listed` once a window is settled.
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
        self.skipped += other.skipped;
        self.superseded += other.superseded;
        self.parked += other.parked;
        self.held += other.held;
    }
}

/// What a comparison of the whole source with the database found, up to the watermark; 0 of each is the goal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// CVs that the source lists.
    pub listed: u64,
    /// Listed as there, but not held, and not parked either.
    pub missing: u64,
    /// Held, but not listed as there.
    pub extra: u64,
    /// Held as it was before its latest change.
    pub stale: u64,
    /// Deletes of CVs that are here and not listed, held back. They are not in `extra`.
    pub held: u64,
}
