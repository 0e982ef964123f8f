//! Actions behind the admin token: runs for the leader, and decisions of a person. Each is logged.
//!
//! Any instance accepts an action and writes it as a row, which the leader sees within seconds. These writes need no lease,
//! so they hold no epoch.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::middleware;
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use serde::Deserialize;
use sqlx::PgConnection;
use uuid::Uuid;

use super::Admin;
use super::guard::{Peer, with_token};
use super::refusal::{Refusal, body, refused};
use crate::model::window::instant;
use crate::model::{CvId, When};
use crate::store::held_delete::{self, HeldDelete};
use crate::store::parked_cv::{self, ParkedCv};
use crate::store::pause::{self, Begun};
use crate::store::run_request::{self, What};
use crate::store::suppressed_cv;

/// Longer than any valid body.
const LARGEST_BODY: usize = 64 * 1024;

const LONGEST_LIST: i64 = 500;

pub(super) fn router(admin: &Arc<Admin>) -> Router<Arc<Admin>> {
    Router::new()
        .route("/api/sync", post(sync))
        .route("/api/resync/{id}", post(resync))
        .route("/api/parked", get(parked))
        .route("/api/parked/retry", post(retry))
        .route("/api/deletes", get(deletes))
        .route("/api/deletes/approve", post(approve))
        .route("/api/deletes/discard", post(discard))
        .route("/api/pause", post(begin_pause))
        .route("/api/resume", post(resume))
        .route_layer(middleware::from_fn_with_state(
            Arc::clone(admin),
            with_token,
        ))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
}

/// A sentence about the action that was done, or the refusal.
type Said = Result<(StatusCode, String), Refusal>;

/// Logs the action if it is dropped before its outcome is known.
struct Unheard {
    action: &'static str,
    peer: SocketAddr,
}

impl Drop for Unheard {
    fn drop(&mut self) {
        let Self { action, peer } = self;
        tracing::info!(
            action,
            %peer,
            "action over HTTP: the client disconnected before the action finished"
        );
    }
}

/// Does `work` in its own transaction and logs the outcome.
async fn act(
    admin: &Admin,
    Extension(Peer(peer)): Extension<Peer>,
    action: &'static str,
    work: impl AsyncFnOnce(&mut PgConnection) -> Said,
) -> Said {
    let unheard = Unheard { action, peer };
    let store = admin.store.bookkeeping();
    let said = store.write_or_undo(action, work).await;
    std::mem::forget(unheard);
    let (status, outcome) = match &said {
        Ok((status, text)) | Err(Refusal(status, text)) => (status.as_u16(), text),
    };
    tracing::info!(action, %peer, status, outcome, "action over HTTP");
    admin.board.look_now();
    said.map(|(status, text)| (status, text + "\n"))
}

/// Requests a run, unless syncing is paused.
async fn ask(tx: &mut PgConnection, what: What, ids: &[Uuid]) -> Result<(), Refusal> {
    if let Some(pause) = pause::current(tx).await? {
        let text = format!(
            "nothing was done: syncing is paused {} ({}); resume first",
            pause.end(),
            pause.reason
        );
        return Err(refused(StatusCode::CONFLICT, text));
    }
    Ok(run_request::ask(tx, what, ids).await?)
}

fn accepted(text: impl Into<String>) -> (StatusCode, String) {
    (StatusCode::ACCEPTED, text.into())
}

async fn sync(State(admin): State<Arc<Admin>>, peer: Extension<Peer>) -> Said {
    act(&admin, peer, "sync", async |tx: &mut PgConnection| {
        ask(tx, What::Sync, &[]).await?;
        Ok(accepted(
            "sync requested; the leader starts it within seconds",
        ))
    })
    .await
}

async fn resync(
    State(admin): State<Arc<Admin>>,
    peer: Extension<Peer>,
    Path(id): Path<String>,
) -> Said {
    act(&admin, peer, "resync", async |tx: &mut PgConnection| {
        let id = CvId::parse(&id).ok_or_else(|| {
            refused(
                StatusCode::BAD_REQUEST,
                "nothing was done: the id must be a UUID",
            )
        })?;
        if !suppressed_cv::among(tx, &[id.0]).await?.is_empty() {
            let text =
                "nothing was done: the CV is suppressed; end that with `cvsync suppressed remove`";
            return Err(refused(StatusCode::CONFLICT, text));
        }
        ask(tx, What::Resync, &[id.0]).await?;
        Ok(accepted(format!(
            "{id} requested; the leader fetches it within seconds"
        )))
    })
    .await
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Retry {
    /// Empty for all parked CVs.
    #[serde(default)]
    ids: Vec<String>,
}

async fn retry(State(admin): State<Arc<Admin>>, peer: Extension<Peer>, bytes: Bytes) -> Said {
    act(
        &admin,
        peer,
        "parked retry",
        async |tx: &mut PgConnection| {
            let Retry { ids } = body(&bytes, r#"{"ids": ["…"]}"#)?;
            let found = parked_cv::retry(tx, &ids).await?;
            if !ids.is_empty() && found != ids.len() as u64 {
                let text = format!(
                    "nothing was done: only {found} of these {} CVs are parked",
                    ids.len()
                );
                return Err(refused(StatusCode::NOT_FOUND, text));
            }
            ask(tx, What::Sync, &[]).await?;
            Ok(accepted(format!(
                "retry of {found} parked CVs requested; the leader starts it within seconds"
            )))
        },
    )
    .await
}

/// A choice of held deletes: `ids` or `all`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    #[serde(default)]
    ids: Vec<Uuid>,
    /// All, if exactly this many are held: guards against a stale view.
    all: Option<i64>,
}

const WHICH: &str = r#"{"ids": ["…"]}, or {"all": 1200} if 1200 are held"#;

pub(super) fn chosen(bytes: &[u8]) -> Result<held_delete::Which, Refusal> {
    let Which { ids, all } = body(bytes, WHICH)?;
    match all {
        Some(all) if ids.is_empty() => Ok(held_delete::Which::Undecided(all)),
        None if !ids.is_empty() => Ok(held_delete::Which::These(ids)),
        _ => {
            let text = format!("nothing was done: the body must be JSON like {WHICH}");
            Err(refused(StatusCode::BAD_REQUEST, text))
        }
    }
}

async fn approve(State(admin): State<Arc<Admin>>, peer: Extension<Peer>, bytes: Bytes) -> Said {
    act(&admin, peer, "deletes approve", async |tx: &mut PgConnection| {
        let approved = held_delete::approve(tx, chosen(&bytes)?).await?;
        ask(tx, What::Approve, &[]).await?;
        Ok(accepted(format!(
            "{approved} deletes approved; within seconds the leader asks VDAB again and deletes the CVs that are gone"
        )))
    })
    .await
}

async fn discard(State(admin): State<Arc<Admin>>, peer: Extension<Peer>, bytes: Bytes) -> Said {
    act(
        &admin,
        peer,
        "deletes discard",
        async |tx: &mut PgConnection| {
            let discarded = held_delete::discard(tx, chosen(&bytes)?).await?;
            let text = format!(
                "{discarded} deletes discarded; the next listing or comparison decides again"
            );
            Ok((StatusCode::OK, text))
        },
    )
    .await
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Begin {
    reason: Option<String>,
    until: Option<When>,
    /// Whether to replace the current pause.
    #[serde(default)]
    replace: bool,
}

async fn begin_pause(State(admin): State<Arc<Admin>>, peer: Extension<Peer>, bytes: Bytes) -> Said {
    act(&admin, peer, "pause", async |tx: &mut PgConnection| {
        let example = r#"{"reason": "…", "until": "2026-02-13T12:00:00Z", "replace": false}"#;
        let Begin {
            reason,
            until,
            replace,
        } = body(&bytes, example)?;
        match pause::begin(tx, &reason.unwrap_or_default(), until, "over HTTP", replace).await? {
            Begun::Holds(pause) => {
                let end = pause.end();
                let text = format!("paused on all instances {end}; the current run stops within seconds");
                Ok((StatusCode::OK, text))
            }
            Begun::Stands(pause) => {
                let text = format!(
                    "nothing was done: already paused since {} {} ({}); resume first, or send \"replace\": true",
                    instant(pause.since),
                    pause.end(),
                    pause.reason
                );
                Err(refused(StatusCode::CONFLICT, text))
            }
            Begun::NoEnd(now) => {
                let text = format!(
                    "nothing was done: \"until\" must be later than the database's time {}, and at most ten years later",
                    instant(now)
                );
                Err(refused(StatusCode::BAD_REQUEST, text))
            }
        }
    })
    .await
}

async fn resume(State(admin): State<Arc<Admin>>, peer: Extension<Peer>) -> Said {
    act(&admin, peer, "resume", async |tx: &mut PgConnection| {
        let text = if pause::end(tx).await? {
            "resumed"
        } else {
            "syncing was not paused"
        };
        Ok((StatusCode::OK, text.to_owned()))
    })
    .await
}

async fn parked(State(admin): State<Arc<Admin>>) -> Result<Json<Vec<ParkedCv>>, Refusal> {
    let parked = async |tx: &mut PgConnection| parked_cv::list(tx, LONGEST_LIST).await;
    let parked = admin.store.read("listing parked CVs", parked);
    Ok(Json(parked.await?))
}

async fn deletes(State(admin): State<Arc<Admin>>) -> Result<Json<Vec<HeldDelete>>, Refusal> {
    let held = async |tx: &mut PgConnection| held_delete::list(tx, LONGEST_LIST).await;
    let held = admin.store.read("listing held deletes", held);
    Ok(Json(held.await?))
}
