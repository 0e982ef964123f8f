//! Sockets: HTTP/1.1 by hyper itself, with bounds on how many clients there are and how slow they may be.
//!
//! Health checks have their own limit. A connection without an active request gives up its seat to a new one, the longest
//! idle first, so silent clients only displace each other. Other requests never take all seats.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::http::{Request, Response, StatusCode, header};
use axum::response::IntoResponse;
use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
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

/// Seats for connections. More wait in the kernel until a seat is free.
const CONNECTIONS: usize = 128;

/// Concurrent requests, other than health checks.
const REQUESTS: usize = 96;

/// Pause before the next attempt if no seat or no file descriptor is free.
const AGAIN: Duration = Duration::from_millis(20);

/// Time limit of a request's head.
const HEAD: Duration = Duration::from_secs(10);

/// Longest life of a connection, so that a client that reads nothing cannot hold it.
const CONNECTION: Duration = Duration::from_mins(2);

/// Time for the response that is being sent at that moment.
const LAST_ANSWER: Duration = Duration::from_secs(5);

/// Largest head of a request; hyper answers a larger one with 431.
const HEAD_BYTES: usize = 16 * 1024;

/// A connection's permit of a shared limit, from the first request that needs it to the end of the connection.
#[derive(Clone, Debug, Default)]
pub(super) struct ConnectionPermit(Arc<OnceLock<OwnedSemaphorePermit>>);

impl ConnectionPermit {
    /// False if the limit is reached.
    pub(super) fn take(&self, room: &Arc<Semaphore>) -> bool {
        self.0.get().is_some()
            || Arc::clone(room)
                .try_acquire_owned()
                .is_ok_and(|place| self.0.set(place).is_ok())
    }
}

/// All seats, and the limit of concurrent requests.
#[derive(Debug)]
struct Hall {
    room: Arc<Semaphore>,
    requests: Arc<Semaphore>,
    seats: Mutex<Vec<Weak<Seat>>>,
}

/// The state of a connection that others see.
#[derive(Debug)]
struct Seat {
    state: Mutex<Occupation>,
    /// Whether it has ever sent a complete head.
    asked: AtomicBool,
    given_up: CancellationToken,
    _place: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct Occupation {
    requests: usize,
    idle_since: Instant,
}

/// An active request, until its response is sent or dropped.
#[derive(Debug)]
struct UnderWay {
    seat: Arc<Seat>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Hall {
    fn new() -> Self {
        Self {
            room: Arc::new(Semaphore::new(CONNECTIONS)),
            requests: Arc::new(Semaphore::new(REQUESTS)),
            seats: Mutex::default(),
        }
    }

    /// A seat, as soon as one is free or given up.
    async fn seat(&self) -> Arc<Seat> {
        loop {
            if let Ok(place) = Arc::clone(&self.room).try_acquire_owned() {
                let seat = Arc::new(Seat {
                    state: Mutex::new(Occupation {
                        requests: 0,
                        idle_since: Instant::now(),
                    }),
                    asked: AtomicBool::new(false),
                    given_up: CancellationToken::new(),
                    _place: place,
                });
                self.seats().push(Arc::downgrade(&seat));
                return seat;
            }
            self.free_one();
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Ends the connection that has waited longest for a request.
    fn free_one(&self) {
        let mut seats = self.seats();
        seats.retain(|seat| seat.strong_count() > 0);
        let idle = seats.iter().filter_map(Weak::upgrade).filter_map(|seat| {
            let since = seat.idle_since()?;
            (!seat.given_up.is_cancelled()).then_some((since, seat))
        });
        if let Some((_, seat)) = idle.min_by_key(|(since, _)| *since) {
            seat.given_up.cancel();
        }
    }

    fn seats(&self) -> MutexGuard<'_, Vec<Weak<Seat>>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` if too many requests are active.
    fn begin(&self, seat: &Arc<Seat>, path: &str) -> Option<UnderWay> {
        let place = if matches!(path, "/livez" | "/readyz") {
            None
        } else {
            Some(Arc::clone(&self.requests).try_acquire_owned().ok()?)
        };
        seat.state().requests += 1;
        Some(UnderWay {
            seat: Arc::clone(seat),
            _place: place,
        })
    }
}

impl Seat {
    fn state(&self) -> MutexGuard<'_, Occupation> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` while a request is active.
    fn idle_since(&self) -> Option<Instant> {
        let state = self.state();
        (state.requests == 0).then_some(state.idle_since)
    }

    /// Returns once the seat is given up; a request that came just before is served first.
    async fn given_up(&self) {
        self.given_up.cancelled().await;
        while self.idle_since().is_none() {
            tokio::time::sleep(AGAIN).await;
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.seat.state();
        state.requests -= 1;
        state.idle_since = Instant::now();
    }
}

/// The body of a response; keeps its request active until it is sent or dropped.
struct Held {
    body: Body,
    _under_way: Option<UnderWay>,
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

/// Serves connections until `token` is cancelled.
pub(super) async fn run(
    listener: TcpListener,
    router: Router,
    admin: &Arc<Admin>,
    token: CancellationToken,
) {
    let hall = Arc::new(Hall::new());
    let connections = TaskTracker::new();
    while let Some(accepted) = token.run_until_cancelled(listener.accept()).await {
        let Ok((stream, peer)) = accepted else {
            // For example, no file descriptor is free.
            hall.free_one();
            tokio::time::sleep(AGAIN).await;
            continue;
        };
        let Some(seat) = token.run_until_cancelled(hall.seat()).await else {
            break;
        };
        let (router, token) = (router.clone(), token.clone());
        let (admin, hall) = (Arc::clone(admin), Arc::clone(&hall));
        connections.spawn(async move {
            let peer = Peer(peer);
            let ended = connection(stream, peer, router, &hall, &seat, token).await;
            let asked = seat.asked.load(Ordering::Relaxed);
            match ended {
                Ok(()) if seat.given_up.is_cancelled() && !asked => {
                    admin
                        .guard
                        .log_refusal(Some(peer), "unread", StatusCode::REQUEST_TIMEOUT);
                }
                Ok(()) => {}
                Err(error) => unread(&admin, peer, asked, &error),
            }
        });
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
    admin.guard.log_refusal(Some(peer), "unread", status);
}

async fn connection(
    stream: TcpStream,
    peer: Peer,
    router: Router,
    hall: &Arc<Hall>,
    seat: &Arc<Seat>,
    token: CancellationToken,
) -> hyper::Result<()> {
    let _ = stream.set_nodelay(true);
    let place = ConnectionPermit::default();
    let service = service_fn(|request: Request<Incoming>| {
        seat.asked.store(true, Ordering::Relaxed);
        let under_way = hall.begin(seat, request.uri().path());
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(place.clone());
        let router = TowerToHyperService::new(router.clone());
        async move {
            let answer = match &under_way {
                Some(_) => hyper::service::Service::call(&router, request).await?,
                None => busy(),
            };
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
        () = seat.given_up() => return Ok(()),
        () = token.cancelled() => {}
        () = tokio::time::sleep(CONNECTION) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(LAST_ANSWER, connection).await;
    Ok(())
}

fn busy() -> Response<Body> {
    let headers = [(header::RETRY_AFTER, "1"), (header::CONNECTION, "close")];
    (
        StatusCode::SERVICE_UNAVAILABLE,
        headers,
        "too many requests at once\n",
    )
        .into_response()
}
