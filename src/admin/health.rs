//! `/livez` and `/readyz`: for whoever restarts the daemon, and for whoever is paged.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;

use super::{Admin, Phase};
use crate::model::window::instant;
use crate::model::{clocks, volume};
use crate::store::StoreError;
use crate::store::cv_search;
use crate::store::feed_consumer::WEBHOOK;
use crate::sync::RELIST_EVERY;
use crate::telemetry::STDERR;
use crate::vdab::Reason;

/// How long a change may wait for a consumer that is part of cvsync, and for one that is not.
const OWN_PATIENCE: Duration = Duration::from_mins(15);
const FOREIGN_PATIENCE: Duration = Duration::from_hours(25);

/// 200 unless the daemon or the writer of its log has been stuck for 30 seconds. No outage at VDAB or of the database makes this
/// fail: a restart would not help.
pub(super) async fn livez(State(admin): State<Arc<Admin>>) -> (StatusCode, &'static str) {
    if admin.board.is_stuck(Instant::now()) {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "stuck: the daemon has made no step for 30 seconds\n",
        )
    } else if STDERR.is_stuck() {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "stuck: nobody has read the log on stderr for 30 seconds\n",
        )
    } else {
        (StatusCode::OK, "alive\n")
    }
}

/// 200 if the daemon can do its work, else 503; either way with what is in its way, a line each.
pub async fn readyz(State(admin): State<Arc<Admin>>) -> (StatusCode, String) {
    let Readiness {
        blocked,
        role,
        notes,
    } = readiness(&admin);
    let (code, word) = if blocked.is_empty() {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready")
    };
    let lines: Vec<String> = [word.to_owned()]
        .into_iter()
        .chain(blocked)
        .chain(role)
        .chain(notes)
        .collect();
    (code, lines.join("\n") + "\n")
}

/// What is in the daemon's way.
#[derive(Debug, Default)]
pub struct Readiness {
    /// What a person or a load balancer should know: it cannot work.
    pub blocked: Vec<String>,
    /// That it does not lead, and who does: as it should be.
    pub role: Option<String>,
    /// What passes by itself.
    pub notes: Vec<String>,
}

fn standby(admin: &Admin) -> String {
    let leader = admin.board.sample().and_then(|sample| sample.ok()?.leader);
    let leader = leader.filter(|leader| leader.alive);
    leader.map_or("standby, and nobody leads".to_owned(), |leader| {
        format!("standby: {} leads", leader.holder)
    })
}

/// Consumers of the change feed and jobs beside the runs that have an error or do not keep up. Syncs do not wait for them.
fn consumers(admin: &Admin) -> Vec<String> {
    let mut notes = Vec::new();
    if admin.phase() == Phase::Leading {
        let errors = admin.pipeline.side_errors.borrow();
        notes.extend(errors.values().cloned());
    }
    if let Some(Ok(numbers)) = admin.board.sample() {
        if numbers.unsearchable > 0 {
            notes.push(format!(
                "searches do not find {} CVs: PostgreSQL cannot index them; see the table cvsync.cv_unsearchable",
                numbers.unsearchable
            ));
        }
        let late = numbers
            .consumers
            .iter()
            .filter(|one| one.waiting_seconds >= patience(&one.name).as_secs_f64());
        notes.extend(late.map(|one| {
            format!(
                "the consumer {} is {} changes behind; the oldest has waited for {:.0} min",
                one.name,
                one.behind,
                one.waiting_seconds / 60.0
            )
        }));
    }
    notes
}

/// How long a change may wait for a consumer. Those of other systems may read once a day.
fn patience(consumer: &str) -> Duration {
    match consumer {
        cv_search::CONSUMER | WEBHOOK => OWN_PATIENCE,
        _ => FOREIGN_PATIENCE,
    }
}

/// An outage of the source blocks nothing: there is nothing that a restart or another instance could do about it.
pub fn readiness(admin: &Admin) -> Readiness {
    let mut readiness = Readiness::default();
    match admin.phase() {
        Phase::Starting => readiness
            .blocked
            .push("starting: the database is not migrated yet".to_owned()),
        Phase::Stopping => readiness.blocked.push("stopping".to_owned()),
        Phase::Standby => readiness.role = Some(standby(admin)),
        Phase::Leading => {}
    }
    if let Some(pause) = admin.board.pause() {
        readiness
            .notes
            .push(format!("paused {}: {}", pause.end(), pause.reason));
    }
    if STDERR.drops() {
        readiness.notes.push(format!(
            "{} log lines were dropped: their reader on stderr is too slow, stuck or gone",
            STDERR.dropped()
        ));
    }
    readiness.notes.extend(admin.board.webhook());
    let trouble = admin.pipeline.trouble.borrow().clone();
    let sampled = admin.board.sample().and_then(Result::err);
    let (one_place, everywhere): (Vec<_>, Vec<_>) = trouble
        .into_iter()
        .chain(sampled)
        .partition(|error| matches!(error, StoreError::Statement(_)));
    let first = |errors: &[StoreError]| errors.first().map(ToString::to_string);
    readiness.notes.extend(first(&one_place));
    readiness.blocked.extend(first(&everywhere));
    let time = admin.pipeline.vdab.time();
    if let Some(odd) = time.clocks().odd_one() {
        readiness
            .notes
            .push(format!("{odd}. Check its time synchronization (NTP)"));
    }
    if let Some(Ok(numbers)) = admin.board.sample() {
        if numbers.clock_doubt {
            readiness.notes.push(
                "Clocks disagreed while CVs were fetched. Once they agree, the next relist or reconcile fetches these CVs again"
                    .to_owned(),
            );
        }
        if let Some(ahead) = numbers.watermark.map(|at| at - time.latest_now())
            && ahead > clocks::TOLERANCE
        {
            readiness.notes.push(format!(
                "The watermark is {} s in the future: a clock was wrong when it was set. Until then each sync lists the last {} again",
                ahead.num_seconds(),
                humantime::format_duration(admin.pipeline.settings.window_overlap)
            ));
        }
        if numbers.held_deletes > 0 {
            readiness.notes.push(format!(
                "{} deletes are held back; look at them with `cvsync deletes list`",
                numbers.held_deletes
            ));
        }
        if let Some(at) = numbers.last_success.get("relist")
            && admin.pipeline.settings.relist.is_some()
            && admin.pipeline.vdab.time().now() - *at > RELIST_EVERY * 3
        {
            readiness.notes.push(format!(
                "the daily second listing last succeeded on {}; changes that VDAB shows late may be missing",
                instant(*at)
            ));
        }
        if let Some((lately, Some(usual))) = numbers.changes
            && volume::is_quiet(lately, usual)
        {
            readiness.notes.push(format!(
                "VDAB listed {lately} changes in six hours, where {usual} are usual at this time of the week; has the key lost its rights?"
            ));
        }
    }
    if let Some(limit) = admin.pipeline.window_limit() {
        readiness.notes.push(format!(
            "VDAB refuses windows as wide as CVSYNC_WINDOW, so listing takes more calls: windows have at most {} min; the full width is tried again after a day",
            limit.num_minutes()
        ));
    }
    readiness.notes.extend(consumers(admin));
    for (operation, gate) in admin.pipeline.vdab.closed_gates() {
        let line = format!(
            "{operation}: {}; asked again in {} s",
            gate.message, gate.probe_in_seconds
        );
        match gate.reason {
            Reason::Auth => readiness.blocked.push(line),
            Reason::Outage | Reason::RateLimit => readiness.notes.push(line),
        }
    }
    readiness
}
