//! HTTP/1.1 by hyper itself, because a fault must be able to break the connection during a response.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, Request, Response, StatusCode};
use futures_util::{StreamExt as _, future, stream};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

use super::Shared;
use super::answer::Answer;
use super::call::Call;
use super::faults::Fault;
use crate::contract::{GatewayError, KEY_HEADER};

/// Time for sending the first half of a body before the connection breaks.
const BEFORE_THE_BREAK: Duration = Duration::from_millis(20);

/// Serves until the simulator stops, then drops open connections.
pub(super) async fn run(listener: TcpListener, shared: Arc<Shared>) {
    let connections = TaskTracker::new();
    while let Some(accepted) = shared.stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, _)) => {
                connections.spawn(connection(stream, Arc::clone(&shared)));
            }
            // Out of file descriptors, say: wait for some to come back.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    connections.close();
    connections.wait().await;
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let reset = AtomicBool::new(false);
    let service = service_fn(|request| Box::pin(respond(request, &shared, &reset)));
    let mut connection = http1::Builder::new()
        .auto_date_header(false)
        .serve_connection(TokioIo::new(stream), service);
    let served = future::poll_fn(|cx| connection.poll_without_shutdown(cx));
    let ended = shared.stop.run_until_cancelled(served).await;
    if ended.is_some() && reset.load(Ordering::Relaxed) {
        let _ = connection.into_parts().io.into_inner().set_zero_linger();
    }
}

async fn respond<B>(
    request: Request<B>,
    shared: &Shared,
    reset: &AtomicBool,
) -> Result<Response<Body>, Infallible> {
    let now = shared.clock.now();
    let (answer, fault, date) = decide(&request, shared, now);
    match fault {
        Fault::Stall => future::pending().await,
        Fault::Slow(pause) => tokio::time::sleep(pause).await,
        Fault::Reset => reset.store(true, Ordering::Relaxed),
        _ => (),
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    write_headers(response.headers_mut(), &answer);
    if let Some(date) = date
        && let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::from(date)))
    {
        response.headers_mut().insert(DATE, date);
    }
    *response.body_mut() = if matches!(fault, Fault::Reset | Fault::CutOff) {
        response
            .headers_mut()
            .insert(CONTENT_LENGTH, answer.body.len().into());
        broken(&answer.body)
    } else {
        answer.body.into()
    };
    Ok(response)
}

fn decide<B>(
    request: &Request<B>,
    shared: &Shared,
    now: chrono::DateTime<chrono::Utc>,
) -> (Answer, Fault, Option<chrono::DateTime<chrono::Utc>>) {
    let uri = request.uri();
    let mut gateway = shared.lock();
    let settings = &gateway.settings;
    let date = settings.send_date.then(|| now + settings.date_ahead);
    let headers = request.headers();
    if let Some(answer) = gateway.quirks.token(request.method(), uri.path(), headers) {
        return (answer, Fault::Pass, date);
    }
    let Some(call) = Call::read(uri.path(), uri.query().unwrap_or_default()) else {
        return (
            GatewayError::new(404, "No resources match requested URI").into(),
            Fault::Pass,
            date,
        );
    };
    if request.method() != Method::GET {
        return (
            GatewayError::new(405, "The method is not allowed").into(),
            Fault::Pass,
            date,
        );
    }
    let key = headers.get(KEY_HEADER).map(HeaderValue::as_bytes);
    let (answer, fault) = gateway.handle(&call, key, now);
    (answer, fault, date)
}

fn write_headers(headers: &mut HeaderMap, answer: &Answer) {
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/json; charset=utf-8"),
    );
    for (name, value) in &answer.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
}

/// Half of the body, then an error that ends the connection.
fn broken(body: &Bytes) -> Body {
    let half = stream::iter([Ok(body.slice(..body.len() / 2))]);
    let end = stream::once(async {
        tokio::time::sleep(BEFORE_THE_BREAK).await;
        Err(io::Error::from(io::ErrorKind::ConnectionReset))
    });
    Body::from_stream(half.chain(end))
}
