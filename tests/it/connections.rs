//! However the other side ends a connection between two calls, no call fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::world::World;

/// How the server ends a connection once the client has read the first response.
#[derive(Clone, Copy, Debug)]
enum Ending {
    /// It is closed at once.
    Closed,
    /// It is closed when the next request arrives, which is the race that no client can win.
    ClosedByTheNextRequest,
    /// The same by a reset.
    ResetByTheNextRequest,
    /// The other side says that it sends nothing more, and still reads.
    HalfClosed,
    /// The response has said `Connection: close`, and the connection stays open.
    AnnouncedOnly,
}

/// In front of the simulator: each connection carries one response, and then ends in this way. Counts lost requests.
async fn stand_before(upstream: std::net::SocketAddr, ending: Ending) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let lost = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&lost);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let counter = Arc::clone(&counter);
            tokio::spawn(async move {
                let _ = one_response(client, upstream, ending, &counter).await;
            });
        }
    });
    (port, lost)
}

async fn one_response(
    mut client: TcpStream,
    upstream: std::net::SocketAddr,
    ending: Ending,
    lost: &AtomicUsize,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    let read = client.read(&mut buffer).await?;
    let mut request = String::from_utf8_lossy(&buffer[..read]).into_owned();
    request = request.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
    let mut server = TcpStream::connect(upstream).await?;
    server.write_all(request.as_bytes()).await?;
    let mut response = Vec::new();
    server.read_to_end(&mut response).await?;
    let text = String::from_utf8_lossy(&response).into_owned();
    let text = match ending {
        Ending::AnnouncedOnly => text,
        _ => text.replace("connection: close\r\n", ""),
    };
    client.write_all(text.as_bytes()).await?;
    match ending {
        Ending::Closed => return Ok(()),
        Ending::HalfClosed => client.shutdown().await?,
        _ => {}
    }
    if client.read(&mut buffer).await? > 0 {
        lost.fetch_add(1, Ordering::Relaxed);
    }
    if matches!(ending, Ending::ResetByTheNextRequest) {
        client.set_zero_linger()?;
    }
    Ok(())
}

#[tokio::test]
async fn a_connection_that_ends_between_two_calls_costs_no_error() {
    for ending in [
        Ending::Closed,
        Ending::ClosedByTheNextRequest,
        Ending::ResetByTheNextRequest,
        Ending::HalfClosed,
        Ending::AnnouncedOnly,
    ] {
        let mut world = World::new(80).await;
        let base = world.config.api.base_url.clone();
        let upstream = (base.host_str().unwrap(), base.port().unwrap());
        let upstream = tokio::net::lookup_host(upstream).await.unwrap().next();
        let (port, lost) = stand_before(upstream.unwrap(), ending).await;
        world.set("CVSYNC_API_BASE_URL", format!("http://127.0.0.1:{port}/v1"));
        let pipeline = world.pipeline();
        for _ in 0..2 {
            pipeline.run().await.unwrap();
            world.settle();
        }
        world.assert_database_equals_source().await;
        assert_eq!(world.rows("parked_cv").await, 0, "{ending:?}");
        let text = world.metrics.render().unwrap();
        let retries = text
            .lines()
            .filter(|line| line.starts_with("cvsync_retries_total"));
        assert_eq!(retries.count(), 0, "{ending:?}");
        let of_closed = |line: &&str| line.starts_with("cvsync_gate_closed_seconds_total{");
        let closed = text.lines().filter(of_closed);
        let closed: Vec<_> = closed.filter(|line| !line.ends_with(" 0")).collect();
        assert!(closed.is_empty(), "{ending:?}: {closed:?}");
        let lost = lost.load(Ordering::Relaxed);
        let races = matches!(
            ending,
            Ending::ClosedByTheNextRequest | Ending::ResetByTheNextRequest
        );
        assert_eq!(lost > 0, races, "{ending:?}: {lost}");
        assert!(world.detail_calls() < 120, "{ending:?}");
    }
}
