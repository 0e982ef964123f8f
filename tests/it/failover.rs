//! The database loses commits that it had acknowledged: a standby that lags takes over. The daemon notices, the table equals the
//! source again, and so does each copy downstream. No comparison with the whole source helps.

use std::time::{Duration, Instant};

use cvsync::simulator::{Fault, Operation};

use crate::database_faults::private_cluster;
use crate::followers::{
    Downstream, LAST_NUMBER, Lost, SYNC_ALONE, assert_numbers_grow, phase, until_in_phase, world,
};
use crate::pair::Pair;
use crate::process::Process;
use crate::proxy::Trouble;
use crate::running::until;

const STORED: &str = "select count(*) from cvsync.cv";

/// The primary dies in a first sync with this many CVs that the standby does not have.
async fn primary_dies_in_a_first_sync(loss: i64) {
    let mut pair = Pair::start().await;
    let world = world(&pair.url(), 150 + 3 * u32::try_from(loss).unwrap() / 2).await;
    pair.until_caught_up().await;
    let slow = Fault::Slow(Duration::from_millis(20));
    world.source.rule(Operation::Detail, slow);
    let downstream = Downstream::with_webhook(&world).await;
    until("the standby has some CVs", async || {
        pair.on_standby(STORED).await > 50
    })
    .await;
    pair.stop_receiving();
    let kept = pair.on_standby(STORED).await;
    until("the primary has more", async || {
        pair.on_primary(STORED).await >= kept + loss
    })
    .await;
    let stored = pair.on_primary(STORED).await as usize;
    assert!(stored < world.live(), "the first sync is over");
    let read = pair.on_primary(LAST_NUMBER).await;
    until("the loss is read", async || {
        downstream.feed.position() >= read
    })
    .await;
    pair.kill_primary().await;
    let (kept, highest) = (
        pair.on_standby(LAST_NUMBER).await,
        downstream.feed.position(),
    );
    pair.promote().await;
    world.source.clear_faults();
    downstream.until_in_step(&world).await;
    downstream.assert_all_equal_the_source(&world).await;
    assert_numbers_grow(&world, kept, highest).await;
    downstream.assert_noticed(1).await;
}

/// VDAB's quota of 2,000 calls a minute gives as many CVs in 0.3 seconds.
#[tokio::test]
async fn first_sync_survives_the_loss_of_10_cvs() {
    primary_dies_in_a_first_sync(10).await;
}

/// The CVs of 1.2 seconds.
#[tokio::test]
async fn first_sync_survives_the_loss_of_40_cvs() {
    primary_dies_in_a_first_sync(40).await;
}

/// The CVs of 6 seconds.
#[tokio::test]
async fn first_sync_survives_the_loss_of_200_cvs() {
    primary_dies_in_a_first_sync(200).await;
}

#[tokio::test]
async fn feed_webhook_and_mirror_converge_after_changes_were_lost_again_and_again() {
    let mut pair = Pair::start().await;
    let world = world(&pair.url(), 250).await;
    let downstream = Downstream::of_every_kind(&world).await;
    downstream.until_in_step(&world).await;
    downstream.assert_all_equal_the_source(&world).await;
    for (round, updates) in [(1, 10), (2, 40), (3, 120)] {
        pair.until_caught_up().await;
        pair.stop_receiving();
        let kept = pair.on_standby(LAST_NUMBER).await;
        let lost = Lost::happen(&world, updates);
        downstream.until_in_step(&world).await;
        downstream.assert_all_equal_the_source(&world).await;
        let highest = pair.on_primary(LAST_NUMBER).await;
        pair.kill_primary().await;
        lost.revert(&world);
        pair.promote().await;
        downstream.until_in_step(&world).await;
        downstream.assert_all_equal_the_source(&world).await;
        assert_numbers_grow(&world, kept, highest).await;
        downstream.assert_noticed(round).await;
        if round < 3 {
            pair.follow().await;
        }
    }
    // A CV that was confirmed since the loss, and is confirmed again as it is, leaves no row.
    let age = "update cvsync.feed set announcing_since = announcing_since - interval '1 hour'";
    sqlx::raw_sql(age).execute(&world.database).await.unwrap();
    let last = world.count(LAST_NUMBER).await;
    let id = world.any_live_id();
    world.source.world(|world| {
        let (text, now) = (world.document(id).unwrap(), world.now());
        world.put(id, text, now);
    });
    downstream.until_in_step(&world).await;
    assert_eq!(world.count(LAST_NUMBER).await, last);
}

#[tokio::test]
async fn nothing_is_lost_by_a_restart_or_a_crash_of_the_server() {
    let (_folder, mut cluster) = private_cluster().await;
    let world = world(&cluster.url_of("cvsync"), 100).await;
    let downstream = Downstream::of_feed(&world);
    for crash in [false, true] {
        downstream.until_in_step(&world).await;
        if crash {
            cluster.kill().await.unwrap();
        }
        cluster.restart().await.unwrap();
        let id = world.any_live_id();
        world.source.world(|world| assert!(world.update(id)));
    }
    downstream.until_in_step(&world).await;
    downstream.assert_all_equal_the_source(&world).await;
    downstream.assert_noticed(0).await;
    let rows = world.rows("cv_change").await as usize;
    assert_eq!(rows, world.live() + 2, "nothing is announced twice");
}

/// The daemon's memory is gone as well: the history that the database names as its own is not the server's.
#[tokio::test]
async fn daemon_that_starts_on_a_promoted_standby_tells_everyone_what_was_lost() {
    let mut pair = Pair::start().await;
    let world = world(&pair.url(), 200).await;
    let mut downstream = Downstream::of_feed(&world);
    downstream.until_in_step(&world).await;
    pair.until_caught_up().await;
    pair.stop_receiving();
    let lost = Lost::happen(&world, 10);
    downstream.until_in_step(&world).await;
    downstream.assert_all_equal_the_source(&world).await;
    pair.kill_primary().await;
    let other = Process::run(&world, SYNC_ALONE);
    std::mem::replace(&mut downstream.daemon, other)
        .kill()
        .await;
    lost.revert(&world);
    pair.promote().await;
    downstream.until_in_step(&world).await;
    downstream.assert_all_equal_the_source(&world).await;
}

/// A change that is committed, and read, and never acknowledged to the daemon.
#[tokio::test]
async fn change_that_only_a_reader_saw_is_corrected() {
    let mut pair = Pair::start().await;
    let world = world(&pair.url(), 100).await;
    let downstream = Downstream::of_feed(&world);
    downstream.until_in_step(&world).await;
    let slow = Fault::Slow(Duration::from_secs(3));
    world.source.rule(Operation::Detail, slow);
    let calls = world.detail_calls();
    let changed = world.any_live_id();
    let text = world.source.world(|world| {
        let text = world.document(changed).unwrap();
        assert!(world.update(changed));
        text
    });
    let before = downstream.feed.documents()[&changed].clone();
    // The run waits for VDAB: its next commit is the one with the change.
    until("it is fetched", async || world.detail_calls() > calls).await;
    pair.until_caught_up().await;
    pair.stop_receiving();
    pair.front().set(Trouble::Unanswered(b"COMMIT"));
    until("the reader has seen the change", async || {
        downstream.feed.documents()[&changed] != before
    })
    .await;
    pair.kill_primary().await;
    world.source.clear_faults();
    world.source.world(|world| {
        let now = world.now();
        world.put(changed, text, now);
    });
    pair.promote().await;
    downstream.until_in_step(&world).await;
    downstream.assert_all_equal_the_source(&world).await;
}

/// The takeover by the second instance is lost. The first leads again, with the epoch that the second believes to have.
#[tokio::test]
async fn instance_whose_takeover_was_lost_steps_down() {
    let mut pair = Pair::start().await;
    let world = world(&pair.url(), 50).await;
    let first = Process::run(&world, SYNC_ALONE);
    first.until_synced().await;
    let second = Process::run(&world, SYNC_ALONE);
    until_in_phase(&second, "standby").await;
    pair.until_caught_up().await;
    pair.stop_receiving();
    first.signal("-STOP");
    until_in_phase(&second, "leading").await;
    second.signal("-STOP");
    pair.kill_primary().await;
    first.signal("-CONT");
    until_in_phase(&first, "standby").await;
    pair.promote().await;
    until_in_phase(&first, "leading").await;
    second.signal("-CONT");
    let woken = Instant::now();
    while phase(&second).await.as_deref() != Some("standby") {
        let both = (first.log(), second.log());
        assert!(woken.elapsed() < Duration::from_secs(20), "{both:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let id = world.any_live_id();
    world.source.world(|world| assert!(world.update(id)));
    world.source.world(cvsync::simulator::World::add);
    let now = world.source_clock.now();
    until("it is in step", async || {
        world.watermark().await >= Some(now)
    })
    .await;
    world.assert_database_equals_source().await;
    let phases = (phase(&first).await.unwrap(), phase(&second).await.unwrap());
    assert_eq!(phases, ("leading".to_owned(), "standby".to_owned()));
}
