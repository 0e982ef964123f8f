//! HTTP endpoints of the daemon: health, metrics, status, the page, actions, and the mirror of VDAB's API. They only read state
//! and write requests as rows, which the leader carries out.
//!
//! Invariant: a response without the admin token or a client's key holds no personal data.

mod actions;
mod board;
mod bounds;
mod etag;
mod facts;
mod guard;
mod guesses;
mod health;
mod history;
pub mod input;
mod lanes;
mod metrics;
mod mirror;
mod page;
mod presence;
mod refusal;
mod sample;
mod seats;
mod serve;
mod status;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::FutureExt;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub(crate) use self::board::{Board, LastRun, Phase};
pub(crate) use self::facts::limits_of;
pub(crate) use self::guard::{Audience, Guard};
pub(crate) use self::history::keep_history_until;
pub(crate) use self::lanes::{Backlog, Live};
pub(crate) use self::metrics::watch;
pub(crate) use self::mirror::Mirror;
pub(crate) use self::presence::say_present_until;
pub(crate) use self::sample::{Numbers, sample_until};
pub(crate) use self::serve::listen;
pub(crate) use self::status::{Status, status};

use crate::config::Shown;
use crate::store::Store;
use crate::sync::View;

/// State that the endpoints share.
#[derive(Debug)]
pub struct Admin {
    pub view: View,
    pub store: Store,
    pub board: Arc<Board>,
    pub guard: Guard,
    pub mirror: Mirror,
    /// The configuration, secrets masked.
    pub shown: Vec<Shown>,
}

/// Time between two checks whether the schema exists.
const UNTIL_STARTED: Duration = Duration::from_millis(100);

impl Admin {
    /// Waits until the database is migrated, or `token` is cancelled: before that there may be no tables to read.
    async fn has_tables(&self, token: &CancellationToken) {
        while self.phase() == Phase::Starting && !token.is_cancelled() {
            tokio::time::sleep(UNTIL_STARTED).await;
        }
    }

    #[must_use]
    pub fn phase(&self) -> Phase {
        if self.view.is_stopping() {
            Phase::Stopping
        } else {
            self.board.phase()
        }
    }
}

/// Answers until `token` is cancelled.
pub(crate) async fn serve(listener: TcpListener, admin: Arc<Admin>, token: CancellationToken) {
    let router = router(Arc::clone(&admin));
    let answered = CancellationToken::new();
    let serving = async {
        serve::run(listener, router, &admin, token.clone()).await;
        answered.cancel();
    };
    tokio::join!(
        serving,
        Box::pin(admin.mirror.work_until(&token, &answered)),
    );
}

fn router(admin: Arc<Admin>) -> Router {
    Router::new()
        .route("/api/status", get(status::answer))
        .merge(page::router())
        .merge(actions::router(&admin))
        .merge(mirror::description())
        .route_layer(middleware::from_fn_with_state(
            Arc::clone(&admin),
            guard::own_names_only,
        ))
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::metrics))
        .merge(mirror::router(&admin))
        .fallback(async || (StatusCode::NOT_FOUND, "not found\n"))
        .method_not_allowed_fallback(async || {
            (StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n")
        })
        .layer(middleware::from_fn_with_state(
            Arc::clone(&admin),
            bounds::bounded,
        ))
        .layer(middleware::from_fn(contained))
        .layer(middleware::from_fn_with_state(Arc::clone(&admin), observe))
        .with_state(admin)
}

/// Makes a panic of a handler status 500. The panic itself is in the log.
async fn contained(request: Request, next: Next) -> Response {
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    answered.unwrap_or_else(|_| {
        let text = "internal error; see the log of cvsync\n";
        (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
    })
}

/// Measures each response by its route, never by the raw path, which may hold an id.
async fn observe(
    State(admin): State<Arc<Admin>>,
    route: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let begun = Instant::now();
    let method = known(request.method());
    let response = next.run(request).await;
    let route = route.map_or_else(|| "unknown".to_owned(), |route| route.as_str().to_owned());
    let status = response.status().as_u16();
    admin
        .view
        .metrics()
        .http_served(method, route, begun.elapsed(), status);
    response
}

/// The method as a label; unusual ones share one value.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        _ => "_OTHER",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn panics() -> &'static str {
        panic!("a bug")
    }

    #[tokio::test]
    async fn a_panic_of_a_handler_is_status_500_and_the_next_request_is_served() {
        let router = Router::new()
            .route("/bug", get(panics))
            .route("/fine", get(async || "fine"))
            .layer(middleware::from_fn(contained));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        for (path, status) in [("/bug", 500), ("/fine", 200), ("/bug", 500)] {
            let answer = client.get(format!("{url}{path}")).send().await.unwrap();
            assert_eq!(answer.status(), status, "{path}");
        }
    }
}
