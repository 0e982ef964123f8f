//! `/api/status`: the verdict and the state behind it, without personal data. Without the admin token, errors are classes, and instances
//! have no names.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::{Extension, Json};
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::guard::Peer;
use super::lanes::{Backlog, Live};
use super::{Admin, Audience, LastRun, Phase, facts};
use crate::model::{Health, Job, Lane, Light, Tally};
use crate::store::pause::Pause;
use crate::store::refit::Refit;
use crate::sync::{ClosedGate, Drifts, Snapshot};

/// The response; docs/operations.md describes it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Status {
    pub version: &'static str,
    pub phase: Phase,
    /// Whether this instance can work.
    pub ready: bool,
    /// `green`, `amber` (it works, and you should know something) or `red` (you must act).
    pub light: Light,
    /// One line per finding.
    pub reasons: Vec<String>,
    pub health: Health,
    pub watermark: Option<DateTime<Utc>>,
    /// VDAB's time now minus the watermark.
    pub lag_seconds: Option<i64>,
    pub live: Option<Live>,
    /// `None` without a backlog.
    pub backlog: Option<Backlog>,
    pub run: Option<Snapshot>,
    /// The latest sync.
    pub last_run: Option<LastRun>,
    /// When the next sync starts.
    pub next_run_at: Option<DateTime<Utc>>,
    /// The counts of all finished runs of this process.
    pub since_start: Tally,
    /// CVs stored; an estimate for large tables.
    pub stored: Option<i64>,
    /// Deletes that nobody has approved.
    pub held_deletes: Option<i64>,
    /// CVs that must not be stored.
    pub suppressed: Option<i64>,
    /// The progress of bringing documents into the shape of CVSYNC_KEEP and CVSYNC_DOCUMENT_EXCLUDE.
    pub refit: Option<Refit>,
    pub leader: Option<String>,
    /// When a leader last noticed that the database had lost commits.
    pub history_lost_at: Option<DateTime<Utc>>,
    pub pause: Option<Pause>,
    /// Parked CVs by error class.
    pub parked: BTreeMap<String, i64>,
    pub last_success: BTreeMap<Job, DateTime<Utc>>,
    /// Latest `seq` of the change feed minus the position of each consumer; of at most 20.
    pub feed_behind: BTreeMap<String, i64>,
    /// CVSYNC_API_RATE_PER_MINUTE, which holds for each operation.
    pub quota_per_minute: u32,
    /// Operations whose gate is closed, and why.
    pub closed_gates: BTreeMap<&'static str, ClosedGate>,
    /// The value that CVSYNC_WINDOW_OVERLAP should have, judged by late changes.
    pub better_overlap_hours: Option<u64>,
    /// Paths and status words that the contract does not have, seen since the process started.
    pub schema_drift: Drifts,
    /// How far this machine's clock is ahead of VDAB's.
    pub clock_ahead_seconds: Option<i64>,
}

pub(super) async fn answer(
    State(admin): State<Arc<Admin>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Json<Status> {
    let audience = admin.guard.token(&headers, peer).await.audience();
    Json(status(&admin, audience))
}

#[must_use]
pub(crate) fn status(admin: &Admin, audience: Audience) -> Status {
    let whole = whole(admin, facts::health(admin, audience));
    match audience {
        Audience::Operator => whole,
        Audience::Public => whole.public(admin),
    }
}

impl Status {
    /// The same without texts of errors and names of instances.
    fn public(mut self, admin: &Admin) -> Self {
        if let Some(run) = &mut self.last_run {
            run.error = run.error_class.map(ToOwned::to_owned);
        }
        for gate in self.closed_gates.values_mut() {
            gate.message = gate.class.to_owned();
        }
        if let Some(pause) = &mut self.pause {
            pause.begun_by = None;
        }
        let leads = admin.phase() == Phase::Leading;
        let leader = if leads {
            "this instance"
        } else {
            "another instance"
        };
        self.leader = self.leader.map(|_| leader.to_owned());
        self
    }
}

/// Everything, with this verdict.
fn whole(admin: &Admin, health: Health) -> Status {
    let numbers = admin.board.sample().and_then(Result::ok);
    let coverage = facts::coverage(admin).unwrap_or_default();
    let watermark = coverage.watermark;
    let from = admin.view.settings().from;
    let run = admin.view.progress().of(Lane::Backlog).snapshot();
    Status {
        version: env!("CARGO_PKG_VERSION"),
        phase: admin.phase(),
        ready: health.ready,
        light: health.light,
        reasons: health.reasons(),
        health,
        watermark,
        lag_seconds: watermark.map(|at| (admin.view.now() - at).num_seconds()),
        live: Live::of(&coverage, from, admin.view.now()),
        backlog: Backlog::of(&coverage, from, run.as_ref()),
        run: admin.view.run(),
        last_run: admin.board.last_run(),
        next_run_at: admin.board.next_run_at(),
        since_start: admin.board.done(),
        stored: numbers.as_ref().map(|numbers| numbers.stored),
        held_deletes: numbers.as_ref().map(|numbers| numbers.held_deletes),
        suppressed: numbers.as_ref().map(|numbers| numbers.suppressed),
        refit: numbers.as_ref().and_then(|numbers| numbers.refit.clone()),
        leader: numbers
            .as_ref()
            .and_then(|numbers| numbers.leader.as_ref().filter(|leader| leader.alive))
            .map(|leader| leader.holder.clone()),
        history_lost_at: numbers
            .as_ref()
            .and_then(|numbers| numbers.leader.as_ref()?.history_lost_at),
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
        closed_gates: admin.view.closed_gates(),
        better_overlap_hours: admin.view.better_overlap_hours(),
        schema_drift: admin.view.drift(),
        clock_ahead_seconds: admin
            .view
            .local_clock_ahead()
            .map(|ahead| ahead.num_seconds()),
    }
}
