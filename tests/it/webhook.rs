//! The webhook, with a real daemon and a real receiver: in order, at least once and signed; syncs do not wait for it.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cvsync::model::{Brake, CvId, Document, Fate, Outcome, sha256};
use serde_json::Value;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::process::{Process, output};
use crate::running::until;
use crate::world::{World, store};

const SECRET: &str = "whsec_Y2FuYXJ5LWtleS1vZi10aGUtd2ViaG9vay10ZXN0";
const KEY: &[u8] = b"canary-key-of-the-webhook-test";
const OFTEN: (&str, &str) = ("CVSYNC_SCHEDULE", "* * * * * *");
const AT_ONCE: (&str, &str) = ("CVSYNC_SETTLE_LAG", "1s");

/// How the receiver treats the next request.
#[derive(Clone, Debug)]
enum Answer {
    Status(u16, &'static [(&'static str, &'static str)]),
    Hang,
}

struct Delivery {
    path: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Delivery {
    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    fn events(&self) -> Vec<Value> {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn numbers(&self) -> Vec<i64> {
        let number = |event: &Value| event["id"].as_str().unwrap().parse().unwrap();
        self.events().iter().map(number).collect()
    }
}

#[derive(Default)]
struct Seen {
    deliveries: Vec<Delivery>,
    /// For those to come; all others are taken.
    answers: VecDeque<Answer>,
    /// The most events that are taken at once, where there is a limit; and one that never is.
    most: Option<usize>,
    poison: Option<i64>,
}

#[derive(Clone, Default)]
struct Desk(Arc<Mutex<Seen>>);

struct Receiver {
    desk: Desk,
    url: String,
    server: JoinHandle<()>,
}

impl Receiver {
    async fn start() -> Self {
        let desk = Desk::default();
        let router = axum::Router::new().fallback(take).with_state(desk.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            desk,
            url: format!("http://{address}/hook?token=canary-token"),
            server,
        }
    }

    fn answer(&self, answers: impl IntoIterator<Item = Answer>) {
        self.desk.0.lock().unwrap().answers.extend(answers);
    }

    fn env(&self) -> [(&str, &str); 4] {
        [
            OFTEN,
            AT_ONCE,
            ("CVSYNC_WEBHOOK_URL", &self.url),
            ("CVSYNC_WEBHOOK_SECRET", SECRET),
        ]
    }

    fn look<T>(&self, look: impl FnOnce(&[Delivery]) -> T) -> T {
        look(&self.desk.0.lock().unwrap().deliveries)
    }

    fn count(&self) -> usize {
        self.look(<[Delivery]>::len)
    }

    /// Each number that came, as often as it came.
    fn numbers(&self) -> Vec<i64> {
        self.look(|all| all.iter().flat_map(Delivery::numbers).collect())
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn take(
    State(desk): State<Desk>,
    uri: axum::http::Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let answer = {
        let mut seen = desk.0.lock().unwrap();
        let delivery = Delivery {
            path: uri.to_string(),
            headers,
            body: body.to_vec(),
        };
        let numbers = delivery.numbers();
        if seen.most.is_some_and(|most| numbers.len() > most) {
            return StatusCode::PAYLOAD_TOO_LARGE.into_response();
        }
        if seen.poison.is_some_and(|poison| numbers.contains(&poison)) {
            return StatusCode::UNPROCESSABLE_ENTITY.into_response();
        }
        seen.deliveries.push(delivery);
        seen.answers.pop_front()
    };
    match answer {
        None => StatusCode::NO_CONTENT.into_response(),
        Some(Answer::Status(status, headers)) => {
            let status = StatusCode::from_u16(status).unwrap();
            let mut answer = (status, "no").into_response();
            for (name, value) in headers {
                answer.headers_mut().insert(*name, value.parse().unwrap());
            }
            answer
        }
        Some(Answer::Hang) => std::future::pending().await,
    }
}

/// HMAC-SHA256 by its definition (RFC 2104), for keys of up to a block.
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let pad = |with: u8| -> Vec<u8> {
        let mut block = [0; 64];
        block[..key.len()].copy_from_slice(key);
        block.iter().map(|byte| byte ^ with).collect()
    };
    let inner = sha256(&[&pad(0x36), message].concat());
    sha256(&[&*pad(0x5c), &inner].concat()).to_vec()
}

async fn feed(world: &World) -> Vec<(i64, Uuid, String, String)> {
    sqlx::query_as(
        r#"select seq, cv_id, kind, to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
             from cvsync.cv_change
            order by seq"#,
    )
    .fetch_all(&world.database)
    .await
    .unwrap()
}

async fn numbers(world: &World) -> Vec<i64> {
    feed(world).await.iter().map(|row| row.0).collect()
}

async fn place(world: &World) -> i64 {
    world
        .count("select coalesce((select seq from cvsync.feed_consumer where name = 'webhook'), -1)")
        .await
}

/// Someone else than the daemon writes.
async fn write(world: &World, number: u128, second: i64) {
    let id = CvId(Uuid::from_u128(number));
    let body = format!(r#"{{"cvId":"{id}","second":{second}}}"#);
    let (_, document) = Document::read(body.as_bytes(), &[]).unwrap();
    let outcome = Outcome {
        window: None,
        as_of: chrono::DateTime::from_timestamp(second, 0).unwrap(),
        fate: Fate::Live(id, document),
    };
    let store = store(world.url());
    store
        .apply(&[outcome], Brake::on(0.2), chrono::DateTime::UNIX_EPOCH)
        .await
        .unwrap();
}

#[tokio::test]
async fn each_change_arrives_once_in_order_and_signed_and_a_restart_goes_on_there() {
    let world = World::new(30).await;
    let receiver = Receiver::start().await;
    let mut daemon = Process::run(&world, &receiver.env());
    daemon.until_synced().await;
    let gone = world.any_live_id();
    world.source.world(|w| w.remove(gone));
    until("the delete has arrived", async || {
        receiver.look(|all| {
            let mut events = all.iter().flat_map(Delivery::events);
            events.any(|event| event["type"] == "be.vdab.cv.delete")
        })
    })
    .await;
    // Else it may come once more.
    until("its place is stored", async || {
        place(&world).await == *numbers(&world).await.last().unwrap()
    })
    .await;
    daemon.signal("-TERM");
    assert!(daemon.ended_within(Duration::from_secs(10)).await.success());
    // Changes that are made while no daemon runs are sent by the next one.
    let before = receiver.count();
    write(&world, 1, 1).await;
    let again = Process::run(&world, &receiver.env());
    let all = numbers(&world).await;
    until("all has arrived", async || receiver.numbers() == all).await;
    until("its place is stored", async || {
        place(&world).await == *all.last().unwrap()
    })
    .await;
    assert!(receiver.count() > before);
    let rows = feed(&world).await;
    let events: Vec<_> = receiver.look(|all| all.iter().flat_map(Delivery::events).collect());
    for (event, (seq, cv_id, kind, at)) in events.iter().zip(&rows) {
        let expected = serde_json::json!({
            "specversion": "1.0",
            "id": seq.to_string(),
            "source": "/cvsync/cv_change",
            "type": format!("be.vdab.cv.{kind}"),
            "subject": cv_id,
            "time": at,
        });
        assert_eq!(*event, expected);
    }
    receiver.look(|all| {
        for delivery in all {
            assert_eq!(
                delivery.header("content-type"),
                "application/cloudevents-batch+json"
            );
            let mut signed = format!(
                "{}.{}.",
                delivery.header("webhook-id"),
                delivery.header("webhook-timestamp")
            )
            .into_bytes();
            signed.extend(&delivery.body);
            let expected = format!("v1,{}", STANDARD.encode(hmac(KEY, &signed)));
            assert_eq!(delivery.header("webhook-signature"), expected);
            let sent: i64 = delivery.header("webhook-timestamp").parse().unwrap();
            assert!((chrono::Utc::now().timestamp() - sent).abs() < 300);
        }
    });
    let metrics = again.get("/metrics").await.unwrap().1;
    assert!(metrics.contains(r#"cvsync_webhook_deliveries_total{outcome="delivered"}"#));
    again
        .until("/metrics", |_, body| {
            body.contains(r#"cvsync_feed_consumer_lag{consumer="webhook"} 0"#)
        })
        .await;
    for log in [daemon.log(), again.log()] {
        for word in ["canary", "Y2FuYXJ5", &gone.to_string()] {
            assert!(!log.contains(word), "{word} in {log}");
        }
    }
}

#[tokio::test]
async fn a_receiver_that_refuses_breaks_off_and_redirects_gets_the_same_again_and_all_of_it() {
    let world = World::new(5).await;
    let receiver = Receiver::start().await;
    receiver.answer([
        Answer::Status(500, &[]),
        Answer::Status(307, &[("location", "/elsewhere")]),
        Answer::Status(410, &[("retry-after", "1")]),
    ]);
    let daemon = Process::run(&world, &receiver.env());
    daemon.until_synced().await;
    until("it was refused", async || receiver.count() > 0).await;
    assert_eq!(place(&world).await, 0);
    // Changes that are made meanwhile are sent afterwards.
    write(&world, 1, 1).await;
    let all = numbers(&world).await;
    until("all was taken", async || {
        place(&world).await == *all.last().unwrap()
    })
    .await;
    receiver.look(|seen| {
        assert!(seen.iter().all(|one| one.path.starts_with("/hook?")));
        let first = &seen[0];
        for again in &seen[1..4] {
            assert_eq!(again.header("webhook-id"), first.header("webhook-id"));
            assert_eq!(again.body, first.body);
        }
        let taken: Vec<i64> = seen[3..].iter().flat_map(Delivery::numbers).collect();
        assert_eq!(taken, all);
    });
    let log = daemon.log();
    assert!(log.contains("CVSYNC_WEBHOOK_URL does not take"), "{log}");
    let metrics = daemon.get("/metrics").await.unwrap().1;
    assert!(
        metrics.contains(r#"cvsync_webhook_deliveries_total{outcome="refused"} 3"#),
        "{metrics}"
    );
}

#[tokio::test]
async fn while_a_receiver_hangs_syncs_go_on_and_nothing_is_lost() {
    let world = World::new(5).await;
    let receiver = Receiver::start().await;
    receiver.answer([Answer::Hang]);
    let daemon = Process::run(&world, &receiver.env());
    until("it hangs", async || receiver.count() == 1).await;
    daemon.until_synced().await;
    let id = world.any_live_id();
    world.source.world(|w| w.update(id));
    until("the change is in the database", async || {
        world
            .count("select (count(*) - count(distinct cv_id))::bigint from cvsync.cv_change")
            .await
            == 1
    })
    .await;
    until("the rest has arrived", async || {
        let came: BTreeSet<_> = receiver.numbers().into_iter().collect();
        came == numbers(&world).await.into_iter().collect()
    })
    .await;
    let metrics = daemon.get("/metrics").await.unwrap().1;
    assert!(
        metrics.contains(r#"cvsync_webhook_deliveries_total{outcome="timeout"} 1"#),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_crash_before_its_place_is_stored_brings_the_same_again() {
    let world = World::new(5).await;
    let receiver = Receiver::start().await;
    receiver.answer([Answer::Hang]);
    let daemon = Process::run(&world, &receiver.env());
    until("it has the first", async || receiver.count() == 1).await;
    daemon.kill().await;
    assert_eq!(place(&world).await, 0);
    let _again = Process::run(&world, &receiver.env());
    until("all has arrived", async || {
        let all = numbers(&world).await;
        place(&world).await == all.last().copied().unwrap_or(0)
            && !all.is_empty()
            && receiver.look(|seen| {
                let taken: Vec<i64> = seen[1..].iter().flat_map(Delivery::numbers).collect();
                taken == all
            })
    })
    .await;
}

#[tokio::test]
async fn one_that_is_new_gets_what_changes_from_then_on() {
    let world = World::new(5).await;
    world.sync().await;
    let receiver = Receiver::start().await;
    let _daemon = Process::run(&world, &receiver.env());
    let before = numbers(&world).await;
    until("it has its place", async || {
        Some(&place(&world).await) == before.last()
    })
    .await;
    write(&world, 1, 1).await;
    until("the change has arrived", async || receiver.count() > 0).await;
    assert_eq!(receiver.numbers(), numbers(&world).await[5..]);
}

#[tokio::test]
async fn receiver_with_a_small_limit_gets_each_change_once_in_smaller_requests() {
    let world = World::new(40).await;
    let receiver = Receiver::start().await;
    receiver.desk.0.lock().unwrap().most = Some(7);
    let daemon = Process::run(&world, &receiver.env());
    daemon.until_synced().await;
    let all = numbers(&world).await;
    until("all has arrived", async || receiver.numbers() == all).await;
    assert!(receiver.count() >= all.len() / 7);
    daemon.kill().await;
}

#[tokio::test]
async fn change_that_is_refused_by_itself_holds_up_those_behind_it_alone_and_is_told() {
    let world = World::new(20).await;
    world.sync().await;
    sqlx::raw_sql("insert into cvsync.feed_consumer (name, seq) values ('webhook', 0)")
        .execute(&world.database)
        .await
        .unwrap();
    let receiver = Receiver::start().await;
    let poison = numbers(&world).await[12];
    receiver.desk.0.lock().unwrap().poison = Some(poison);
    let daemon = Process::run(&world, &receiver.env());
    let named = format!("seq {poison}");
    let url = [("CVSYNC_DATABASE_URL", world.url())];
    until("the command names it", async || {
        let (_, stdout, _) = output(&["status"], url).await;
        stdout.contains(&named)
    })
    .await;
    let refused = "the webhook's receiver does not take all changes";
    let status = daemon
        .until("/api/status", |_, body| body.contains(refused))
        .await;
    assert!(!status.contains(&named), "{status}");
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["light"], "amber");
    assert_eq!(status["ready"], true);
    let all = numbers(&world).await;
    let before: Vec<i64> = all.iter().copied().filter(|seq| *seq < poison).collect();
    assert_eq!(receiver.numbers(), before);
    receiver.desk.0.lock().unwrap().poison = None;
    until("the rest has arrived", async || receiver.numbers() == all).await;
    daemon
        .until("/api/status", |_, body| !body.contains(refused))
        .await;
    daemon.kill().await;
}
