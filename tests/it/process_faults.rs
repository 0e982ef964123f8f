//! What happens to the process itself: killed anywhere, starved of descriptors, its output gone, another one beside it.

use std::process::Stdio;
use std::time::Duration;

use cvsync::simulator::{Fault, Operation};
use serde_json::Value;
use tokio::process::{Child, Command};

use crate::process::{Process, cvsync, free_address};
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
            status == 503 && body.contains("no connection")
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

/// A daemon that logs all there is, into pipes that nobody reads as yet, and where it listens.
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

#[tokio::test]
async fn a_log_whose_reader_stalls_is_waited_for() {
    let world = World::new(300).await;
    let (mut daemon, _) = talkative(&world);
    until("it has begun", async || world.bulk_calls() > 0).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (mut out, mut err) = (daemon.stdout.take().unwrap(), daemon.stderr.take().unwrap());
    tokio::spawn(async move { tokio::io::copy(&mut out, &mut tokio::io::sink()).await });
    tokio::spawn(async move { tokio::io::copy(&mut err, &mut tokio::io::sink()).await });
    until_whole(&world).await;
    daemon.kill().await.unwrap();
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
    tokio::time::sleep(Duration::from_secs(2)).await;
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
    // Whichever goes, the other follows on.
    one.kill().await;
    let id = world.any_live_id();
    world.source.world(|w| assert!(w.remove(id)));
    until_whole(&world).await;
    other.kill().await;
}
