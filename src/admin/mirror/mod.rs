//! `/mirror/v1`: VDAB's CV API, answered from the database in the contract's shape. A system written for VDAB changes its base URL
//! and has no quota.
//!
//! It accepts clients' keys and, unless `CVSYNC_MIRROR_CREDENTIALS` excludes it, the admin token. A browser sends no key by itself, so
//! `Host` and `Origin` need no check, and a reverse proxy may serve it under any name. It has its own connections to the database, so
//! that load on the mirror does not affect sync and health.

mod access;
mod answer;
mod bulk;
mod clients;
mod detail;
mod fences;
mod lookup;
mod query;
mod reads;
mod search;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Extension, Router};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use self::access::{Access, Reader};
pub(super) use self::answer::Refusal;
use self::clients::Clients;
use self::lookup::Lookup;
use self::query::Query;
use self::reads::{Reads, Standby};
use super::Admin;
use super::guard::{Peer, Token, UNKNOWN_HOST};
use super::seats::Seat;
use crate::config;
use crate::contract::{GatewayError, KEY_HEADER};
use crate::store::{Store, StoreError};
use crate::telemetry::{Metrics, Refused};

/// Prefix of its paths.
pub(super) const PATHS: &str = "/mirror/";

/// Connections for answers: one for each loader and each list.
const CONNECTIONS: u32 = 5;

/// Connections to the primary: for the clients' keys and for fences.
const PRIMARY_CONNECTIONS: u32 = 2;

/// Concurrent lists and searches. More wait, at most [`TURN`].
const LISTS: usize = 3;

/// Time limit of a query.
const PATIENCE: Duration = Duration::from_secs(8);

/// How long a list waits for its turn.
const TURN: Duration = Duration::from_secs(2);

const OPENAPI: &str = include_str!("openapi.json");

#[derive(Debug)]
pub struct Mirror {
    reads: Arc<Reads>,
    clients: Clients,
    lookup: Lookup,
    access: Access,
    lists: Arc<Semaphore>,
}

impl Mirror {
    /// A mirror of this database, with its own connections. It reads from `standby`, if there is one. `records` says whether it
    /// records which CVs it gives.
    ///
    /// # Errors
    /// As for [`Store::new`].
    pub fn of(
        store: &Store,
        standby: Option<&config::Database>,
        records: bool,
        metrics: &Metrics,
    ) -> Result<Self, StoreError> {
        let readers = |store: Store| store.bookkeeping().for_readers().within(PATIENCE);
        let primary = readers(store.beside(PRIMARY_CONNECTIONS));
        let reads = match standby {
            Some(standby) => readers(store.elsewhere(standby, CONNECTIONS)?),
            None => readers(store.beside(CONNECTIONS)),
        };
        let reads = Arc::new(Reads::new(primary.clone(), reads, standby.is_some()));
        Ok(Self {
            clients: Clients::new(primary, standby.is_some()),
            lookup: Lookup::new(Arc::clone(&reads)),
            access: Access::new(store, records, metrics),
            lists: Arc::new(Semaphore::new(LISTS)),
            reads,
        })
    }

    /// The state of the standby, if the mirror reads from one.
    pub(super) fn standby(&self) -> Option<Standby> {
        self.reads.standby()
    }

    /// Looks documents up and watches the standby until `token` is cancelled, and records what is given until `answered` is.
    pub async fn work_until(&self, token: &CancellationToken, answered: &CancellationToken) {
        tokio::join!(
            self.lookup.work_until(token),
            self.lookup.work_until(token),
            self.reads.watch_until(token),
            self.access.write_until(token, answered),
        );
    }

    /// Records of what was given that are not written yet.
    pub(super) fn waiting_records(&self) -> usize {
        self.access.waiting()
    }

    async fn turn(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let turn = Arc::clone(&self.lists).acquire_owned();
        match tokio::time::timeout(TURN, turn).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(Refusal::busy()),
        }
    }
}

/// Finishes `work` even if the client disconnects: a statement keeps its connection until it ends, so its turn must last as long.
/// Bounded by [`TURN`] and [`PATIENCE`].
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Refusal>> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(Refusal::busy()),
    }
}

pub(super) fn read_search(query: &str) -> Result<(), Refusal> {
    search::read(&Query::read(Some(query.to_owned()))).map(drop)
}

pub(super) fn read_changes(query: &str) -> Result<(), Refusal> {
    bulk::read_query(&Query::read(Some(query.to_owned()))).map(drop)
}

/// The response instead of one that takes too long.
pub(super) fn busy() -> Response {
    Refusal::busy().into_response()
}

pub(super) fn router(admin: &Arc<Admin>) -> Router<Arc<Admin>> {
    let route = |handler: axum::routing::MethodRouter<Arc<Admin>>| handler.fallback(not_so);
    Router::new()
        .route("/mirror/v1/kandidaten", route(get(search::search)))
        .route("/mirror/v1/kandidaten/bulk", route(get(bulk::bulk)))
        .route("/mirror/v1/kandidaten/{id}", route(get(detail::detail)))
        .route("/mirror", any(nothing))
        .route("/mirror/{*path}", any(nothing))
        .route_layer(middleware::from_fn_with_state(Arc::clone(admin), admitted))
}

/// The OpenAPI description, which needs no key.
pub(super) fn description() -> Router<Arc<Admin>> {
    let openapi = get(openapi).fallback(not_so);
    Router::new().route("/mirror/v1/openapi.json", openapi)
}

/// Admits a client with a valid key, if it has a place left. A request without a key takes nothing.
async fn admitted(
    State(admin): State<Arc<Admin>>,
    Extension(peer): Extension<Peer>,
    Extension(seat): Extension<Seat>,
    mut request: Request,
    next: Next,
) -> Response {
    let name = match client(&admin, peer, request.headers()).await {
        Ok(name) => name,
        Err(refusal) => return refusal.into_response(),
    };
    if !seat.admit(&name) {
        admin.guard.refused(Refused::Client);
        return Refusal::no_room().into_response();
    }
    let gets_content = request.method() != Method::HEAD;
    request
        .extensions_mut()
        .insert(Reader { name, gets_content });
    next.run(request).await
}

/// The name of the client; empty for the admin token.
async fn client(admin: &Admin, peer: Peer, headers: &HeaderMap) -> Result<Arc<str>, Refusal> {
    let unknown = match admin.mirror.clients.know(headers).await {
        Ok(Some(name)) => return Ok(name),
        Ok(None) => Refusal::from(GatewayError::unauthorized()),
        Err(error) => Refusal::from(error),
    };
    if !headers.contains_key(KEY_HEADER) && !admin.guard.is_host_ours(headers) {
        admin.guard.refused(Refused::Host);
        return Err(GatewayError::new(421, UNKNOWN_HOST.trim_end()).into());
    }
    match admin.guard.mirror_token(headers, peer).await {
        Token::Right => Ok(Arc::default()),
        Token::Wrong => Err(unknown),
        Token::Missing => {
            admin.guard.refused(Refused::Key);
            Err(unknown)
        }
    }
}

async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

async fn nothing() -> Refusal {
    GatewayError::new(404, "The mirror has no resource at this path.").into()
}

async fn not_so() -> Refusal {
    GatewayError::new(405, "The mirror only answers GET.").into()
}
