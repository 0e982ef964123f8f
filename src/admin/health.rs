//! `/livez` and `/readyz`, for supervisors and load balancers.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::http::StatusCode;

use super::{Admin, Audience, facts};
use crate::telemetry::STDERR;

/// 200, or 503 once the daemon or the writer of its log has been stuck for 30 seconds. An outage of VDAB or of the database does
/// not make it fail, because a restart would not help.
pub(super) async fn livez(State(admin): State<Arc<Admin>>) -> (StatusCode, &'static str) {
    if admin.board.is_stuck(Instant::now()) {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "stuck: the daemon has not made progress for 30 seconds\n",
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

/// 200 if this instance can work, else 503. The further lines are all findings, without texts of errors. Most do not call for a
/// restart.
pub(super) async fn readyz(State(admin): State<Arc<Admin>>) -> (StatusCode, String) {
    let health = facts::health(&admin, Audience::Public);
    let (code, word) = if health.ready {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready")
    };
    let mut lines = vec![word.to_owned()];
    lines.extend(health.reasons());
    (code, lines.join("\n") + "\n")
}
