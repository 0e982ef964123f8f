//! The other commands: what they print, and with which code they exit.

use std::process::Stdio;
use std::time::Duration;

use cvsync::simulator::{Fault, Operation};
use serde_json::Value;

use crate::process::{Process, cvsync, free_address, output};
use crate::running::until;
use crate::world::{World, new_database};

fn pairs<'a>(env: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    env.iter().map(|(n, v)| (*n, v.as_str())).collect()
}

#[tokio::test]
async fn all_that_is_wrong_with_the_configuration_is_said_at_once() {
    let env = [
        ("CVSYNC_WORKERS", "many"),
        ("CVSYNC_WNDOW", "5d"),
        ("CVSYNC_API_BASE_URL", "http://api.vdab.be"),
    ];
    for command in ["run", "sync", "check"] {
        let (code, stdout, stderr) = output(&[command], env).await;
        assert_eq!(code, Some(2), "{stderr}");
        assert_eq!(stdout, "");
        for said in [
            "CVSYNC_API_KEY",
            "CVSYNC_DATABASE_URL",
            "CVSYNC_WORKERS",
            "CVSYNC_WINDOW",
            "CVSYNC_API_BASE_URL",
        ] {
            assert!(stderr.contains(said), "{said} is missing from {stderr}");
        }
    }
}

#[tokio::test]
async fn wrong_use_exits_with_2_and_help_with_0() {
    assert_eq!(output(&["fly"], []).await.0, Some(2));
    assert_eq!(output(&["sync", "--fly"], []).await.0, Some(2));
    for command in [
        "run",
        "backfill",
        "resync",
        "reconcile",
        "verify",
        "status",
        "clients",
        "suppressed",
        "explain",
        "search",
        "reference",
        "export",
        "pause",
        "rewind",
        "sync",
        "migrate",
        "check",
        "conformance",
        "config",
        "simulate",
        "demo",
        "healthcheck",
        "completions",
    ] {
        let (code, help, _) = output(&[command, "--help"], []).await;
        assert_eq!(code, Some(0));
        assert!(help.len() > 150, "{command}: {help}");
    }
}

#[tokio::test]
async fn a_sync_prints_what_it_did() {
    let world = World::new(90).await;
    let env = world.environment();
    let (code, stdout, stderr) = output(&["sync", "--json"], pairs(&env)).await;
    assert_eq!(code, Some(0), "{stderr}");
    let summary: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(summary["listed"], 90);
    world.assert_database_equals_source().await;
    let (code, stdout, _) = output(&["sync"], pairs(&env)).await;
    assert_eq!(code, Some(0));
    assert!(stdout.contains("0 inserted, 0 updated, "), "{stdout}");
}

#[tokio::test]
async fn a_sync_makes_the_schema_where_there_is_none() {
    let world = World::new(10).await;
    let fresh = new_database().await;
    let mut env = world.environment();
    env.retain(|(name, _)| *name != "CVSYNC_DATABASE_URL");
    env.push(("CVSYNC_DATABASE_URL", fresh.clone()));
    let (code, stdout, stderr) = output(&["check"], pairs(&env)).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        stdout.contains("without cvsync's schema as yet"),
        "{stdout}"
    );
    assert_eq!(output(&["sync"], pairs(&env)).await.0, Some(0));
    let (_, stdout, _) = output(&["check"], pairs(&env)).await;
    assert!(stdout.contains("with cvsync's schema"), "{stdout}");
    let only = [("CVSYNC_DATABASE_URL", fresh.as_str())];
    let (code, _, stderr) = output(&["migrate"], only).await;
    assert_eq!(code, Some(0), "{stderr}");
}

#[tokio::test]
async fn a_refused_key_ends_a_sync_with_1_and_a_reason() {
    let world = World::new(10).await;
    let mut env = world.environment();
    env.retain(|(name, _)| *name != "CVSYNC_API_KEY");
    env.push(("CVSYNC_API_KEY", "canary-key".into()));
    let (code, stdout, stderr) = output(&["sync"], pairs(&env)).await;
    assert_eq!(code, Some(1));
    assert_eq!(stdout, "");
    assert!(stderr.contains("check CVSYNC_API_KEY"), "{stderr}");
    let (code, stdout, stderr) = output(&["check"], pairs(&env)).await;
    assert_eq!(code, Some(1));
    assert!(stdout.contains("FAILED  api"), "{stdout}");
    for text in [stdout, stderr] {
        assert!(!text.contains("canary-key"));
    }
}

#[tokio::test]
async fn a_check_names_each_thing_that_is_not_in_place() {
    let (nobody, source) = (free_address(), free_address());
    let url = format!("postgres://u:canary@{nobody}/x");
    let base = format!("http://{source}/v1");
    let env = [
        ("CVSYNC_API_KEY", "k"),
        ("CVSYNC_DATABASE_URL", url.as_str()),
        ("CVSYNC_API_BASE_URL", base.as_str()),
    ];
    let (code, stdout, _) = output(&["check", "--json"], env).await;
    assert_eq!(code, Some(1));
    let lines: Vec<Value> = serde_json::from_str(&stdout).unwrap();
    let verdicts: Vec<_> = lines
        .iter()
        .map(|line| {
            (
                line["check"].as_str().unwrap(),
                line["ok"].as_bool().unwrap(),
            )
        })
        .collect();
    let expected = [
        ("configuration", true),
        ("database", false),
        ("api", false),
        ("clock", false),
    ];
    assert_eq!(verdicts, expected);
    assert!(!stdout.contains("canary"));
}

#[tokio::test]
async fn the_configuration_is_shown_without_its_secrets() {
    let env = [
        ("CVSYNC_API_KEY", "canary-key"),
        ("CVSYNC_DATABASE_URL", "postgres://u:canary@db.example/x"),
        ("CVSYNC_WORKERS", "7"),
    ];
    let (code, stdout, stderr) = output(&["config", "show"], env).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(!stdout.contains("canary"), "{stdout}");
    assert!(
        stdout.contains("CVSYNC_WORKERS=7  (environment)"),
        "{stdout}"
    );
    assert!(
        stdout.contains("CVSYNC_PAGE_SIZE=2000  (default)"),
        "{stdout}"
    );
    let (code, stdout, stderr) = output(&["config", "show", "--json"], []).await;
    assert_eq!(code, Some(2), "it shows even what is not valid");
    assert!(serde_json::from_str::<Vec<Value>>(&stdout).unwrap().len() > 20);
    assert!(stderr.contains("CVSYNC_API_KEY"));
}

#[tokio::test]
async fn the_simulator_serves_until_it_is_asked_to_stop() {
    let address = free_address();
    let mut child = cvsync(
        &["simulate", "--listen", &address, "--candidates", "20"],
        [],
    )
    .stdout(Stdio::piped())
    .spawn()
    .unwrap();
    let url = format!("http://{address}/v1/rijbewijzen");
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut answer = None;
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        answer = client
            .get(&url)
            .header("X-IBM-Client-Id", "test-key")
            .send()
            .await
            .ok();
        if answer.is_some() {
            break;
        }
    }
    assert_eq!(answer.unwrap().status(), 200);
    let pid = child.id().unwrap().to_string();
    std::process::Command::new("kill")
        .args(["-TERM", &pid])
        .status()
        .unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(5), child.wait())
        .await
        .unwrap();
    assert!(ended.unwrap().success());
    let (code, _, stderr) = output(&["simulate", "--fault", "typhoon=1"], []).await;
    assert_eq!(code, Some(2), "{stderr}");
}

#[tokio::test]
async fn completions_are_a_script() {
    let (code, stdout, _) = output(&["completions", "bash"], []).await;
    assert_eq!(code, Some(0));
    assert!(stdout.contains("healthcheck"));
}

#[tokio::test]
async fn a_reader_that_went_away_is_no_crash() {
    let mut child = cvsync(
        &["config", "show"],
        [
            ("CVSYNC_API_KEY", "k"),
            ("CVSYNC_DATABASE_URL", "postgres://localhost/x"),
        ],
    )
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn()
    .unwrap();
    drop(child.stdout.take());
    let done = child.wait_with_output().await.unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
}

#[tokio::test]
async fn status_is_watched_until_somebody_has_seen_enough() {
    let world = World::new(20).await;
    world.sync().await;
    let mut status = Process::start(&world, &["status", "--watch", "--json"], &[]);
    while status.log().lines().count() < 2 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    status.signal("-INT");
    let ended = status.ended_within(Duration::from_secs(5)).await;
    assert!(ended.success(), "it is in step: {}", status.log());
    let line = status.log().lines().next().unwrap().to_owned();
    let told: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(told["in_step"], true);
}

/// `status` asks the daemon for facts that only the daemon knows.
#[tokio::test]
async fn status_tells_what_the_daemon_is_at_and_what_is_in_its_way() {
    let world = World::new(600).await;
    let slow = Fault::Slow(Duration::from_millis(200));
    world.source.rule(Operation::Detail, slow);
    let daemon = Process::run(&world, &[]);
    daemon
        .until("/api/status", |_, body| {
            let status: Value = serde_json::from_str(body).unwrap();
            status["run"]["tally"]["inserted"].as_u64() > Some(0)
        })
        .await;
    let beside = [("CVSYNC_HTTP_ADDR", daemon.address())];
    let env = world.environment();
    let mut told = String::new();
    until("it says that the first sync is under way", async || {
        let env = env.iter().map(|(name, value)| (*name, value.as_str()));
        let (code, stdout, stderr) = output(&["status"], env.chain(beside)).await;
        assert_eq!(code, Some(1), "{stdout}{stderr}");
        told = stdout;
        told.starts_with("First sync: ")
    })
    .await;
    assert!(told.contains("\nstate          amber\n"), "{told}");
    assert!(told.contains("\nprogress       "), "{told}");
    assert!(
        told.contains(" CVs, ") && told.contains(" per second"),
        "{told}"
    );
    world.source.clear_faults();
    let down = Fault::Http503 { retry_after: None };
    world.source.rule(Operation::Detail, down);
    daemon
        .until("/api/status", |_, body| {
            body.contains("VDAB is unavailable")
        })
        .await;
    let mut status = Process::start(&world, &["status", "--json"], &beside);
    status.ended_within(Duration::from_secs(30)).await;
    until("it says so", async || {
        status.log().contains("VDAB is unavailable")
    })
    .await;
    let log = status.log();
    let line = log.lines().find(|line| line.starts_with('{')).unwrap();
    let told: Value = serde_json::from_str(line).unwrap();
    assert!(
        told["daemon"]["run"]["expected"].as_u64() > Some(0),
        "{told}"
    );
    assert_eq!(told["daemon"]["quota_per_minute"], 1_000_000, "{told}");
}
