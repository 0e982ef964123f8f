//! Two instances: one leads, the other takes over, and what a paused leader still wants to write is refused.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use cvsync::model::{Brake, CvId, Document, Fate, Outcome, When};
use cvsync::simulator::{Fault, Operation};
use cvsync::store::StoreError;
use cvsync::store::lease::{self, Tenure};
use cvsync::store::pause::{self, Begun};
use serde_json::Value;
use sqlx::{Connection, PgConnection};
use tokio::process::Command;
use uuid::Uuid;

use crate::process::{Process, free_address, output};
use crate::running::until;
use crate::world::{World, new_database, store, transaction};

const OFTEN: (&str, &str) = ("CVSYNC_SCHEDULE", "* * * * * *");
const AT_ONCE: (&str, &str) = ("CVSYNC_SETTLE_LAG", "1s");
const BOTH: &[(&str, &str)] = &[OFTEN, AT_ONCE];

/// Waits until the leader has renewed its lease for this many seconds.
async fn until_renewed_for(world: &World, seconds: i64) {
    let expires_at = "select expires_at from cvsync.lease";
    let read = async || -> DateTime<Utc> {
        let row = sqlx::query_scalar(expires_at).fetch_one(&world.database);
        row.await.unwrap()
    };
    let wanted = read().await + TimeDelta::seconds(seconds);
    until("the lease is renewed", async || read().await >= wanted).await;
}

async fn until_leading(daemon: &Process) {
    daemon
        .until("/api/status", |_, body| {
            let status: Value = serde_json::from_str(body).unwrap();
            status["phase"] == "leading"
        })
        .await;
}

async fn until_standing_by(daemon: &Process) {
    daemon
        .until("/readyz", |status, body| {
            status == 200 && body.contains("leads")
        })
        .await;
}

#[tokio::test]
async fn one_leads_the_other_stands_by_and_calls_nothing() {
    let world = World::new(50).await;
    let first = Process::run(&world, BOTH);
    until_leading(&first).await;
    let second = Process::run(&world, BOTH);
    until_standing_by(&second).await;
    first.until_synced().await;
    // It reads the database every few seconds.
    let status = second
        .until("/api/status", |_, body| body.contains(r#""light":"green""#))
        .await;
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["phase"], "standby");
    assert!(status["last_run"].is_null());
    let metrics = second.get("/metrics").await.unwrap().1;
    assert!(metrics.contains("cvsync_leader 0"), "{metrics}");
    let lag = "cvsync_source_lag_seconds";
    assert!(!metrics.contains(lag), "it does not hear VDAB's time");
    let metrics = first.get("/metrics").await.unwrap().1;
    assert!(metrics.contains("cvsync_leader 1"), "{metrics}");
    assert!(metrics.contains(lag), "{metrics}");
}

#[tokio::test]
async fn a_clean_stop_hands_over_at_once() {
    let world = World::new(50).await;
    let mut first = Process::run(&world, BOTH);
    until_leading(&first).await;
    let second = Process::run(&world, BOTH);
    until_standing_by(&second).await;
    first.until_synced().await;
    first.signal("-TERM");
    assert!(first.ended_within(Duration::from_secs(10)).await.success());
    let stopped = Instant::now();
    until_leading(&second).await;
    // A lease that was not given up would run for ten seconds.
    assert!(
        stopped.elapsed() < Duration::from_secs(8),
        "{:?}",
        stopped.elapsed()
    );
    let id = world.any_live_id();
    world.source.world(|w| w.update(id));
    second
        .until("/api/status", |_, body| body.contains(r#""updated":1"#))
        .await;
    world.assert_database_equals_source().await;
}

#[tokio::test]
async fn hangup_ends_the_daemon_and_gives_the_lease_back() {
    let world = World::new(50).await;
    let mut daemon = Process::run(&world, BOTH);
    until_leading(&daemon).await;
    daemon.signal("-HUP");
    let ended = daemon.ended_within(Duration::from_secs(10)).await;
    assert_eq!(ended.code(), Some(0), "{}", daemon.log());
    let held = "select count(*) from cvsync.lease where expires_at > clock_timestamp()";
    assert_eq!(world.count(held).await, 0);
}

#[tokio::test]
async fn hangup_ends_a_command_cleanly() {
    let world = World::new(500).await;
    let slow = Fault::Slow(Duration::from_millis(20));
    world.source.rule(Operation::Detail, slow);
    let mut sync = Process::start(&world, &["sync"], &[]);
    until("it fetches", async || world.detail_calls() > 0).await;
    sync.signal("-HUP");
    let ended = sync.ended_within(Duration::from_secs(10)).await;
    // Its work is kept, and the exit code says that it is not complete.
    assert_eq!(ended.code(), Some(1), "{}", sync.log());
    assert!(
        sync.log().to_lowercase().contains("interrupted"),
        "{}",
        sync.log()
    );
}

#[tokio::test]
async fn hangup_is_ignored_under_nohup() {
    let world = World::new(1).await;
    let address = free_address();
    let mut command = Command::new("sh");
    let ignoring = "trap '' HUP; exec \"$0\" run";
    command.args(["-c", ignoring, env!("CARGO_BIN_EXE_cvsync")]);
    command.env_clear().envs(world.environment());
    command.env("CVSYNC_HTTP_ADDR", &address).kill_on_drop(true);
    let mut daemon = Process::spawn(command, address);
    until_leading(&daemon).await;
    daemon.signal("-HUP");
    daemon.signal("-TERM");
    assert!(daemon.ended_within(Duration::from_secs(10)).await.success());
    assert!(!daemon.log().contains("twice"), "{}", daemon.log());
}

#[tokio::test]
async fn a_leader_that_dies_is_replaced_within_15_seconds() {
    let world = World::new(50).await;
    let first = Process::run(&world, BOTH);
    until_leading(&first).await;
    let second = Process::run(&world, BOTH);
    until_standing_by(&second).await;
    let died = Instant::now();
    first.kill().await;
    let (mut late, tick) = (Duration::ZERO, Duration::from_millis(50));
    // The daemon may be late by the time for which this machine stalls.
    let stands_still = async {
        loop {
            let begun = Instant::now();
            tokio::time::sleep(tick).await;
            late += begun.elapsed().saturating_sub(tick);
        }
    };
    tokio::select! {
        () = until_leading(&second) => {}
        () = stands_still => unreachable!("it goes on and on"),
    }
    let took = died.elapsed();
    assert!(took < Duration::from_secs(15) + late, "{took:?}, {late:?}");
}

#[tokio::test]
async fn a_paused_leader_that_wakes_steps_down() {
    let world = World::new(50).await;
    let first = Process::run(&world, BOTH);
    until_leading(&first).await;
    first.until_synced().await;
    let second = Process::run(&world, BOTH);
    until_standing_by(&second).await;
    first.signal("-STOP");
    until_leading(&second).await;
    let id = world.any_live_id();
    world.source.world(|w| w.update(id));
    second
        .until("/api/status", |_, body| body.contains(r#""updated":1"#))
        .await;
    first.signal("-CONT");
    until_standing_by(&first).await;
    world.assert_database_equals_source().await;
    let epoch = "select epoch from cvsync.lease";
    assert_eq!(world.count(epoch).await, 2);
}

#[tokio::test]
async fn a_stale_epoch_writes_nothing_and_a_takeover_waits_for_what_is_being_written() {
    let world = World::new(0).await;
    let (old, new) = (store(world.url()), store(world.url()));
    let take = |store: cvsync::store::Store, name: &'static str| async move {
        let take = async |tx: &mut PgConnection| lease::take(tx, name).await;
        store.bookkeeping().write("a test", take).await.unwrap()
    };
    let held = take(old.clone(), "old").await.unwrap();
    old.lead(held.clone());
    assert_eq!(take(new.clone(), "new").await, None, "it is held");
    let id = CvId(Uuid::from_u128(1));
    let body = format!(r#"{{"cvId":"{id}"}}"#);
    let document = Document::read(body.as_bytes(), &[]).unwrap().1;
    let outcome = [Outcome {
        window: None,
        as_of: world.source_clock.now(),
        fate: Fate::Live(id, document),
    }];
    let mut writing = transaction(world.url()).await.unwrap();
    lease::hold(&mut writing, &held).await.unwrap();
    let renew = async |tx: &mut PgConnection| lease::renew(tx, &held).await;
    let renewing = old.bookkeeping().within(Duration::from_secs(15));
    let renewed = renewing.write("a test", renew).await;
    assert_eq!(
        renewed,
        Ok(Tenure::Kept),
        "its own write does not hold it up"
    );
    sqlx::query("update cvsync.lease set expires_at = now() - interval '1 s'")
        .execute(&world.database)
        .await
        .unwrap();
    tokio::time::timeout(Duration::from_millis(300), take(new.clone(), "new"))
        .await
        .expect_err("a transaction of the leader holds the lease");
    writing.commit().await.unwrap();
    let next = take(new.clone(), "new").await.unwrap();
    assert_eq!(next.epoch, held.epoch + 1);
    let refused = old
        .apply(&outcome, Brake::on(0.2), chrono::DateTime::UNIX_EPOCH)
        .await
        .unwrap_err();
    assert_eq!(refused, StoreError::Fenced);
    assert_eq!(world.documents().await.len(), 0);
    new.lead(next);
    new.apply(&outcome, Brake::on(0.2), chrono::DateTime::UNIX_EPOCH)
        .await
        .unwrap();
}

/// The rows are changed here as a failover or a restore changes them; tests/it/failover.rs has real ones.
#[tokio::test]
async fn leader_notices_commits_that_the_database_no_longer_has() {
    let world = World::new(0).await;
    let leader = store(world.url());
    let take = async |tx: &mut PgConnection| lease::take(tx, "leader").await;
    let taken = leader.bookkeeping().write("a test", take).await.unwrap();
    leader.lead(taken.unwrap());
    let write = async || leader.write("a test", async |_| Ok(())).await;
    let change = async |sql: String| {
        let changed = sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .execute(&world.database)
            .await;
        changed.unwrap();
    };
    let written = "select writes from cvsync.lease";
    for writes in 1..=3 {
        write().await.unwrap();
        assert_eq!(world.count(written).await, writes);
    }
    for (lost, restored) in [
        ("writes = writes - 1", "writes = writes + 1"),
        ("home = 'another'", "home = cvsync.home()"),
        (
            "epoch = epoch - 1, holder = 'old'",
            "epoch = epoch + 1, holder = 'leader'",
        ),
        ("holder = 'another'", "holder = 'leader'"),
    ] {
        change(format!("update cvsync.lease set {lost}")).await;
        assert_eq!(write().await, Err(StoreError::HistoryLost), "{lost}");
        change(format!("update cvsync.lease set {restored}")).await;
        assert_eq!(write().await, Ok(()), "{restored}");
    }
    change("update cvsync.lease set epoch = epoch + 1".to_owned()).await;
    assert_eq!(write().await, Err(StoreError::Fenced));
}

/// As for a `create index` by hand.
#[tokio::test]
async fn a_write_that_has_to_wait_does_not_cost_the_lease() {
    let world = World::new(100).await;
    let daemon = Process::run(&world, BOTH);
    daemon.until_synced().await;
    let mut by_hand = PgConnection::connect(world.url()).await.unwrap();
    sqlx::raw_sql("begin; lock table cvsync.cv in share mode")
        .execute(&mut by_hand)
        .await
        .unwrap();
    world.source.world(cvsync::simulator::World::add);
    let waits = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    until("a write waits", async || world.count(waits).await > 0).await;
    // A lease that is not renewed runs out after ten seconds.
    until_renewed_for(&world, 14).await;
    by_hand.close().await.unwrap();
    until("it is written", async || {
        world.rows("cv").await as usize == world.live()
    })
    .await;
    assert_eq!(world.count("select epoch from cvsync.lease").await, 1);
    assert!(!daemon.log().contains("stepping down"), "{}", daemon.log());
}

#[tokio::test]
async fn a_pause_ends_in_the_future_and_replaces_another_only_when_asked_to() {
    let url = new_database().await;
    let env = [("CVSYNC_DATABASE_URL", url.as_str())];
    assert_eq!(output(&["migrate"], env).await.0, Some(0));
    let run = async |args: &[&str]| {
        let args: Vec<&str> = ["pause"].iter().chain(args).copied().collect();
        output(&args, env).await
    };
    for past in [
        "2020-01-01T00:00:00Z",
        "2020-01-01T00:00:00.123456789-11:30",
        "+001970-01-01T00:00:00z",
    ] {
        let (code, stdout, stderr) = run(&["--until", past, "--replace"]).await;
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{past}: {stderr}");
        assert!(
            stderr.contains("must be later than the database's time"),
            "{stderr}"
        );
    }
    for odd in [
        "now",
        "-2h",
        "2h30m",
        "10001d",
        "tomorrow",
        "2031-01-01T00:00:00",
        "2031-01-01T00:00:00+25:00",
        "infinity",
        "",
    ] {
        let (code, _, stderr) = run(&["--until", odd]).await;
        assert_eq!(code, Some(2), "{odd}: {stderr}");
        assert!(
            stderr.contains("must be a time with its zone, such as"),
            "{stderr}"
        );
    }
    // It is the database's clock that counts, to the last moment.
    let mut tx = transaction(&url).await.unwrap();
    let now: DateTime<Utc> = sqlx::query_scalar("select now()")
        .fetch_one(&mut *tx)
        .await
        .unwrap();
    let begun = pause::begin(&mut tx, "now", Some(When::At(now)), "here", false)
        .await
        .unwrap();
    assert!(matches!(begun, Begun::NoEnd(_)), "{begun:?}");
    let none = pause::current(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(none, None);
    let (code, stdout, stderr) =
        run(&["--until", "2031-01-01T01:00:00+01:00", "--reason", "a"]).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        stdout.contains("Paused until 2031-01-01T00:00:00"),
        "{stdout}"
    );
    // The same again changes nothing either.
    for again in [
        &["--reason", "b"][..],
        &["--until", "2031-01-01T00:00:00Z", "--reason", "a"],
    ] {
        let (code, _, stderr) = run(again).await;
        assert_eq!(code, Some(2), "{stderr}");
        for said in [
            "already paused since",
            "until 2031-01-01T00:00:00",
            "(reason: a)",
            "--replace",
        ] {
            assert!(stderr.contains(said), "{stderr}");
        }
    }
    let (_, status, _) = output(&["status"], env).await;
    assert!(
        status.starts_with("Paused until 2031-01-01T00:00:00Z: a.\n"),
        "{status}"
    );
    let (code, stdout, stderr) = run(&["--replace", "--reason", "b"]).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        stdout.starts_with("Paused until `cvsync resume` (reason: b)."),
        "{stdout}"
    );
    // A duration counts from the database's time.
    let (code, _, stderr) = run(&["--until", "2h", "--replace"]).await;
    assert_eq!(code, Some(0), "{stderr}");
    let mut tx = transaction(&url).await.unwrap();
    let lasts: bool =
        sqlx::query_scalar("select until = since + interval '2 hours' from cvsync.pause")
            .fetch_one(&mut *tx)
            .await
            .unwrap();
    tx.commit().await.unwrap();
    assert!(lasts);
    // A pause that has ended does not matter.
    let mut tx = transaction(&url).await.unwrap();
    let ended = "update cvsync.pause set until = now() - interval '1 second'";
    sqlx::raw_sql(ended).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    let (code, stdout, stderr) = run(&["--reason", "c"]).await;
    assert_eq!(code, Some(0), "{stdout}{stderr}");
}

#[tokio::test]
async fn a_pause_holds_for_all_instances_and_is_seen() {
    let world = World::new(50).await;
    let daemon = Process::run(&world, BOTH);
    daemon.until_synced().await;
    let env = world.environment();
    let env = || env.iter().map(|(n, v)| (*n, v.as_str()));
    let (code, _, stderr) = output(&["pause", "--reason", "maintenance of the house"], env()).await;
    assert_eq!(code, Some(0), "{stderr}");
    daemon
        .until("/readyz", |status, body| {
            status == 200 && body.contains("maintenance of the house")
        })
        .await;
    let id = world.any_live_id();
    world.source.world(|w| w.update(id));
    let calls = world.bulk_calls();
    until_renewed_for(&world, 3).await;
    assert_eq!(world.bulk_calls(), calls);
    let (code, stdout, _) = output(&["status"], env()).await;
    assert_eq!(code, Some(1), "{stdout}");
    assert!(stdout.contains("maintenance of the house"), "{stdout}");
    output(&["resume"], env()).await;
    daemon
        .until("/api/status", |_, body| body.contains(r#""updated":1"#))
        .await;
    let (code, stdout, stderr) = output(&["status"], env()).await;
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert!(stdout.starts_with("In step"), "{stdout}");
}
