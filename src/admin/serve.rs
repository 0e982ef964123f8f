//! Sockets: HTTP/1.1 by hyper itself, with bounds on how slow clients may be. [`Hall`] bounds how many there are.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::http::{Request, StatusCode};
use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Admin;
use super::guard::Peer;
use super::seats::{Hall, Seat, UnderWay};
use crate::telemetry::Refused;

/// Connections that wait in the kernel to be accepted. If they are more, the kernel lets new ones wait for a second.
const BACKLOG: u32 = 4096;

/// Pause before the next attempt if no file descriptor is free.
const AGAIN: Duration = Duration::from_millis(5);

/// Time limit of a request's head.
const HEAD: Duration = Duration::from_secs(10);

/// Longest life of a connection, so that a client that reads nothing cannot hold it.
const CONNECTION: Duration = Duration::from_mins(2);

/// Time for the response that is being sent at that moment.
const LAST_ANSWER: Duration = Duration::from_secs(5);

/// Largest head of a request; hyper answers a larger one with 431.
const HEAD_BYTES: usize = 16 * 1024;

/// The body of a response; keeps its request active until it is sent or dropped.
struct Held {
    body: Body,
    _under_way: UnderWay,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Listens on an address.
///
/// # Errors
/// The address cannot be used.
pub(crate) fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = if addr.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // Another process that has just ended does not keep its address.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

/// Serves connections until `token` is cancelled.
pub(super) async fn run(
    listener: TcpListener,
    router: Router,
    admin: &Arc<Admin>,
    token: CancellationToken,
) {
    let hall = Hall::default();
    let connections = TaskTracker::new();
    while let Some(accepted) = token.run_until_cancelled(listener.accept()).await {
        let Ok((stream, peer)) = accepted else {
            // For example, no file descriptor is free.
            hall.make_room();
            tokio::time::sleep(AGAIN).await;
            continue;
        };
        let peer = Peer(peer);
        let seat = hall.enter(peer.network());
        let (router, token, admin) = (router.clone(), token.clone(), Arc::clone(admin));
        connections.spawn(async move {
            let asked = AtomicBool::new(false);
            let ended = connection(stream, peer, router, &seat, &asked, token).await;
            let asked = asked.into_inner();
            if seat.is_closed() {
                admin.guard.refused(Refused::Displaced);
            }
            match ended {
                Ok(()) if seat.is_closed() && !asked => {
                    let status = StatusCode::REQUEST_TIMEOUT;
                    admin.guard.log_refusal(Some(peer), "unread", status);
                }
                Ok(()) => {}
                Err(error) => unread(&admin, peer, asked, &error),
            }
        });
        // A request that is already here is read before the next connection is accepted.
        tokio::task::yield_now().await;
    }
    connections.close();
    connections.wait().await;
}

/// Logs a request that could not be read like one that is rejected later. A client that disconnected, or whose idle connection
/// timed out after a response, is not logged.
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
    admin.guard.refused(Refused::Unread);
    admin.guard.log_refusal(Some(peer), "unread", status);
}

/// `asked` says whether it has ever sent a complete head.
async fn connection(
    stream: TcpStream,
    peer: Peer,
    router: Router,
    seat: &Seat,
    asked: &AtomicBool,
    token: CancellationToken,
) -> hyper::Result<()> {
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request: Request<Incoming>| {
        asked.store(true, Ordering::Relaxed);
        let under_way = seat.begin();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(seat.clone());
        let router = TowerToHyperService::new(router.clone());
        async move {
            let answer = hyper::service::Service::call(&router, request).await?;
            Ok::<_, Infallible>(answer.map(|body| Held {
                body,
                _under_way: under_way,
            }))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        ended = &mut connection => return ended,
        () = seat.closed() => return Ok(()),
        () = token.cancelled() => {}
        () = tokio::time::sleep(CONNECTION) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(LAST_ANSWER, connection).await;
    Ok(())
}
