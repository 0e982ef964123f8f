//! Rules for every request: a time limit, a log line for rejected ones, and the headers of each response.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::guard::Peer;
use super::{Admin, mirror};

/// Time limit of a response, so that a slow client or database cannot hold a connection for longer.
const LONGEST: Duration = Duration::from_secs(15);

/// Responses to clients that may not do what they request. Their connections are closed.
const REFUSALS: [StatusCode; 3] = [
    StatusCode::UNAUTHORIZED,
    StatusCode::FORBIDDEN,
    StatusCode::MISDIRECTED_REQUEST,
];

/// Limits the time of each response, logs rejected requests, and adds common headers.
pub(super) async fn bounded(
    State(admin): State<Arc<Admin>>,
    peer: Option<Extension<Peer>>,
    route: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    // Never the raw path, which may hold an id.
    let route = route.as_ref().map_or("unknown", MatchedPath::as_str);
    // A slow request with a body may be the client's fault.
    let has_body = request.method() == Method::POST;
    let mut response = tokio::time::timeout(LONGEST, next.run(request))
        .await
        .unwrap_or_else(|_| match has_body {
            true => (StatusCode::REQUEST_TIMEOUT, "the request took too long\n").into_response(),
            false if route.starts_with(mirror::PATHS) => mirror::busy(),
            false => (
                StatusCode::SERVICE_UNAVAILABLE,
                "the response took too long\n",
            )
                .into_response(),
        });
    let status = response.status();
    // The mirror's 404 is a normal response: the CV is gone.
    let gone = status == StatusCode::NOT_FOUND && route.starts_with(mirror::PATHS);
    if status.is_client_error() && !gone {
        let peer = peer.map(|Extension(peer)| peer);
        admin.guard.log_refusal(peer, route, status);
    }
    let headers = response.headers_mut();
    if REFUSALS.contains(&status) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
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
