//! Faults of the process itself: killed at any point, out of file descriptors, its output gone, a second process beside it.

use std::io::{PipeReader, PipeWriter, Read, Write};
use std::process::Stdio;
use std::time::Duration;

use cvsync::simulator::{Fault, Operation};
use serde_json::Value;
use tokio::process::{Child, Command};

use crate::process::{Process, cvsync, free_address, output};
use crate::proxy::Trouble;
use crate::running::until;
use crate::world::World;

const OFTEN: (&str, &str) = ("CVSYNC_SCHEDULE", "* * * * * *");
const AT_ONCE: (&str, &str) = ("CVSYNC_SETTLE_LAG", "1s");
const BOTH: &[(&str, &str)] = &[OFTEN, AT_ONCE];

/// Slow enough that there is a middle.
const SLOW: Fault = Fault::Slow(Duration::from_millis(5));

async fn until_whole(world: &World) {
    until("all is stored", async || {
        world.rows("cv").await as usize == world.live()
    })
    .await;
    world.assert_database_equals_source().await;
}

#[tokio::test]
async fn killed_at_any_instant_it_is_whole_in_the_end() {
    let world = World::new(700).await;
    world.source.rule(Operation::Detail, SLOW);
    let mut random = fastrand::Rng::with_seed(11);
    for _ in 0..10 {
        // Not the daemon: its successor would wait for the lease each time.
        let env = world.environment();
        let mut sync = cvsync(&["sync"], env.iter().map(|(n, v)| (*n, v.as_str())));
        let mut sync = sync.stderr(Stdio::null()).spawn().unwrap();
        let (calls, more) = (world.detail_calls(), random.u64(..150));
        until("it has got on", async || {
            sync.try_wait().unwrap().is_some() || world.detail_calls() >= calls + more
        })
        .await;
        tokio::time::sleep(Duration::from_millis(random.u64(..60))).await;
        sync.kill().await.unwrap();
        world.assert_watermark_is_honest().await;
        let id = world.any_live_id();
        world.source.world(|w| assert!(w.update(id)));
    }
    world.source.clear_faults();
    world.settle();
    world.sync().await;
    world.assert_database_equals_source().await;
    let open = "select count(*) from cvsync.sync_window where state = 'open'";
    assert_eq!(world.count(open).await, 0);
}

#[tokio::test]
async fn asked_to_end_while_it_waits_to_try_again_it_ends_at_once() {
    let world = World::new(100).await;
    world.source.rule(Operation::Detail, Fault::Http500);
    let mut daemon = Process::run(&world, &[("CVSYNC_RETRY_MAX_ELAPSED", "10m")]);
    until("the source fails", async || world.detail_calls() >= 10).await;
    daemon.signal("-TERM");
    let status = daemon.ended_within(Duration::from_secs(10)).await;
    assert!(status.success(), "{}", daemon.log());
    assert_eq!(world.rows("parked_cv").await, 0, "an outage parks nothing");
    world.source.clear_faults();
    world.sync().await;
    world.assert_database_equals_source().await;
}

#[tokio::test]
async fn asked_to_end_while_the_database_is_away_it_ends_in_time() {
    let mut world = World::new(900).await;
    let proxy = world.through_proxy("CVSYNC_DATABASE_URL").await;
    world.source.rule(Operation::Detail, SLOW);
    let mut daemon = Process::run(&world, &[]);
    until("it has begun", async || world.detail_calls() >= 100).await;
    proxy.set(Trouble::Down);
    daemon
        .until("/readyz", |status, body| {
            status == 503 && body.contains("error class passing")
        })
        .await;
    daemon.signal("-TERM");
    let status = daemon.ended_within(Duration::from_secs(10)).await;
    assert!(status.success(), "{}", daemon.log());
    world.assert_watermark_is_honest().await;
    proxy.set(Trouble::None);
    world.sync().await;
    world.assert_database_equals_source().await;
}

/// As after a fail-over where the old address says nothing any more, or when a firewall forgot them.
#[tokio::test]
async fn connections_that_went_silent_for_good_are_replaced() {
    let mut world = World::new(100).await;
    let proxy = world.through_proxy("CVSYNC_DATABASE_URL").await;
    let daemon = Process::run(&world, &[OFTEN, AT_ONCE]);
    daemon.until_synced().await;
    for _ in 0..2 {
        proxy.forsake();
        world.source.world(cvsync::simulator::World::add);
        until_whole(&world).await;
        daemon.until("/readyz", |status, _| status == 200).await;
    }
}

/// A daemon that logs everything into pipes that nobody reads yet, and its address.
fn talkative(world: &World) -> (Child, String) {
    let address = free_address();
    let env = world.environment();
    let mut command = cvsync(&["run"], env.iter().map(|(n, v)| (*n, v.as_str())));
    command
        .envs([OFTEN, AT_ONCE, ("CVSYNC_LOG", "trace")])
        .env("CVSYNC_HTTP_ADDR", &address)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    (command.spawn().unwrap(), address)
}

#[tokio::test]
async fn a_log_that_nobody_can_read_any_more_stops_nothing() {
    let world = World::new(300).await;
    world.source.rule(Operation::Detail, SLOW);
    let (mut daemon, address) = talkative(&world);
    drop((daemon.stdout.take(), daemon.stderr.take()));
    until_whole(&world).await;
    assert!(daemon.try_wait().unwrap().is_none(), "it runs on");
    let id = world.any_live_id();
    world.source.world(|w| assert!(w.remove(id)));
    until_whole(&world).await;
    let url = format!("http://{address}/livez");
    assert!(reqwest::get(url).await.unwrap().status().is_success());
    daemon.kill().await.unwrap();
}

/// A pipe that is full, and its reader. A write to it waits until somebody reads.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(&b"\n".repeat(64 * 1024)).unwrap();
    (reader, writer)
}

#[tokio::test]
async fn daemon_whose_log_reader_stalls_syncs_answers_and_stops_in_time() {
    let world = World::new(300).await;
    let (mut reader, writer) = full_pipe();
    let env = world.environment();
    let mut command = cvsync(&["run"], env.iter().map(|(n, v)| (*n, v.as_str())));
    let address = free_address();
    command
        .envs([OFTEN, AT_ONCE, ("CVSYNC_LOG", "trace")])
        .env("CVSYNC_HTTP_ADDR", &address)
        .stdin(Stdio::null())
        .stderr(writer);
    let mut daemon = command.spawn().unwrap();
    drop(command);
    until_whole(&world).await;
    let id = world.any_live_id();
    world.source.world(|w| assert!(w.remove(id)));
    until_whole(&world).await;
    // On a slow machine the log has been stuck for 30 seconds by now.
    let url = format!("http://{address}/livez");
    let livez = reqwest::get(url).await.unwrap().text().await.unwrap();
    assert!(livez == "alive\n" || livez.contains("nobody has read the log"));
    terminate(&daemon);
    let ended = tokio::time::timeout(Duration::from_secs(10), daemon.wait()).await;
    assert!(ended.expect("it ends in time").unwrap().success());
    let mut log = String::new();
    reader.read_to_string(&mut log).unwrap();
    let lines = log.lines().filter(|line| !line.is_empty()).count();
    assert!(
        lines <= 40,
        "what was not written is not waited for: {lines}"
    );
}

#[tokio::test]
async fn commands_whose_reader_stalls_end() {
    let world = World::new(20).await;
    let env = world.environment();
    let start = |args: &[&str], nowhere: bool, stdout: Stdio, stderr: Stdio| {
        let mut command = cvsync(args, env.iter().map(|(n, v)| (*n, v.as_str())));
        if nowhere {
            command.env("CVSYNC_DATABASE_URL", "postgres://127.0.0.1:9/x?canary=1");
        }
        command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        command.spawn().unwrap()
    };
    let (_log, stderr) = full_pipe();
    let (_out, stdout) = full_pipe();
    let null = Stdio::null;
    let mut done = start(&["sync"], false, null(), stderr.try_clone().unwrap().into());
    let mut failed = start(&["sync"], true, null(), stderr.into());
    let mut blocked = start(&["sync", "--json"], false, stdout.into(), null());
    let limit = Duration::from_mins(1);
    let ended = tokio::time::timeout(limit, done.wait()).await.unwrap();
    assert_eq!(ended.unwrap().code(), Some(0));
    let ended = tokio::time::timeout(limit, failed.wait()).await.unwrap();
    assert_eq!(ended.unwrap().code(), Some(2));
    world.assert_database_equals_source().await;
    // The result is printed, but nobody reads it.
    terminate(&blocked);
    let ended = tokio::time::timeout(Duration::from_secs(15), blocked.wait()).await;
    let _ = ended.expect("it ends in time").unwrap();
}

#[tokio::test]
async fn no_library_logs_at_any_level_and_no_row_gets_into_the_log() {
    let world = World::new(20).await;
    for sql in [
        "create function cvsync.shout() returns trigger language plpgsql as
         $$begin raise warning 'canary %', new; raise notice 'canary %', new; return new; end$$",
        "create trigger shout before insert on cvsync.cv for each row execute function cvsync.shout()",
    ] {
        sqlx::query(sql).execute(&world.database).await.unwrap();
    }
    let base = world.environment();
    let url = format!("{}{}", world.url(), "&connect_timeout=7");
    let url = if world.url().contains('?') {
        url
    } else {
        url.replacen('&', "?", 1)
    };
    let mut env: Vec<_> = base.iter().map(|(n, v)| (*n, v.as_str())).collect();
    env.retain(|(name, _)| *name != "CVSYNC_DATABASE_URL");
    env.extend([
        ("CVSYNC_DATABASE_URL", &*url),
        ("CVSYNC_LOG", "trace,sqlx=trace,hyper=trace"),
    ]);
    let (code, _, log) = output(&["sync"], env).await;
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("connect_timeout"), "{log}");
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for line in &lines {
        let target = line["target"].as_str().unwrap();
        assert!(
            target == "cvsync" || target.starts_with("cvsync::"),
            "{line}"
        );
    }
    assert!(!log.contains("canary"), "{log}");
    world.assert_database_equals_source().await;
}

fn terminate(child: &Child) {
    let pid = child.id().unwrap().to_string();
    let done = std::process::Command::new("kill")
        .args(["-TERM", &pid])
        .status();
    assert!(done.unwrap().success());
}

#[tokio::test]
async fn out_of_file_descriptors_it_waits_for_some() {
    let world = World::new(300).await;
    world.source.rule(Operation::Detail, SLOW);
    let address = free_address();
    let script = "ulimit -n 40; exec \"$0\" run";
    let mut daemon = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_cvsync")])
        .env_clear()
        .envs(world.environment())
        .envs([OFTEN, AT_ONCE, ("CVSYNC_HTTP_ADDR", &address)])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    until("it has begun", async || world.detail_calls() > 20).await;
    // Visitors that stay take all descriptors that are left.
    let mut visitors = Vec::new();
    for _ in 0..60 {
        visitors.push(tokio::net::TcpStream::connect(&address).await.unwrap());
    }
    let files = format!("/proc/{}/fd", daemon.id().unwrap());
    until("no descriptor is left", async || {
        std::fs::read_dir(&files).unwrap().count() >= 40
    })
    .await;
    assert!(daemon.try_wait().unwrap().is_none(), "it ended");
    drop(visitors);
    until_whole(&world).await;
    let id = world.any_live_id();
    world.source.world(|w| assert!(w.remove(id)));
    until_whole(&world).await;
    daemon.kill().await.unwrap();
}

#[tokio::test]
async fn two_at_once_are_one_in_the_end() {
    let world = World::new(600).await;
    world.source.rule(Operation::Detail, SLOW);
    let (one, other) = (Process::run(&world, BOTH), Process::run(&world, BOTH));
    until("they are in the middle", async || {
        world.detail_calls() > 200
    })
    .await;
    // Beside them, a person syncs by hand.
    world.sync().await;
    until_whole(&world).await;
    assert_eq!(world.rows("cv_change").await as usize, world.live());
    let phase = async |daemon: &Process| {
        let (_, body) = daemon.get("/api/status").await.unwrap();
        let status: Value = serde_json::from_str(&body).unwrap();
        status["phase"].as_str().unwrap().to_owned()
    };
    until("one leads and the other stands by", async || {
        let mut phases = [phase(&one).await, phase(&other).await];
        phases.sort_unstable();
        phases == ["leading", "standby"]
    })
    .await;
    // Whichever instance ends, the other continues.
    one.kill().await;
    let id = world.any_live_id();
    world.source.world(|w| assert!(w.remove(id)));
    until_whole(&world).await;
    other.kill().await;
}
