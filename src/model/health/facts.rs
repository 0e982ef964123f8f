//! The facts for the verdict, as plain values. A daemon takes them from its memory and a sample of the database, a command from
//! the database alone.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::model::{Coverage, Job};

#[derive(Clone, Debug)]
pub struct Facts {
    /// The source's time now.
    pub now: DateTime<Utc>,
    /// The latest time that a stored time of the source may have.
    pub latest: DateTime<Utc>,
    pub role: Role,
    pub limits: Limits,
    /// The error that keeps this process from using the database.
    pub database: Option<Trouble>,
    /// `None` until the database was read.
    pub stored: Option<Stored>,
    pub pause: Option<Pause>,
    pub leader: Memory,
}

/// The process for which the verdict is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A daemon that prepares the database.
    Starting,
    Leading,
    /// A daemon that does not lead.
    Standby,
    Stopping,
    Command,
}

/// The limits that follow from the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How far the watermark may be behind; see [`super::limits::lag`].
    pub lag: TimeDelta,
    /// Time between two comparisons of the whole source; `None` if they are off.
    pub reconcile_every: Option<TimeDelta>,
    /// Whether the daily second listing is on.
    pub relists: bool,
    /// `CVSYNC_WINDOW_OVERLAP`.
    pub overlap: TimeDelta,
    /// `CVSYNC_SYNC_FROM`.
    pub from: DateTime<Utc>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Trouble {
    /// The cause, and the remedy if it is known.
    pub message: String,
    /// The kind of error.
    pub class: String,
    /// Whether a single statement failed and the database itself works.
    pub one_statement: bool,
    /// When it began, if known.
    pub since: Option<DateTime<Utc>>,
}

#[derive(Clone, Debug)]
pub struct Pause {
    /// As given by the person who paused.
    pub reason: String,
    /// How it was started, such as "over HTTP", if known.
    pub begun_by: Option<String>,
    pub since: DateTime<Utc>,
    /// When it ends by itself; `None` if somebody must resume.
    pub until: Option<DateTime<Utc>>,
}

#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// The settled spans.
    pub coverage: Coverage,
    /// Name of the leader, and when it started.
    pub leader: Option<(String, Option<DateTime<Utc>>)>,
    /// When the last lease ran out, if nobody leads and an instance was seen within a day.
    pub leaderless_since: Option<DateTime<Utc>>,
    /// A second instance that acts as the leader.
    pub rival: Option<String>,
    /// Instances that do not lead because a leader with other settings started later, and these settings.
    pub outdated: Vec<(String, Vec<String>)>,
    pub last_success: BTreeMap<Job, DateTime<Utc>>,
    pub parked: i64,
    /// How long the oldest parked CV has been parked.
    pub parked_for: TimeDelta,
    /// Deletes that nobody has approved.
    pub held_deletes: i64,
    /// When the oldest of them was held.
    pub held_since: Option<DateTime<Utc>>,
    pub consumers: Vec<Consumer>,
    /// CVs that PostgreSQL cannot index.
    pub unsearchable: i64,
    /// Changes in the last six hours, and the usual number if known.
    pub changes: Option<(i64, Option<i64>)>,
    /// Whether CVs were fetched while clocks disagreed.
    pub clock_doubt: bool,
    /// When the database was found to have lost commits, until that is made good.
    pub history_lost_at: Option<DateTime<Utc>>,
}

#[derive(Clone, Debug)]
pub struct Consumer {
    pub name: String,
    /// Whether it is part of cvsync.
    pub is_own: bool,
    /// Changes that it has not processed yet.
    pub behind: i64,
    /// Age of the oldest of these.
    pub waiting: TimeDelta,
}

/// Facts that only this process knows. The leader writes them into its row in `instance` for the others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// How long it has led; `None` if it does not.
    pub leads_for_seconds: Option<u64>,
    /// How long it has led without handling a CV.
    pub idle_seconds: Option<u64>,
    pub database: Option<Trouble>,
    /// VDAB, or the token server, refuses the credentials.
    pub key_refused: Option<Gate>,
    pub source_down: Option<Gate>,
    pub quota_closed: Option<Gate>,
    pub run: Option<UnderWay>,
    /// The error of the latest sync, or of the latest run of the backlog; `None` after a success.
    pub failure: Option<String>,
    pub failure_class: Option<String>,
    pub next_run_at: Option<DateTime<Utc>>,
    /// The widest window that VDAB accepts, in minutes, if narrower than configured.
    pub narrow_windows: Option<i64>,
    /// The errors of jobs beside the runs.
    pub side_errors: Vec<String>,
    /// The trouble with the webhook's receiver.
    pub webhook: Option<String>,
    /// The trouble with the standby from which the mirror of this instance reads.
    pub replica: Option<String>,
    /// The clock that differs from the others, and by how much.
    pub odd_clock: Option<String>,
    /// Log lines that were not written, while lines are being dropped.
    pub log_lines_dropped: Option<u64>,
    /// The variables whose older values keep this instance from leading.
    pub outdated: Vec<String>,
    /// Number of names in VDAB's responses that the contract does not have.
    pub drift: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Gate {
    /// The cause and the remedy.
    pub message: String,
    /// The kind of error.
    pub class: String,
    pub since: DateTime<Utc>,
    /// When the next call is made.
    pub again_at: DateTime<Utc>,
}

impl Gate {
    /// Whether the OAuth token server failed, and not VDAB.
    pub(super) fn is_of_token_server(&self) -> bool {
        self.message.contains("CVSYNC_OAUTH_")
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UnderWay {
    pub done: u64,
    /// CVs in all, as far as known.
    pub expected: u64,
    /// `None` while unknown.
    pub eta_seconds: Option<u64>,
}
