//! Actions over HTTP: who may do them, and what a hostile or clumsy client gets.

use std::time::{Duration, Instant};

use cvsync::simulator::{Fault, Operation, Options};
use reqwest::header::{AUTHORIZATION, HOST, ORIGIN};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::process::Process;
use crate::running::until;
use crate::world::World;

const NEVER: (&str, &str) = ("CVSYNC_SCHEDULE", "0 0 0 29 2 *");
const AT_ONCE: (&str, &str) = ("CVSYNC_SETTLE_LAG", "1s");
const TOKEN: (&str, &str) = ("CVSYNC_ADMIN_TOKEN", "canary-open-sesame");

const ACTIONS: [&str; 8] = [
    "/api/sync",
    "/api/resync/30dbfef1-59df-4521-a111-964bf0208e68",
    "/api/parked/retry",
    "/api/deletes/approve",
    "/api/deletes/discard",
    "/api/pause",
    "/api/resume",
    "/api/nothing",
];

/// A request with headers of its own: status and body.
async fn send(
    daemon: &Process,
    method: &str,
    path: &str,
    headers: &[(reqwest::header::HeaderName, &str)],
    body: &str,
) -> (u16, String) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}{path}", daemon.address());
    let mut request = client
        .request(method.parse().unwrap(), url)
        .timeout(Duration::from_secs(20))
        .body(body.to_owned());
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

async fn post(daemon: &Process, path: &str, body: &str) -> (u16, String) {
    let bearer = format!("Bearer {}", TOKEN.1);
    send(daemon, "POST", path, &[(AUTHORIZATION, &bearer)], body).await
}

async fn synced(world: &World, env: &[(&str, &str)]) -> Process {
    let daemon = Process::run(world, env);
    daemon.until_synced().await;
    daemon
}

#[tokio::test]
async fn without_the_token_nothing_is_done_and_no_answer_tells_why() {
    let world = World::new(20).await;
    let with = synced(&world, &[NEVER, TOKEN]).await;
    let without = Process::run(&world, &[NEVER]);
    without.until("/readyz", |status, _| status == 200).await;
    let wrong = format!("Bearer {}x", TOKEN.1);
    let ours = format!("Bearer {}", TOKEN.1);
    for path in &ACTIONS[..7] {
        let mut answers = Vec::new();
        answers.push(send(&with, "POST", path, &[], "").await);
        // Some of these wait, because they are more than five a second.
        answers.push(send(&with, "POST", path, &[(AUTHORIZATION, &wrong)], "").await);
        answers.push(send(&with, "POST", path, &[(AUTHORIZATION, "Bearer ")], "").await);
        answers.push(send(&without, "POST", path, &[], "").await);
        answers.push(send(&without, "POST", path, &[(AUTHORIZATION, &ours)], "").await);
        answers.push(send(&without, "POST", path, &[(AUTHORIZATION, "Bearer ")], "").await);
        for answer in &answers {
            assert_eq!(
                answer,
                &(
                    401,
                    "this needs the admin token as a Bearer token\n".to_owned()
                ),
                "{path}"
            );
        }
    }
    for path in ["/api/parked", "/api/deletes"] {
        assert_eq!(send(&with, "GET", path, &[], "").await.0, 401);
        assert_eq!(
            send(&with, "GET", path, &[(AUTHORIZATION, &ours)], "")
                .await
                .0,
            200
        );
    }
    assert_eq!(world.rows("run_request").await, 0);
    assert_eq!(world.rows("pause").await, 0);
    let log = with.log() + &without.log();
    assert!(log.contains("rejected a request over HTTP"), "{log}");
    assert!(
        !log.contains("canary") && !log.contains("30dbfef1"),
        "{log}"
    );
}

#[tokio::test]
async fn another_site_s_page_can_do_nothing_even_with_the_token() {
    let world = World::new(20).await;
    let daemon = synced(
        &world,
        &[
            NEVER,
            TOKEN,
            ("CVSYNC_HTTP_HOSTS", "Cvsync.partner.example"),
        ],
    )
    .await;
    let ours = format!("Bearer {}", TOKEN.1);
    let site = reqwest::header::HeaderName::from_static("sec-fetch-site");
    for (name, value) in [
        (ORIGIN, "https://evil.example"),
        (ORIGIN, "null"),
        (site, "cross-site"),
    ] {
        let headers = [(AUTHORIZATION, &*ours), (name, value)];
        let answer = send(&daemon, "POST", "/api/pause", &headers, "").await;
        assert_eq!(answer.0, 403, "{value}: {}", answer.1);
    }
    for path in [
        "/",
        "/assets/page.js",
        "/api/status",
        "/api/parked",
        "/mirror/v1/openapi.json",
        "/mirror/v1/kandidaten",
    ] {
        let (status, text) = send(&daemon, "GET", path, &[(HOST, "evil.example")], "").await;
        assert_eq!(status, 421, "{path}: {text}");
        assert!(text.contains("CVSYNC_HTTP_HOSTS"), "{text}");
        let (status, _) = send(
            &daemon,
            "GET",
            path,
            &[(HOST, "cvsync.partner.example")],
            "",
        )
        .await;
        assert_ne!(status, 421, "{path}");
    }
    let path = "/mirror/v1/kandidaten/30dbfef1-59df-4521-a111-964bf0208e68";
    let headers = [(AUTHORIZATION, &*ours), (HOST, "evil.example")];
    assert_eq!(send(&daemon, "GET", path, &headers, "").await.0, 421);
    let headers = [(AUTHORIZATION, &*ours), (HOST, "evil.example")];
    assert_eq!(
        send(&daemon, "POST", "/api/pause", &headers, "").await.0,
        421
    );
    for path in ["/livez", "/readyz", "/metrics"] {
        let headers = [(HOST, "cvsync.monitoring.svc:8080")];
        assert_eq!(
            send(&daemon, "GET", path, &headers, "").await.0,
            200,
            "{path}"
        );
    }
    assert_eq!(world.rows("pause").await, 0);
    let own = format!("http://{}", daemon.address());
    let headers = [(AUTHORIZATION, &*ours), (ORIGIN, &own)];
    assert_eq!(
        send(&daemon, "POST", "/api/pause", &headers, "").await.0,
        200
    );
    assert_eq!(world.rows("pause").await, 1);
}

#[tokio::test]
async fn leader_carries_out_requests_to_any_instance() {
    let world = World::new(50).await;
    let leader = synced(&world, &[NEVER, AT_ONCE, TOKEN]).await;
    let standby = Process::run(&world, &[NEVER, AT_ONCE, TOKEN]);
    standby
        .until("/readyz", |status, body| {
            status == 200 && body.contains("leads")
        })
        .await;
    let id = world.any_live_id();
    world.source.world(|w| w.update(id));
    let bulk = world.bulk_calls();
    let (status, text) = post(&standby, &format!("/api/resync/{id}"), "").await;
    assert_eq!(status, 202, "{text}");
    until("it is fetched again", async || {
        world
            .count(
                "select count(*) from cvsync.run_request where done_at is not null and not failed",
            )
            .await
            == 1
    })
    .await;
    world.assert_database_equals_source().await;
    assert_eq!(world.bulk_calls(), bulk, "nothing was listed for it");
    let id = world.any_live_id();
    world.source.world(|w| w.remove(id));
    // A window ends the settle lag before now, so the first sync may be too early.
    until("it is synced", async || {
        for _ in 0..3 {
            assert_eq!(post(&standby, "/api/sync", "").await.0, 202);
        }
        let waiting = "select count(*) from cvsync.run_request where done_at is null";
        until("the sync has ended", async || {
            world.count(waiting).await == 0
        })
        .await;
        world.documents().await.len() == world.live()
    })
    .await;
    world.assert_database_equals_source().await;
    assert!(
        leader.log().contains("\"run\":\"resync\""),
        "{}",
        leader.log()
    );
    assert!(standby.log().contains("action over HTTP"));
}

#[tokio::test]
async fn next_leader_finishes_a_request_of_a_leader_that_died() {
    let world = World::new(20).await;
    let id = world.any_live_id();
    world.sync().await;
    world.source.world(|w| w.update(id));
    sqlx::query(
        "insert into cvsync.run_request (what, ids, taken_at) values ('resync', $1, now())",
    )
    .bind(vec![id])
    .execute(&world.database)
    .await
    .unwrap();
    // `Date` counts in seconds: a process that just began may take the source to be a second earlier than the one before. And what
    // was asked for finds the change, not the sync at the start.
    world.settle();
    let _daemon = Process::run(&world, &[NEVER, ("CVSYNC_SETTLE_LAG", "1h")]);
    until("it is fetched", async || {
        world
            .count("select count(*) from cvsync.run_request where done_at is not null")
            .await
            == 1
    })
    .await;
    world.assert_database_equals_source().await;
}

#[tokio::test]
async fn while_a_pause_holds_what_needs_a_run_is_refused_whole() {
    let world = World::new(20).await;
    world.source.rule(world.any_live_id(), Fault::Http500);
    let daemon = synced(&world, &[NEVER, TOKEN]).await;
    let due = "select count(*) from cvsync.parked_cv where next_attempt_at <= now()";
    let body = json!({ "reason": "moving <b>house</b>\n", "until": "2031-01-01T00:00:00Z" });
    assert_eq!(post(&daemon, "/api/pause", &body.to_string()).await.0, 200);
    for path in ["/api/sync", "/api/parked/retry", "/api/pause"] {
        let (status, text) = post(&daemon, path, "").await;
        assert_eq!(status, 409, "{path}");
        assert!(text.contains("until 2031-01-01"), "{text}");
        assert!(text.contains("moving <b>house</b>"), "{text}");
    }
    assert_eq!(world.count(due).await, 0);
    let past = json!({ "until": "2020-01-01T00:00:00Z", "replace": true }).to_string();
    let (status, text) = post(&daemon, "/api/pause", &past).await;
    assert_eq!(status, 400, "{text}");
    assert!(
        text.contains("must be later than the database's time"),
        "{text}"
    );
    daemon
        .until("/", |_, page| {
            page.contains("Paused until 2031-01-01T00:00:00Z: moving &lt;b&gt;house&lt;/b&gt;")
        })
        .await;
    let other = json!({ "reason": "lunch", "replace": true }).to_string();
    let (status, text) = post(&daemon, "/api/pause", &other).await;
    assert_eq!(status, 200, "{text}");
    assert!(text.contains("until `cvsync resume`"), "{text}");
    assert_eq!(
        post(&daemon, "/api/resume", "").await,
        (200, "resumed\n".to_owned())
    );
    assert_eq!(
        post(&daemon, "/api/resume", "").await.1,
        "syncing was not paused\n"
    );
    world.source.clear_faults();
    assert_eq!(post(&daemon, "/api/parked/retry", "{}").await.0, 202);
    until("none is parked", async || {
        world.rows("parked_cv").await == 0
    })
    .await;
}

#[tokio::test]
async fn held_deletes_are_decided_as_by_the_command_and_no_others() {
    let world = World::with(Options {
        candidates: 2_000,
        ..Options::default()
    })
    .await;
    world.sync().await;
    let ids: Vec<Uuid> = world.documents().await.into_keys().take(1_200).collect();
    world
        .source
        .world(|w| assert!(ids.iter().all(|id| w.remove(*id))));
    world.settle();
    world.sync().await;
    let held: Vec<Uuid> = sqlx::query_scalar("select cv_id from cvsync.held_delete order by 1")
        .fetch_all(&world.database)
        .await
        .unwrap();
    sqlx::query("update cvsync.held_delete set held_at = held_at - interval '1 hour'")
        .execute(&world.database)
        .await
        .unwrap();
    let stored = world.rows("cv").await;
    let daemon = synced(&world, &[NEVER, TOKEN]).await;
    // Another number than there are, an id that is not held, and nothing at all.
    let stranger = world.any_live_id();
    for (body, status) in [
        (json!({ "all": held.len() + 1 }), 409),
        (json!({ "ids": [stranger] }), 404),
        (json!({}), 400),
        (json!({ "all": held.len(), "ids": [held[0]] }), 400),
        (json!({ "ids": ["x"] }), 400),
    ] {
        let answer = post(&daemon, "/api/deletes/approve", &body.to_string()).await;
        assert_eq!(answer.0, status, "{body}: {}", answer.1);
    }
    let one = json!({ "ids": [held[0]] }).to_string();
    assert_eq!(post(&daemon, "/api/deletes/approve", &one).await.0, 202);
    until("it is gone", async || world.rows("cv").await == stored - 1).await;
    let delays = "cvsync_apply_delay_seconds_sum{kind=\"delete\",lane=\"backlog\"} ";
    let told = daemon
        .until("/metrics", |_, body| body.contains(delays))
        .await;
    let delay = told.lines().find_map(|line| line.strip_prefix(delays));
    let delay: f64 = delay.unwrap().parse().unwrap();
    assert!(delay > 3_600.0, "it was listed an hour ago: {delay}");
    let left = i64::try_from(held.len()).unwrap() - 1;
    assert_eq!(world.rows("held_delete").await, left, "the others wait on");
    // One that the source has again stays, though it is approved.
    let back = held[1];
    world.source.world(|w| w.update(back));
    let one = json!({ "ids": [held[2]] }).to_string();
    assert_eq!(post(&daemon, "/api/deletes/discard", &one).await.0, 200);
    assert_eq!(world.rows("held_delete").await, left - 1);
    let all = json!({ "all": left - 1 }).to_string();
    assert_eq!(post(&daemon, "/api/deletes/approve", &all).await.0, 202);
    until("all are decided", async || {
        world.rows("held_delete").await == 0
    })
    .await;
    let documents = world.documents().await;
    assert!(documents.contains_key(&back) && documents.contains_key(&held[2]));
    assert!(held[3..].iter().all(|id| !documents.contains_key(id)));
    let listed: Value = serde_json::from_str(&daemon.get("/api/status").await.unwrap().1).unwrap();
    assert_eq!(listed["phase"], "leading");
}

#[tokio::test]
async fn bad_requests_are_bounded_and_told_in_a_line() {
    let world = World::new(20).await;
    let daemon = synced(&world, &[NEVER, TOKEN]).await;
    let bearer = format!("Bearer {}", TOKEN.1);
    let huge = "x".repeat(100_000);
    let deep = "[".repeat(50_000);
    let endless = format!("/{}", "a".repeat(20_000));
    for (method, path, body, status) in [
        ("GET", "/nowhere", "", 404),
        ("GET", "/assets/../../etc/passwd", "", 404),
        ("GET", "/assets/%2e%2e%2fCargo.toml", "", 404),
        ("POST", "/", "", 405),
        ("DELETE", "/api/status", "", 405),
        ("GET", "/api/sync", "", 405),
        ("OPTIONS", "/api/sync", "", 405),
        ("POST", "/api/pause", &*huge, 413),
        ("POST", "/api/pause", &*deep, 400),
        ("POST", "/api/pause", "{\"reason\": 1}", 400),
        ("POST", "/api/pause", "{\"canary\": 1}", 400),
        ("POST", "/api/pause", "{\"reason\": \"canary\"", 400),
        ("POST", "/api/pause", r#"{"reason": "\ud800"}"#, 400),
        (
            "POST",
            "/api/pause",
            r#"{"reason": "canary", "reason": "b"}"#,
            400,
        ),
        (
            "POST",
            "/api/pause",
            r#"{"until": "+262142-12-31T23:59:59Z"}"#,
            400,
        ),
        (
            "POST",
            "/api/pause",
            r#"{"until": "-262143-01-01T00:00:00Z"}"#,
            400,
        ),
        (
            "POST",
            "/api/pause",
            r#"{"until": "2099-01-01T00:00:00Z"}"#,
            400,
        ),
        (
            "POST",
            "/api/pause",
            r#"{"until": "2026-13-45T00:00:00Z"}"#,
            400,
        ),
        ("POST", "/api/pause", r#"{"until": "infinity"}"#, 400),
        (
            "POST",
            "/api/parked/retry",
            r#"{"ids": ["can\u0000ary"]}"#,
            404,
        ),
        ("POST", "/api/parked/retry", r#"{"ids": ["\udc00"]}"#, 400),
        ("POST", "/api/parked/retry", r#"{"ids": [7]}"#, 400),
        (
            "POST",
            "/api/deletes/approve",
            r#"{"all": 99999999999999999999}"#,
            400,
        ),
        (
            "POST",
            "/api/deletes/approve",
            r#"{"ids": ["can\u0000ary"]}"#,
            400,
        ),
        ("POST", "/api/resync/%00", "", 400),
        ("POST", "/api/resync/%ff", "", 400),
        ("POST", "/api/resync/no-id", "", 400),
        ("GET", &*endless, "", 431),
    ] {
        let headers = [(AUTHORIZATION, &*bearer)];
        let answer = send(&daemon, method, path, &headers, body).await;
        assert_eq!(answer.0, status, "{method} {:.40}: {}", path, answer.1);
        assert!(
            answer.1.len() < 200 && !answer.1.contains("canary"),
            "{}",
            answer.1
        );
    }
    let log = daemon.log();
    assert!(!log.contains("no-id") && !log.contains("canary"), "{log}");
}

#[tokio::test]
async fn slow_clients_hold_nobody_up_and_are_let_go() {
    let world = World::new(20).await;
    let daemon = synced(&world, &[NEVER, TOKEN]).await;
    let mut slow = Vec::new();
    for _ in 0..60 {
        let mut client = TcpStream::connect(daemon.address()).await.unwrap();
        client
            .write_all(b"GET / HTTP/1.1\r\nHost: loc")
            .await
            .unwrap();
        slow.push(client);
    }
    let mut body = TcpStream::connect(daemon.address()).await.unwrap();
    let head = format!(
        "POST /api/pause HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Length: 50\r\n\r\n{{",
        TOKEN.1
    );
    body.write_all(head.as_bytes()).await.unwrap();
    let begun = Instant::now();
    assert_eq!(daemon.get("/livez").await.unwrap().0, 200);
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    let ends = async {
        let mut rest = Vec::new();
        for client in &mut slow {
            let _ = client.read_to_end(&mut rest).await;
        }
        let mut answer = [0; 12];
        body.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 408");
    };
    tokio::time::timeout(Duration::from_secs(30), ends)
        .await
        .unwrap();
    assert_eq!(world.rows("pause").await, 0);
    assert!(
        daemon.log().contains("\"route\":\"unread\""),
        "{}",
        daemon.log()
    );
}

#[tokio::test]
async fn each_minute_leaves_a_row_of_the_leader_and_each_instance_says_that_it_is_here() {
    let world = World::new(300).await;
    world
        .source
        .rule(Operation::Bulk, Fault::Slow(Duration::from_millis(300)));
    let mut leader = synced(&world, &[NEVER, TOKEN]).await;
    let mut standby = Process::run(&world, &[NEVER, TOKEN]);
    until("both are here", async || world.rows("instance").await == 2).await;
    until("a minute is over", async || world.rows("history").await > 0).await;
    let rows = world.rows("history").await;
    assert!((1..=2).contains(&rows), "{rows}");
    let written = world
        .count("select sum(upserted)::bigint from cvsync.history")
        .await;
    assert_eq!(written, i64::try_from(world.live()).unwrap());
    let calls = world
        .count("select sum(calls)::bigint from cvsync.history")
        .await;
    // Those of the details, scaled to a minute.
    assert!(calls * 2 > written && calls <= written, "{calls}");
    for daemon in [&mut leader, &mut standby] {
        daemon.signal("-TERM");
        assert!(daemon.ended_within(Duration::from_secs(10)).await.success());
    }
    assert_eq!(world.rows("instance").await, 0);
}
