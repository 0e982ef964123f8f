//! The facts that cvsync is judged by: plain values. A daemon takes them from its memory and a sample of the database, a command from
//! the database alone.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::model::Job;

/// Everything that the verdict depends on.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The source's time now.
    pub now: DateTime<Utc>,
    /// No stored time of the source can be later than this.
    pub latest: DateTime<Utc>,
    /// The part of the process that asks.
    pub role: Role,
    /// Beyond these, something is late.
    pub limits: Limits,
    /// The error that keeps this process from using the database.
    pub database: Option<Trouble>,
    /// The content of the database; `None` until it was read.
    pub stored: Option<Stored>,
    /// The pause that holds.
    pub pause: Option<Pause>,
    /// The facts that only the leader knows.
    pub leader: Memory,
}

/// The process for which the verdict is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A daemon that prepares the database.
    Starting,
    /// The daemon that leads.
    Leading,
    /// A daemon beside the leader.
    Standby,
    /// A daemon that ends.
    Stopping,
    Command,
}

/// The limits that follow from the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How far the watermark may be behind; see [`super::limits::lag`].
    pub lag: TimeDelta,
    /// From one comparison of the whole source to the next; `None` where that is off.
    pub reconcile_every: Option<TimeDelta>,
    /// Whether there is a daily second listing.
    pub relists: bool,
    /// `CVSYNC_WINDOW_OVERLAP`.
    pub overlap: TimeDelta,
}

/// An error of the database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Trouble {
    /// Its cause, and where it is known the remedy.
    pub message: String,
    /// Whether only one statement failed: the database itself works.
    pub one_statement: bool,
    /// When it began, where that is known.
    pub since: Option<DateTime<Utc>>,
}

/// A pause.
#[derive(Clone, Debug)]
pub struct Pause {
    /// In a person's words.
    pub reason: String,
    /// How it was begun, where that is known.
    pub begun_by: Option<String>,
    /// When it began.
    pub since: DateTime<Utc>,
    /// When it ends by itself.
    pub until: Option<DateTime<Utc>>,
}

/// The content of the database.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// Every change before it is applied or parked.
    pub watermark: Option<DateTime<Utc>>,
    /// The instance that leads, and since when it runs.
    pub leader: Option<(String, Option<DateTime<Utc>>)>,
    /// Since when nobody leads, where an instance was seen in the last day.
    pub leaderless_since: Option<DateTime<Utc>>,
    /// Another instance that says that it leads.
    pub rival: Option<String>,
    /// When each job last succeeded.
    pub last_success: BTreeMap<Job, DateTime<Utc>>,
    /// Parked CVs.
    pub parked: i64,
    /// How long the oldest of them has been parked.
    pub parked_for: TimeDelta,
    /// Deletes that wait for a person.
    pub held_deletes: i64,
    /// Since when the oldest of them waits.
    pub held_since: Option<DateTime<Utc>>,
    /// The consumers of the change feed.
    pub consumers: Vec<Consumer>,
    /// CVs that PostgreSQL cannot index.
    pub unsearchable: i64,
    /// Changes of the last hours, and how many are usual.
    pub changes: Option<(i64, Option<i64>)>,
    /// Whether CVs were fetched while clocks disagreed.
    pub clock_doubt: bool,
}

/// A consumer of the change feed.
#[derive(Clone, Debug)]
pub struct Consumer {
    pub name: String,
    /// Whether it is part of cvsync.
    pub is_own: bool,
    /// Changes that it has not processed.
    pub behind: i64,
    /// The age of the oldest of these.
    pub waiting: TimeDelta,
}

/// The facts that only the process that leads knows. It writes them into its row in `instance` for the others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// For how long it has led; `None` where it does not.
    pub leads_for_seconds: Option<u64>,
    /// For how long it has led without handling a CV.
    pub idle_seconds: Option<u64>,
    /// The error that keeps it from using the database.
    pub database: Option<Trouble>,
    /// VDAB, or the token server, refuses the credentials.
    pub key_refused: Option<Gate>,
    /// VDAB is down or fails on everything.
    pub source_down: Option<Gate>,
    /// VDAB's quota is used up.
    pub quota_closed: Option<Gate>,
    /// The run under way.
    pub run: Option<UnderWay>,
    /// The error of the latest sync; `None` after a success.
    pub failure: Option<String>,
    /// When the next sync starts.
    pub next_run_at: Option<DateTime<Utc>>,
    /// The width in minutes that VDAB limits windows to.
    pub narrow_windows: Option<i64>,
    /// The errors of jobs beside the runs.
    pub side_errors: Vec<String>,
    /// The trouble with the webhook's receiver.
    pub webhook: Option<String>,
    /// The clock that differs from the others, and by how much.
    pub odd_clock: Option<String>,
    /// Log lines that were not written, while lines are being dropped.
    pub log_lines_dropped: Option<u64>,
    /// Names in VDAB's responses that the contract does not have.
    pub drift: usize,
}

/// A closed gate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Gate {
    /// The cause, and what to do.
    pub message: String,
    /// When it closed.
    pub since: DateTime<Utc>,
    /// When VDAB is asked again.
    pub again_at: DateTime<Utc>,
}

/// How far a run is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UnderWay {
    /// CVs that are done.
    pub done: u64,
    /// CVs in all, as far as is known.
    pub expected: u64,
    /// Seconds to go, where that is known.
    pub eta_seconds: Option<u64>,
}
