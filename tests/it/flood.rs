//! Beside a thousand hostile connections, health answers within a second, and clients of the mirror with a key are served.
//!
//! Needs: postgres

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reqwest::header::AUTHORIZATION;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

use crate::mirror::{KEY, add_client};
use crate::process::{Process, cvsync};
use crate::running::until;
use crate::world::World;

const NEVER: (&str, &str) = ("CVSYNC_SCHEDULE", "0 0 0 29 2 *");
const TOKEN: (&str, &str) = ("CVSYNC_ADMIN_TOKEN", "canary-open-sesame-of-the-hostile");

const HOSTILE: usize = 1_000;

/// How long a hostile client stays on a connection that is not closed.
const STAY: Duration = Duration::from_secs(3);

/// How long a health check may take.
const HEALTH: Duration = Duration::from_secs(1);

/// The 99th percentile of the mirror's answers to a client with a key.
const MIRROR: Duration = Duration::from_millis(100);

/// A kind of hostile client.
#[derive(Clone, Copy, Debug)]
struct Kind {
    name: &'static str,
    /// Sent at once.
    sends: &'static str,
    times: usize,
    /// Sent every second after that.
    drips: &'static str,
    reads: bool,
}

const fn kind(name: &'static str, sends: &'static str) -> Kind {
    Kind {
        name,
        sends,
        times: 1,
        drips: "",
        reads: true,
    }
}

const KINDS: [Kind; 14] = [
    kind("silent", ""),
    kind("half a head", "GET /livez HTTP/1.1\r\nhost: localhost\r\n"),
    Kind {
        drips: "a",
        ..kind(
            "one byte a second",
            "GET /livez HTTP/1.1\r\nhost: localhost\r\nx: ",
        )
    },
    kind(
        "half a body",
        "POST /api/pause HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{",
    ),
    Kind {
        drips: "1\r\na\r\n",
        ..kind(
            "endless body",
            "POST /mirror/v1/kandidaten HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n",
        )
    },
    kind(
        "body that is announced and not sent",
        "GET / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\nexpect: 100-continue\r\n\r\n",
    ),
    kind("idle", "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n"),
    kind(
        "mirror without a key",
        "GET /mirror/v1/kandidaten HTTP/1.1\r\nhost: localhost\r\n\r\n",
    ),
    kind(
        "mirror with a wrong key",
        "GET /mirror/v1/kandidaten HTTP/1.1\r\nhost: localhost\r\nx-ibm-client-id: wrong\r\n\r\n",
    ),
    kind(
        "wrong token",
        "GET /api/parked HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer wrong\r\n\r\n",
    ),
    Kind {
        times: 300,
        reads: false,
        ..kind(
            "reader of nothing",
            "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n",
        )
    },
    Kind {
        times: 300,
        ..kind(
            "pipelined",
            "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n",
        )
    },
    kind(
        "HTTP/2",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    ),
    kind(
        "TLS",
        "\x16\x03\x01\x02\0\x01\0\x01\x7c\x03\x03 garbage garbage garbage",
    ),
];

/// Connects again whenever its connection ends, until it is dropped.
async fn attack(address: String, kind: Kind, connected: Arc<AtomicUsize>) {
    let sends = kind.sends.repeat(kind.times);
    loop {
        if let Ok(stream) = TcpStream::connect(&address).await {
            connected.fetch_add(1, Ordering::Relaxed);
            let _ = tokio::time::timeout(STAY, stay(stream, &sends, kind)).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn stay(stream: TcpStream, sends: &str, kind: Kind) -> std::io::Result<()> {
    let (mut reader, mut writer) = stream.into_split();
    let write = async {
        writer.write_all(sends.as_bytes()).await?;
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            writer.write_all(kind.drips.as_bytes()).await?;
        }
    };
    let read = async {
        let mut buffer = vec![0; 16 * 1024];
        while !kind.reads || reader.read(&mut buffer).await? > 0 {
            if !kind.reads {
                tokio::time::sleep(STAY).await;
            }
        }
        Ok(())
    };
    tokio::select! {
        ended = write => ended,
        ended = read => ended,
    }
}

/// A thousand hostile clients, each of which has had a connection.
async fn crowd(address: &str, kinds: &[Kind]) -> Vec<AbortOnDropHandle<()>> {
    let connected = Arc::<AtomicUsize>::default();
    let crowd: Vec<_> = kinds.iter().cycle().take(HOSTILE).collect();
    let crowd = crowd.into_iter().map(|kind| {
        let attack = attack(address.to_owned(), *kind, Arc::clone(&connected));
        AbortOnDropHandle::new(tokio::spawn(attack))
    });
    let crowd: Vec<_> = crowd.collect();
    until("all have connected", async || {
        connected.load(Ordering::Relaxed) >= HOSTILE
    })
    .await;
    crowd
}

fn client() -> reqwest::Client {
    let client = reqwest::Client::builder().no_proxy();
    client.pool_max_idle_per_host(0).build().unwrap()
}

/// The result of `measure`, which is repeated while it is above `limit`: a machine that runs other tests may be slow for a while.
async fn measured(limit: Duration, mut measure: impl AsyncFnMut() -> Duration) -> Duration {
    let mut measured = measure().await;
    for _ in 0..4 {
        if measured < limit {
            break;
        }
        measured = measure().await;
    }
    measured
}

/// The longest of ten health checks.
async fn slowest_health_check(address: &str) -> Duration {
    let client = client();
    let mut slowest = Duration::ZERO;
    for _ in 0..10 {
        let begun = Instant::now();
        let answer = client.get(format!("http://{address}/livez")).send().await;
        slowest = slowest.max(begun.elapsed());
        assert_eq!(answer.unwrap().status(), 200);
    }
    slowest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "not met yet: ./test flood:: -- --ignored"]
async fn health_answers_within_a_second_beside_a_thousand_hostile_connections_of_any_kind() {
    let world = World::new(5).await;
    let daemon = Process::run(&world, &[NEVER, TOKEN]);
    daemon.until("/readyz", |status, _| status == 200).await;
    for kind in KINDS {
        let _crowd = crowd(daemon.address(), &[kind]).await;
        let check = async || slowest_health_check(daemon.address()).await;
        let slowest = measured(HEALTH, check).await;
        println!("{}: /livez within {slowest:?}", kind.name);
        assert!(slowest < HEALTH, "{}: {slowest:?}", kind.name);
    }
    let _crowd = crowd(daemon.address(), &KINDS).await;
    let check = async || slowest_health_check(daemon.address()).await;
    let slowest = measured(HEALTH, check).await;
    println!("all kinds: /livez within {slowest:?}");
    assert!(slowest < HEALTH, "all kinds: {slowest:?}");
}

/// The 99th percentile of three hundred answers.
async fn mirror_latency(client: &reqwest::Client, url: &str, key: &str) -> Duration {
    let mut took = Vec::new();
    for _ in 0..300 {
        let begun = Instant::now();
        let answer = client.get(url).header(KEY, key).send().await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = answer.text().await.unwrap();
        assert_eq!(status, 200, "{} {headers:?} {body}", took.len());
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    took[took.len() * 99 / 100 - 1]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "not met yet: ./test flood:: -- --ignored"]
async fn client_with_a_key_is_served_beside_a_thousand_without() {
    let world = World::new(50).await;
    let key = add_client(&world, "crm").await;
    let daemon = Process::run(&world, &[NEVER, TOKEN]);
    daemon.until_synced().await;
    let id = world.any_live_id();
    let url = format!("http://{}/mirror/v1/kandidaten/{id}", daemon.address());
    let kept = reqwest::Client::builder().no_proxy().build().unwrap();
    let _crowd = crowd(daemon.address(), &KINDS).await;
    for (name, client) in [("kept connection", kept), ("new connections", client())] {
        let latency = async || mirror_latency(&client, &url, &key).await;
        let latency = measured(MIRROR, latency).await;
        println!("{name}: 99 % of answers within {latency:?}");
        assert!(latency < MIRROR, "{name}: {latency:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peer_makes_five_guesses_of_the_token_a_second_and_the_owner_is_served_again_afterwards() {
    let world = World::new(5).await;
    let daemon = Process::run(&world, &[NEVER, TOKEN]);
    daemon.until("/readyz", |status, _| status == 200).await;
    let wrong = |answer: &str| answer.starts_with("HTTP/1.1 401");
    let refused = Arc::<AtomicUsize>::default();
    let guess = |address: String, refused: Arc<AtomicUsize>| async move {
        let ask =
            "GET /api/parked HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer wrong\r\n\r\n";
        loop {
            let Ok(mut stream) = TcpStream::connect(&address).await else {
                continue;
            };
            let _ = stream.write_all(ask.as_bytes()).await;
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer).await;
            refused.fetch_add(usize::from(wrong(&answer)), Ordering::Relaxed);
        }
    };
    let begun = Instant::now();
    let guessers: Vec<_> = (0..50)
        .map(|_| guess(daemon.address().to_owned(), Arc::clone(&refused)))
        .map(|guess| AbortOnDropHandle::new(tokio::spawn(guess)))
        .collect();
    until("it has tried twenty", async || {
        refused.load(Ordering::Relaxed) >= 20
    })
    .await;
    let seconds = begun.elapsed().as_secs_f64();
    let tried = u32::try_from(refused.load(Ordering::Relaxed)).unwrap();
    assert!(
        f64::from(tried) <= 5.0 * (seconds + 1.0),
        "{tried} in {seconds} s"
    );
    drop(guessers);
    let url = format!("http://{}/api/parked", daemon.address());
    let bearer = format!("Bearer {}", TOKEN.1);
    let asked = client().get(url).header(AUTHORIZATION, bearer).send().await;
    assert_eq!(asked.unwrap().status(), 200);
    let counted = |line: &str| {
        let count = line.strip_prefix("cvsync_http_refused_total{reason=\"token\"} ");
        count.is_some_and(|count| count.parse::<f64>().unwrap() >= 20.0)
    };
    daemon
        .until("/metrics", |_, body| body.lines().any(counted))
        .await;
}

#[tokio::test]
async fn short_token_is_refused_off_loopback() {
    let world = World::new(0).await;
    let env = world.environment();
    let env = env.iter().map(|(name, value)| (*name, value.as_str()));
    let open = [
        ("CVSYNC_HTTP_ADDR", "0.0.0.0:0"),
        ("CVSYNC_ADMIN_TOKEN", "a"),
    ];
    let refused = cvsync(&["check"], env.chain(open)).output().await.unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let stderr = String::from_utf8(refused.stderr).unwrap();
    let wanted = ["CVSYNC_ADMIN_TOKEN must have at least 20", "openssl rand"];
    assert!(wanted.iter().all(|part| stderr.contains(part)), "{stderr}");
}
