//! `/api/status`: is it in step with VDAB, and if not, why. No personal data.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Admin, LastRun, Phase, facts};
use crate::model::{Health, Job, Light, Tally};
use crate::store::pause::Pause;
use crate::sync::{ClosedGate, Seen, Snapshot};

/// Everything that a person who is paged wants to know first.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Status {
    /// This binary's.
    pub version: &'static str,
    /// What the daemon is at.
    pub phase: Phase,
    /// Whether it can do its work.
    pub ready: bool,
    /// `green`, `amber` (it works, and a person should know something) or `red` (a person has to act).
    pub light: Light,
    /// One line for each finding.
    pub reasons: Vec<String>,
    /// The verdict.
    pub health: Health,
    /// Every change before this is applied or parked.
    pub watermark: Option<DateTime<Utc>>,
    /// The source's time now, minus the watermark.
    pub lag_seconds: Option<i64>,
    /// The run under way.
    pub run: Option<Snapshot>,
    /// How the latest run ended.
    pub last_run: Option<LastRun>,
    /// When the next run starts.
    pub next_run_at: Option<DateTime<Utc>>,
    /// What the runs of this process that are over did, together.
    pub since_start: Tally,
    /// CVs stored; an estimate where they are many.
    pub stored: Option<i64>,
    /// Deletes that the brake holds back until a person decides.
    pub held_deletes: Option<i64>,
    pub leader: Option<String>,
    /// The pause that holds.
    pub pause: Option<Pause>,
    /// Parked CVs by error class.
    pub parked: BTreeMap<String, i64>,
    /// When each job last came to its end.
    pub last_success: BTreeMap<Job, DateTime<Utc>>,
    /// How many numbers the change feed is ahead of each consumer that registered; of many, those that are furthest behind.
    pub feed_behind: BTreeMap<String, i64>,
    /// Calls that CVSYNC_API_RATE_PER_MINUTE allows in a minute, to each endpoint.
    pub quota_per_minute: u32,
    /// The operations that are not called for now, and why.
    pub closed_gates: BTreeMap<&'static str, ClosedGate>,
    /// What CVSYNC_WINDOW_OVERLAP should be, as far as late changes have shown.
    pub better_overlap_hours: Option<u64>,
    /// Paths of fields and status words that the contract does not have, as this process has seen them.
    pub schema_drift: Seen,
    /// How far this machine's clock is ahead of VDAB's.
    pub clock_ahead_seconds: Option<i64>,
}

pub(super) async fn answer(State(admin): State<Arc<Admin>>) -> Json<Status> {
    Json(status(&admin))
}

/// The state of things as of now.
#[must_use]
pub(crate) fn status(admin: &Admin) -> Status {
    let health = facts::health(admin);
    let numbers = admin.board.sample().and_then(Result::ok);
    let watermark = facts::watermark(admin);
    Status {
        version: env!("CARGO_PKG_VERSION"),
        phase: admin.phase(),
        ready: health.ready,
        light: health.light,
        reasons: health.reasons(),
        health,
        watermark,
        lag_seconds: watermark.map(|at| (admin.view.now() - at).num_seconds()),
        run: admin.view.run(),
        last_run: admin.board.last_run(),
        next_run_at: admin.board.next_run_at(),
        since_start: admin.board.done(),
        stored: numbers.as_ref().map(|numbers| numbers.stored),
        held_deletes: numbers.as_ref().map(|numbers| numbers.held_deletes),
        leader: numbers
            .as_ref()
            .and_then(|numbers| numbers.leader.as_ref().filter(|leader| leader.alive))
            .map(|leader| leader.holder.clone()),
        pause: admin.board.pause(),
        parked: numbers
            .as_ref()
            .map(|numbers| numbers.parked.clone())
            .unwrap_or_default(),
        feed_behind: numbers
            .iter()
            .flat_map(|numbers| &numbers.consumers)
            .map(|one| (one.name.clone(), one.behind))
            .collect(),
        last_success: numbers
            .map(|numbers| numbers.last_success)
            .unwrap_or_default(),
        quota_per_minute: admin.view.per_minute(),
        closed_gates: admin.view.closed_gates().into_iter().collect(),
        better_overlap_hours: admin.view.better_overlap_hours(),
        schema_drift: admin.view.drift(),
        clock_ahead_seconds: admin
            .view
            .local_clock_ahead()
            .map(|ahead| ahead.num_seconds()),
    }
}
