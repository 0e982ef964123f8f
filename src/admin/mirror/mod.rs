//! `/mirror/v1`: VDAB's CV API, answered from the database in the contract's shape. A system written for VDAB changes its base URL
//! and has no quota.
//!
//! It accepts the admin token and clients' keys. A browser sends neither by itself, so `Host` and `Origin` need no check, and a
//! reverse proxy may serve it under any name. It has its own connections to the database and its own limit of clients, so that
//! load on the mirror does not affect sync and health.

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
use axum::http::{Method, header};
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
use super::serve::ConnectionPermit;
use crate::config;
use crate::contract::GatewayError;
use crate::store::{Store, StoreError};
use crate::telemetry::Metrics;

/// Prefix of its paths.
pub(super) const PATHS: &str = "/mirror/";

/// Connections for answers: one for each loader and each list.
const CONNECTIONS: u32 = 5;

/// Connections to the primary: for the clients' keys and for fences.
const PRIMARY_CONNECTIONS: u32 = 2;

/// Concurrent lists and searches. More wait, at most [`TURN`].
const LISTS: usize = 3;

/// Connections that its clients may have; the rest are for health and the page.
const PLACES: usize = 96;

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
    places: Arc<Semaphore>,
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
            places: Arc::new(Semaphore::new(PLACES)),
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
        .route("/mirror/v1/openapi.json", route(get(openapi)))
}

/// Admits clients with a valid key, up to the limit of connections.
async fn admitted(
    State(admin): State<Arc<Admin>>,
    Extension(place): Extension<ConnectionPermit>,
    mut request: Request,
    next: Next,
) -> Response {
    if !place.take(&admin.mirror.places) {
        return Refusal::no_room().into_response();
    }
    let headers = request.headers();
    let name = if admin.guard.knows(headers) {
        Arc::default()
    } else {
        match admin.mirror.clients.know(headers).await {
            Ok(Some(name)) => name,
            Ok(None) => return Refusal::from(GatewayError::unauthorized()).into_response(),
            Err(error) => return Refusal::from(error).into_response(),
        }
    };
    let gets_content = request.method() != Method::HEAD;
    request
        .extensions_mut()
        .insert(Reader { name, gets_content });
    next.run(request).await
}

/// The OpenAPI description. It holds no personal data, so it needs no key.
async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

async fn nothing() -> Refusal {
    GatewayError::new(404, "The mirror has no resource at this path.").into()
}

async fn not_so() -> Refusal {
    GatewayError::new(405, "The mirror only answers GET.").into()
}
