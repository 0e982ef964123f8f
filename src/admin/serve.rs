//! Sockets: HTTP/1.1 by hyper itself, with bounds on how many clients there are and how slow they may be.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Admin;
use super::guard::Peer;

/// More wait in the kernel until one of these is over.
const CONNECTIONS: usize = 128;

/// A request whose head takes longer is none.
const HEAD: Duration = Duration::from_secs(10);

/// A connection that has lived so long ends with its answer: a client that reads nothing cannot hold one for ever.
const CONNECTION: Duration = Duration::from_mins(2);

/// And the answer under way then may take so long.
const LAST_ANSWER: Duration = Duration::from_secs(5);

/// Room for a request's head; hyper answers 431 to what is larger.
const HEAD_BYTES: usize = 16 * 1024;

/// What a connection takes up of something that connections share, from its first request for it to its end.
#[derive(Clone, Debug, Default)]
pub struct Place(Arc<OnceLock<OwnedSemaphorePermit>>);

impl Place {
    /// False if there is no room for this connection.
    pub fn take(&self, room: &Arc<Semaphore>) -> bool {
        self.0.get().is_some()
            || Arc::clone(room)
                .try_acquire_owned()
                .is_ok_and(|place| self.0.set(place).is_ok())
    }
}

/// Answers until `token` is cancelled.
pub async fn run(
    listener: TcpListener,
    router: Router,
    admin: &Arc<Admin>,
    token: CancellationToken,
) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let connections = TaskTracker::new();
    loop {
        let next = async {
            let place = Arc::clone(&room).acquire_owned().await;
            (listener.accept().await, place)
        };
        let Some((accepted, place)) = token.run_until_cancelled(next).await else {
            break;
        };
        match accepted {
            Ok((stream, peer)) => {
                let (router, token) = (router.clone(), token.clone());
                let admin = Arc::clone(admin);
                connections.spawn(async move {
                    let _place = place;
                    let peer = Peer(peer);
                    let asked = AtomicBool::new(false);
                    let ended = connection(stream, peer, router, &asked, token).await;
                    if let Err(error) = ended {
                        unread(&admin, peer, asked.into_inner(), &error);
                    }
                });
            }
            // Out of file descriptors, say: wait for some to come back.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    connections.close();
    connections.wait().await;
}

/// What never became a request is refused here, and in the log like what is refused later. Not so a client that went away, or
/// that has had its answer and keeps the connection for longer than we do.
fn unread(admin: &Admin, peer: Peer, asked: bool, error: &hyper::Error) {
    let status = if error.is_timeout() && !asked {
        StatusCode::REQUEST_TIMEOUT
    } else if error.is_parse_too_large() {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
    } else if error.is_parse() {
        StatusCode::BAD_REQUEST
    } else {
        return;
    };
    admin.guard.log_refusal(Some(peer), "unread", status);
}

async fn connection(
    stream: TcpStream,
    peer: Peer,
    router: Router,
    asked: &AtomicBool,
    token: CancellationToken,
) -> hyper::Result<()> {
    let _ = stream.set_nodelay(true);
    let place = Place::default();
    let service = service_fn(move |request: Request<Incoming>| {
        asked.store(true, Ordering::Relaxed);
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(place.clone());
        let router = TowerToHyperService::new(router.clone());
        hyper::service::Service::call(&router, request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        ended = &mut connection => return ended,
        () = token.cancelled() => {}
        () = tokio::time::sleep(CONNECTION) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(LAST_ANSWER, connection).await;
    Ok(())
}
