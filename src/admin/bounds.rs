//! Bounds that hold for every request: its time, what is logged of a refusal, and the headers of each response.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::guard::Peer;
use super::{Admin, mirror};

/// An answer that is not ready by then is none: neither a slow client nor a slow database holds a connection for longer.
const LONGEST: Duration = Duration::from_secs(15);

/// Bounds the time of an answer, takes note of what is refused, and adds the headers that hold for every answer.
pub async fn bounded(
    State(admin): State<Arc<Admin>>,
    peer: Option<Extension<Peer>>,
    route: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    // Never the raw path, which may hold an id.
    let route = route.as_ref().map_or("unknown", MatchedPath::as_str);
    // What has a body may be late by its sender's fault; all else is ours.
    let has_body = request.method() == Method::POST;
    let mut response = tokio::time::timeout(LONGEST, next.run(request))
        .await
        .unwrap_or_else(|_| match has_body {
            true => (StatusCode::REQUEST_TIMEOUT, "too slow\n").into_response(),
            false if route.starts_with(mirror::PATHS) => mirror::busy(),
            false => (StatusCode::SERVICE_UNAVAILABLE, "too slow\n").into_response(),
        });
    let status = response.status();
    // That a CV is gone is an answer.
    let gone = status == StatusCode::NOT_FOUND && route.starts_with(mirror::PATHS);
    if status.is_client_error() && !gone {
        let peer = peer.map(|Extension(peer)| peer);
        admin.guard.log_refusal(peer, route, status);
    }
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}
