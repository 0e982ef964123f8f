//! The daemon as a process: what it serves, how it follows, what it waits for, how it ends.
//!
//! Needs: prometheus

use std::io::{ErrorKind, Write};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use cvsync::simulator::{Fault, Operation, Options};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::process::{Process, free_address, output};
use crate::running::until;
use crate::world::World;

const OFTEN: (&str, &str) = ("CVSYNC_SCHEDULE", "* * * * * *");
/// At its start, and then not before the next leap day.
const ONCE: (&str, &str) = ("CVSYNC_SCHEDULE", "0 0 0 29 2 *");
const AT_ONCE: (&str, &str) = ("CVSYNC_SETTLE_LAG", "1s");

#[tokio::test]
async fn daemon_syncs_at_start_and_then_follows_changes() {
    let world = World::new(200).await;
    let mut daemon = Process::run(&world, &[OFTEN, AT_ONCE]);
    daemon.until_synced().await;
    let first = world.watermark().await.unwrap();
    let ids: Vec<_> = world.source.world(|w| w.live_ids().take(9).collect());
    world.source.world(|w| {
        assert!(ids[..6].iter().all(|id| w.update(*id)));
        assert!(ids[6..].iter().all(|id| w.remove(*id)));
        w.add();
    });
    daemon
        .until("/api/status", |_, body| {
            let status: Value = serde_json::from_str(body).unwrap();
            let total = &status["since_start"];
            total["updated"] == 6 && total["deleted"] == 3
        })
        .await;
    world.assert_database_equals_source().await;
    assert!(world.watermark().await.unwrap() > first);
    daemon.signal("-TERM");
    assert!(daemon.ended_within(Duration::from_secs(10)).await.success());
}

#[tokio::test]
async fn daemon_reports_its_state_over_http() {
    let world = World::with(Options {
        candidates: 120,
        rate_per_minute: Some(100_000),
        ..Options::default()
    })
    .await;
    let daemon = Process::run(&world, &[ONCE]);
    daemon.until_synced().await;
    assert_eq!(daemon.get("/livez").await.unwrap().0, 200);
    assert_eq!(daemon.get("/readyz").await, Some((200, "ready\n".into())));
    assert_eq!(daemon.get("/nowhere").await.unwrap().0, 404);
    let metrics = daemon
        .until("/metrics", |_, body| {
            body.contains("cvsync_last_success_timestamp_seconds{job=\"sync\"}")
        })
        .await;
    for name in [
        "cvsync_watermark_timestamp_seconds{stream=\"kandidaten\"}",
        "cvsync_source_lag_seconds{stream=\"kandidaten\"}",
        "cvsync_windows_total{outcome=\"settled\"}",
        "cvsync_stored{state=\"live\"}",
        "cvsync_source_clock_offset_seconds",
        "db_client_operation_duration_seconds_count{db_operation_name=\"trying to lead\",db_system_name=\"postgresql\"}",
        // VDAB's word, not ours.
        "cvsync_quota_limit{operation=\"detail\"} 100000",
        "http_client_request_duration_seconds_count",
        "http_server_request_duration_seconds_count",
    ] {
        assert!(metrics.contains(name), "{name} is missing from\n{metrics}");
    }
    assert!(!metrics.contains("housekeeping"), "that is no job");
    let status: Value = serde_json::from_str(&daemon.get("/api/status").await.unwrap().1).unwrap();
    assert_eq!(status["phase"], "leading");
    daemon
        .until_status(|status| status["since_start"]["listed"].as_i64() >= Some(120))
        .await;
    assert!(status["lag_seconds"].as_i64().unwrap() < 120, "{status}");
    for line in daemon.log().lines() {
        let line: Value = serde_json::from_str(line).expect("JSON off a terminal");
        assert!(line["timestamp"].is_string());
    }
}

#[tokio::test]
async fn listed_ids_are_all_accounted_for_in_the_metrics() {
    let world = World::new(300).await;
    world.source.rule(world.any_live_id(), Fault::Http500);
    // A second listing would be half counted by the time of the look.
    let daemon = Process::run(&world, &[ONCE, ("CVSYNC_RELIST", "off")]);
    daemon.until_synced().await;
    let metrics = daemon.get("/metrics").await.unwrap().1;
    let sum = |name: &str| -> f64 {
        let values = metrics.lines().filter(|line| line.starts_with(name));
        values
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
            .sum()
    };
    // Neighbouring windows overlap, so a CV at an edge is listed in both.
    let listed = sum("cvsync_listed_total{");
    assert!(listed > 299.5, "{listed}");
    assert!((sum("cvsync_records_total{") - listed).abs() < 0.5);
    assert!((sum("cvsync_records_total{result=\"parked\"}") - 1.0).abs() < 0.5);
}

#[tokio::test]
async fn new_fields_of_vdab_are_stored_counted_and_named() {
    let world = World::new(0).await;
    world.source.world(|w| {
        for number in 0..25 {
            let (id, at) = (Uuid::new_v4(), w.now() - TimeDelta::days(1));
            // A name on a single CV may be that of a person.
            let (field, status) = match number {
                0 => (r#""familiejanssens":1,"#, "JANSSENS"),
                _ => ("", "GEPAUZEERD"),
            };
            let document = format!(r#"{{"cvId":"{id}","status":"{status}",{field}"loon":{{"Jan Janssens":1}},"ervaringen":"geen"}}"#);
            w.put(id, document, at);
        }
    });
    let daemon = Process::run(&world, &[]);
    daemon.until_synced().await;
    world.assert_database_equals_source().await;
    let status = daemon.get("/api/status").await.unwrap().1;
    let status: Value = serde_json::from_str(&status).unwrap();
    let mut drift = status["schema_drift"].clone();
    for kind in ["new_field", "new_status"] {
        // The name of the single CV, if that was fetched after the others were counted.
        let names = drift[kind].as_array_mut().unwrap();
        names.retain(|name| *name != "?");
    }
    let expected =
        json!({"new_field": ["loon"], "new_status": ["GEPAUZEERD"], "type": ["ervaringen"]});
    assert_eq!(drift, expected);
    let metrics = daemon.get("/metrics").await.unwrap().1;
    assert!(metrics.contains("cvsync_schema_drift{kind=\"type\"} 1"));
    assert!(!daemon.log().to_lowercase().contains("janssens"));
    let page = daemon.get("/").await.unwrap().1;
    assert!(page.contains("<code>loon</code>"));
    assert!(!(page + &metrics + &daemon.log()).contains("Janssens"));
}

#[tokio::test]
async fn each_sync_that_came_to_its_end_is_told_to_the_dead_mans_switch() {
    let world = World::new(20).await;
    let pings = Arc::new(AtomicU64::new(0));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/canary-uuid", listener.local_addr().unwrap());
    let router = axum::Router::new().route(
        "/canary-uuid",
        axum::routing::get({
            let pings = Arc::clone(&pings);
            move || async move {
                pings.fetch_add(1, Ordering::Relaxed);
                axum::http::StatusCode::SERVICE_UNAVAILABLE
            }
        }),
    );
    let receiver = tokio::spawn(async move { axum::serve(listener, router).await });
    let daemon = Process::run(&world, &[OFTEN, ("CVSYNC_PING_URL", &url)]);
    while pings.load(Ordering::Relaxed) < 2 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Neither a receiver that refuses nor one that is gone stops anything.
    receiver.abort();
    let now = world.source.calls(Operation::Bulk);
    while world.source.calls(Operation::Bulk) < now + 3 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(daemon.log().contains("CVSYNC_PING_URL"));
    assert!(!daemon.log().contains("canary-uuid"));
}

#[tokio::test]
async fn a_wrong_key_turns_readiness_red_and_says_what_to_do() {
    let world = World::new(50).await;
    let daemon = Process::run(&world, &[OFTEN, ("CVSYNC_API_KEY", "wrong-canary")]);
    let body = daemon
        .until("/readyz", |status, body| {
            status == 503 && body.contains("CVSYNC_API_KEY")
        })
        .await;
    assert!(body.contains("error class key_refused"), "{body}");
    assert_eq!(daemon.get("/livez").await.unwrap().0, 200);
    let closed_for_3_s = |line: &str| {
        let (name, seconds) = line.rsplit_once(' ').unwrap_or_default();
        name.starts_with("cvsync_gate_closed_seconds_total{")
            && name.contains("reason=\"auth\"")
            && seconds.parse::<f64>().is_ok_and(|seconds| seconds >= 3.0)
    };
    daemon
        .until("/metrics", |_, body| body.lines().any(closed_for_3_s))
        .await;
    let calls = world.bulk_calls() + world.detail_calls();
    assert!(calls <= 2, "{calls} calls with a refused key");
    assert_eq!(world.documents().await.len(), 0);
    assert!(!daemon.log().contains("wrong-canary"));
}

#[tokio::test]
async fn a_key_that_is_renewed_in_its_file_is_taken_up() {
    let world = World::new(50).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "expired-key").unwrap();
    let path = file.to_str().unwrap();
    let daemon = Process::run(
        &world,
        &[OFTEN, ("CVSYNC_API_KEY", ""), ("CVSYNC_API_KEY_FILE", path)],
    );
    daemon
        .until("/readyz", |status, body| {
            status == 503 && body.contains("CVSYNC_API_KEY")
        })
        .await;
    std::fs::write(&file, "test-key\n").unwrap();
    daemon.until_synced().await;
    assert_eq!(daemon.get("/readyz").await.unwrap().0, 200);
    world.assert_database_equals_source().await;
}

#[tokio::test]
async fn a_database_that_is_down_at_start_is_waited_for() {
    let world = World::new(60).await;
    let nobody = format!("postgres://u:canary-secret@{}/x", free_address());
    let mut daemon = Process::run(&world, &[("CVSYNC_DATABASE_URL", &nobody)]);
    daemon
        .until("/readyz", |status, body| {
            status == 503 && body.contains("error class passing")
        })
        .await;
    assert_eq!(daemon.get("/livez").await.unwrap().0, 200);
    assert_eq!(
        world.bulk_calls(),
        0,
        "nothing is fetched that cannot be kept"
    );
    daemon.signal("-INT");
    assert!(daemon.ended_within(Duration::from_secs(10)).await.success());
    assert!(!daemon.log().contains("canary-secret"));
}

#[tokio::test]
async fn daemon_stops_in_time_whatever_it_does() {
    // In the middle of a sync, while every answer stalls, while the source is closed, and idle.
    let slow = Fault::Slow(Duration::from_millis(50));
    for fault in [
        Some(slow),
        Some(Fault::Stall),
        Some(Fault::Http503 {
            retry_after: Some("600".into()),
        }),
        None,
    ] {
        let world = World::new(300).await;
        let idle = fault.is_none();
        if let Some(fault) = fault.clone() {
            world.source.rule(Operation::Detail, fault);
        }
        let mut daemon = Process::run(&world, &[]);
        if idle {
            daemon.until_synced().await;
        } else {
            daemon.until("/livez", |status, _| status == 200).await;
            while world.detail_calls() < 1 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        daemon.signal("-TERM");
        let begun = Instant::now();
        let status = daemon.ended_within(Duration::from_secs(10)).await;
        assert!(status.success(), "{fault:?}: {status}\n{}", daemon.log());
        println!("{fault:?}: {:?}", begun.elapsed());
        world.source.clear_faults();
        world.sync().await;
        world.assert_database_equals_source().await;
    }
}

#[tokio::test]
async fn a_second_signal_stops_at_once() {
    let world = World::new(500).await;
    world.source.rule(Operation::Detail, Fault::Stall);
    let mut daemon = Process::run(&world, &[]);
    while world.detail_calls() < 1 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    daemon.signal("-TERM");
    while !daemon.log().contains("stopping: ") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    daemon.signal("-TERM");
    let status = daemon.ended_within(Duration::from_secs(5)).await;
    assert_eq!(status.code(), Some(1));
}

#[tokio::test]
async fn killed_and_started_again_it_goes_on_where_it_was() {
    let world = World::new(3_000).await;
    for round in 1..=3 {
        let daemon = Process::run(&world, &[]);
        while world.detail_calls() < round * 700 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        daemon.kill().await;
    }
    let daemon = Process::run(&world, &[]);
    daemon.until_synced().await;
    world.assert_database_equals_source().await;
    let live = world.documents().await.len() as u64;
    let repeated = world.detail_calls() - live;
    assert!(repeated < 3 * 700, "{repeated} of {live} fetched again");
}

#[tokio::test]
async fn an_address_that_is_taken_is_said_so() {
    let world = World::new(1).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut env = world.environment();
    env.push(("CVSYNC_HTTP_ADDR", address.clone()));
    let env = env.iter().map(|(n, v)| (*n, v.as_str()));
    let (code, _, stderr) = output(&["run"], env).await;
    assert_eq!(code, Some(1));
    assert!(
        stderr.contains(&address) && stderr.contains("CVSYNC_HTTP_ADDR"),
        "{stderr}"
    );
}

#[tokio::test]
async fn the_container_s_health_check_asks_the_daemon() {
    let world = World::new(1).await;
    let address = free_address();
    let env = [("CVSYNC_HTTP_ADDR", address.as_str())];
    let (code, _, stderr) = output(&["healthcheck"], env).await;
    assert_eq!(code, Some(1), "{stderr}");
    let daemon = Process::run(&world, &env);
    assert_eq!(
        daemon.get("/livez").await,
        None,
        "it listens where the variable says"
    );
    for _ in 0..100 {
        if output(&["healthcheck"], env).await.0 == Some(0) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{}", daemon.log());
}

#[tokio::test]
async fn health_check_finds_a_daemon_that_listens_on_ipv4_only_or_not_at_all() {
    let world = World::new(1).await;
    let address = free_address();
    let _daemon = Process::run(&world, &[("CVSYNC_HTTP_ADDR", &address)]);
    // As in a container without IPv6: nothing answers at ::1.
    let port = address.rsplit(':').next().unwrap();
    let everywhere = format!("[::]:{port}");
    until("the health check succeeds", async || {
        let env = [("CVSYNC_HTTP_ADDR", everywhere.as_str())];
        output(&["healthcheck"], env).await.0 == Some(0)
    })
    .await;
    let off = [("CVSYNC_HTTP_ADDR", "off")];
    let (code, stdout, stderr) = output(&["healthcheck"], off).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("off"), "{stdout}");
}

/// More than there are seats for connections.
const CROWD: usize = 250;

async fn crowd(address: &str, says: &[&[u8]]) -> Vec<TcpStream> {
    let mut crowd = Vec::new();
    for (number, says) in (0..CROWD).zip(says.iter().cycle()) {
        let mut client = TcpStream::connect(address)
            .await
            .unwrap_or_else(|error| panic!("client {number}: {error}"));
        let _ = client.write_all(says).await;
        crowd.push(client);
    }
    crowd
}

async fn assert_health_answers(daemon: &Process) {
    for path in ["/livez", "/readyz"] {
        let asked = daemon.get(path);
        let answer = tokio::time::timeout(Duration::from_secs(5), asked).await;
        assert_eq!(answer.expect(path).expect(path).0, 200, "{path}");
    }
}

#[tokio::test]
async fn health_answers_while_silent_and_slow_clients_take_all_connections() {
    let world = World::new(0).await;
    let daemon = Process::run(&world, &[("CVSYNC_ADMIN_TOKEN", "sesame")]);
    daemon.until("/readyz", |status, _| status == 200).await;
    let silent = crowd(
        daemon.address(),
        &[
            b"",
            b"GET /livez HTT",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n",
        ],
    )
    .await;
    assert_health_answers(&daemon).await;
    let slow = crowd(
        daemon.address(),
        &[b"POST /api/pause HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer sesame\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"],
    )
    .await;
    assert_health_answers(&daemon).await;
    drop((silent, slow));
    daemon.until("/", |status, _| status == 200).await;
    daemon.kill().await;
}

/// Checks metrics with Prometheus' own tool. Returns its complaints, or `None` where it is not installed.
fn lint(metrics: &str) -> Option<String> {
    let spawned = std::process::Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut promtool = match spawned {
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        spawned => spawned.unwrap(),
    };
    let mut stdin = promtool.stdin.take().unwrap();
    stdin.write_all(metrics.as_bytes()).unwrap();
    drop(stdin);
    let done = promtool.wait_with_output().unwrap();
    let found = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
    Some(found.into_owned())
}

#[tokio::test]
async fn promtool_finds_nothing_in_the_metrics_and_the_old_name_of_the_confirmed_age_is_kept() {
    let world = World::new(40).await;
    world.source.rule(world.any_live_id(), Fault::Http500);
    let daemon = Process::run(&world, &[]);
    daemon.until_synced().await;
    let metrics = daemon
        .until("/metrics", |_, text| {
            text.contains("cvsync_confirmed_age_seconds{share=\"0.5\"}")
                && text.contains("cvsync_parked{error_class=")
        })
        .await;
    for old in [
        "cvsync_verified_age_seconds{quantile=\"0.5\"} ",
        "cvsync_verified_age_seconds{quantile=\"0.99\"} ",
        "cvsync_verified_age_seconds{quantile=\"1\"} ",
    ] {
        assert!(metrics.contains(old), "{metrics}");
    }
    match lint(&metrics) {
        Some(found) => assert_eq!(found, ""),
        None => println!("promtool is not installed: ./test fetches it"),
    }
}
