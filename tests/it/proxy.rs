//! A TCP proxy whose trouble is chosen while it runs: what Toxiproxy does, for HTTP and for PostgreSQL alike.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

/// A fault of everything that passes from now on, on open connections and new ones.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Trouble {
    None,
    /// The port is closed, and open connections end.
    Down,
    /// Each piece of a response comes this much later.
    Latency(Duration),
    /// Responses come at this many bytes per second.
    Bandwidth(usize),
    /// Responses come in pieces of this many bytes, with a pause before each.
    Slicer(usize, Duration),
    /// A connection ends after this many bytes of responses.
    Cut(usize),
    /// A connection is reset after this many bytes of responses.
    Reset(usize),
    /// Nothing passes in either direction, without an error.
    Swallow,
    /// A request with these bytes is passed on and carried out; the connection ends before the response.
    Unanswered(&'static [u8]),
}

/// A proxy that runs until it is dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

struct Shared {
    upstream: Mutex<SocketAddr>,
    trouble: watch::Sender<Trouble>,
    accepted: AtomicUsize,
    struck: AtomicUsize,
    /// Connections up to this number pass nothing any more.
    forsaken: AtomicUsize,
}

impl Proxy {
    /// A proxy in front of this address, with no trouble as yet.
    pub(crate) async fn to(upstream: SocketAddr) -> Self {
        let listener = bind_anywhere().await;
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            upstream: Mutex::new(upstream),
            trouble: watch::Sender::new(Trouble::None),
            accepted: AtomicUsize::new(0),
            struck: AtomicUsize::new(0),
            forsaken: AtomicUsize::new(0),
        });
        let serving = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Self {
            address,
            shared,
            serving,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn set(&self, trouble: Trouble) {
        self.shared.trouble.send_replace(trouble);
    }

    /// Leads connections to this address from now on. Open connections stay as they are.
    pub(crate) fn lead_to(&self, upstream: SocketAddr) {
        *self.shared.upstream.lock().unwrap() = upstream;
    }

    /// Open connections pass nothing any more, without an error; new ones work.
    pub(crate) fn forsake(&self) {
        self.shared
            .forsaken
            .store(self.accepted(), Ordering::Relaxed);
    }

    /// How many connections it took.
    pub(crate) fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// How many connections its trouble has ended.
    pub(crate) fn struck(&self) -> usize {
        self.shared.struck.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A port outside the range from which outgoing connections get theirs: while the proxy is down, a client that keeps
/// knocking could else be given that port, and reach itself.
async fn bind_anywhere() -> TcpListener {
    for _ in 0..1_000 {
        let port = fastrand::u16(12_000..20_000);
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)).await {
            return listener;
        }
    }
    panic!("no free port");
}

/// The connections live in the set, and end with it when the proxy is down or dropped.
async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let address = listener.local_addr().unwrap();
    let mut trouble = shared.trouble.subscribe();
    let mut listener = Some(listener);
    loop {
        let down = |trouble: &Trouble| *trouble == Trouble::Down;
        let listening = match listener.take() {
            Some(listening) => listening,
            None => TcpListener::bind(address).await.unwrap(),
        };
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listening.accept() => {
                    let Ok((client, _)) = accepted else { continue };
                    let number = shared.accepted.fetch_add(1, Ordering::Relaxed) + 1;
                    connections.spawn(connection(number, client, Arc::clone(&shared)));
                }
                _ = trouble.wait_for(down) => break,
            }
        }
        shared
            .struck
            .fetch_add(connections.len(), Ordering::Relaxed);
        drop((listening, connections));
        let _ = trouble.wait_for(|trouble| !down(trouble)).await;
    }
}

async fn connection(number: usize, mut client: TcpStream, shared: Arc<Shared>) {
    let upstream = *shared.upstream.lock().unwrap();
    let Ok(mut server) = TcpStream::connect(upstream).await else {
        return;
    };
    let (asked, reset) = (AtomicBool::new(false), AtomicBool::new(false));
    {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let marks = Marks {
            number,
            shared: &shared,
            asked: &asked,
            reset: &reset,
        };
        tokio::select! {
            _ = requests(from_client, to_server, marks) => {}
            _ = answers(from_server, to_client, marks) => {}
        }
    }
    if reset.load(Ordering::Relaxed) {
        let _ = client.set_zero_linger();
    }
}

#[derive(Clone, Copy)]
struct Marks<'a> {
    number: usize,
    shared: &'a Shared,
    /// The request that is to stay unanswered has passed.
    asked: &'a AtomicBool,
    reset: &'a AtomicBool,
}

impl Marks<'_> {
    fn trouble(self) -> Trouble {
        self.shared.trouble.borrow().clone()
    }

    fn strike(self) {
        self.shared.struck.fetch_add(1, Ordering::Relaxed);
    }

    async fn swallowed(self) {
        if self.number <= self.shared.forsaken.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        let mut trouble = self.shared.trouble.subscribe();
        let _ = trouble
            .wait_for(|trouble| *trouble != Trouble::Swallow)
            .await;
    }
}

async fn requests(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    marks: Marks<'_>,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let read = from.read(&mut buffer).await?;
        let piece = &buffer[..read];
        if piece.is_empty() {
            return Ok(());
        }
        marks.swallowed().await;
        if let Trouble::Unanswered(words) = marks.trouble()
            && piece.windows(words.len()).any(|window| window == words)
        {
            marks.asked.store(true, Ordering::Relaxed);
        }
        to.write_all(piece).await?;
    }
}

async fn answers(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    marks: Marks<'_>,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    let mut passed = 0;
    loop {
        let most = match marks.trouble() {
            Trouble::Slicer(size, _) => size,
            Trouble::Bandwidth(rate) => (rate / 50).clamp(1, buffer.len()),
            _ => buffer.len(),
        };
        let read = from.read(&mut buffer[..most]).await?;
        if read == 0 {
            return Ok(());
        }
        marks.swallowed().await;
        match marks.trouble() {
            Trouble::Latency(pause) | Trouble::Slicer(_, pause) => sleep(pause).await,
            Trouble::Bandwidth(rate) => {
                let share = u32::try_from(read).unwrap_or(u32::MAX);
                sleep(Duration::from_secs(1) * share / u32::try_from(rate).unwrap_or(u32::MAX))
                    .await;
            }
            trouble @ (Trouble::Cut(after) | Trouble::Reset(after)) if passed + read > after => {
                marks.strike();
                to.write_all(&buffer[..after.saturating_sub(passed)])
                    .await?;
                let resets = matches!(trouble, Trouble::Reset(_));
                marks.reset.store(resets, Ordering::Relaxed);
                return Ok(());
            }
            Trouble::Unanswered(_) if marks.asked.load(Ordering::Relaxed) => {
                marks.strike();
                return Ok(());
            }
            _ => {}
        }
        to.write_all(&buffer[..read]).await?;
        passed += read;
    }
}
