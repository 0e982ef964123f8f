//! Lost history: the daemon reports a real loss and keeps its time, and takes nothing else for one. These tests change rows as a
//! failover or a restore changes them; `failover` has real ones.

use std::net::SocketAddr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use cvsync::store::lease::{self, Held};
use cvsync::store::{Store, StoreError};
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgConnection};
use tokio::sync::oneshot;

use crate::process::Process;
use crate::proxy::{Proxy, Trouble};
use crate::running::until;
use crate::world::{World, store};

const OFTEN: &[(&str, &str)] = &[
    ("CVSYNC_SCHEDULE", "* * * * * *"),
    ("CVSYNC_SETTLE_LAG", "1s"),
];

async fn execute(world: &World, sql: &str) {
    let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&world.database);
    done.await.unwrap();
}

async fn take(store: &Store, name: &str) -> Option<Held> {
    let take = async |tx: &mut PgConnection| lease::take(tx, name).await;
    store.bookkeeping().write("a test", take).await.unwrap()
}

/// A store that leads in this world's database.
async fn leader(world: &World, url: &str) -> Store {
    let leader = store(url);
    leader.lead(take(&store(world.url()), "leader").await.unwrap());
    leader
}

async fn write(store: &Store) -> Result<(), StoreError> {
    store.write("a test", async |_| Ok(())).await
}

async fn status(daemon: &Process) -> Value {
    let (_, body) = daemon.get("/api/status").await.unwrap();
    serde_json::from_str(&body).unwrap()
}

async fn losses(daemon: &Process) -> String {
    let metrics = daemon.get("/metrics").await.unwrap().1;
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix("cvsync_history_lost_total "));
    line.unwrap().to_owned()
}

#[tokio::test]
async fn status_keeps_the_time_of_a_loss_after_another_instance_took_the_lease() {
    let world = World::new(20).await;
    let daemon = Process::run(&world, OFTEN);
    daemon.until_synced().await;
    assert_eq!(status(&daemon).await["history_lost_at"], Value::Null);
    let begun = Utc::now();
    execute(&world, "update cvsync.lease set writes = 0").await;
    until("the loss is counted", async || losses(&daemon).await == "1").await;
    let lost_at = async |daemon: &Process| -> Option<DateTime<Utc>> {
        status(daemon).await["history_lost_at"]
            .as_str()?
            .parse()
            .ok()
    };
    until("the status has its time", async || {
        lost_at(&daemon).await.is_some()
    })
    .await;
    let at = lost_at(&daemon).await;
    assert!(at > Some(begun), "{at:?}");
    let epoch = world.count("select epoch from cvsync.lease").await;
    daemon.kill().await;
    let next = Process::run(&world, OFTEN);
    until("another instance leads", async || {
        world.count("select epoch from cvsync.lease").await > epoch
            && status(&next).await["phase"] == "leading"
    })
    .await;
    until("it knows the time too", async || lost_at(&next).await == at).await;
    assert_eq!(losses(&next).await, "0", "it is counted once");
}

/// The server is short of memory when the leader asks for its identity.
#[tokio::test]
async fn passing_error_while_the_servers_identity_is_read_is_no_loss() {
    let world = World::new(20).await;
    let home: String = sqlx::query_scalar("select pg_get_functiondef('cvsync.home'::regproc)")
        .fetch_one(&world.database)
        .await
        .unwrap();
    let daemon = Process::run(&world, OFTEN);
    daemon.until_synced().await;
    let failing = "create or replace function cvsync.home() returns text language plpgsql stable
                   as $$ begin raise exception using errcode = '53200'; end $$";
    execute(&world, failing).await;
    until("the leader meets the error", async || {
        daemon.log().contains("cannot renew the lease")
    })
    .await;
    execute(&world, &home).await;
    let id = world.any_live_id();
    world.source.world(|world| assert!(world.update(id)));
    let now = world.source_clock.now();
    until("it goes on", async || world.watermark().await >= Some(now)).await;
    world.assert_database_equals_source().await;
    assert_eq!(losses(&daemon).await, "0");
    let rows = world.rows("cv_change").await as usize;
    assert_eq!(rows, world.live() + 1, "nothing is announced twice");
}

/// Writes while another write of the leader is under way; `between` acts on the database before that one ends.
async fn write_within_another(
    leader: &Store,
    between: impl AsyncFnOnce(),
) -> Result<(), StoreError> {
    let (begun, has_begun) = oneshot::channel();
    let (end, may_end) = oneshot::channel();
    let slow = leader.write("a test", async |_| {
        begun.send(()).unwrap();
        may_end.await.unwrap();
        Ok(())
    });
    let quick = async {
        has_begun.await.unwrap();
        write(leader).await.unwrap();
        between().await;
        end.send(()).unwrap();
    };
    tokio::join!(slow, quick).0
}

#[tokio::test]
async fn write_that_began_before_another_was_acknowledged_is_no_loss() {
    let world = World::new(0).await;
    let leader = leader(&world, world.url()).await;
    assert_eq!(write_within_another(&leader, async || ()).await, Ok(()));
    assert_eq!(write(&leader).await, Ok(()));
    assert_eq!(world.count("select writes from cvsync.lease").await, 3);
}

#[tokio::test]
async fn write_under_way_notices_that_a_later_one_was_lost() {
    let world = World::new(0).await;
    let leader = leader(&world, world.url()).await;
    let lose = "update cvsync.lease set writes = writes - 1";
    let written = write_within_another(&leader, async || execute(&world, lose).await).await;
    assert_eq!(written, Err(StoreError::HistoryLost));
    assert_eq!(write(&leader).await, Err(StoreError::HistoryLost));
}

/// Whether the commit was made is unknown: the first time it was, the second time it was not.
#[tokio::test]
async fn connection_that_is_cut_off_at_the_commit_is_no_loss() {
    let world = World::new(0).await;
    let mut url = url::Url::parse(world.url()).unwrap();
    let host = (url.host_str().unwrap(), url.port().unwrap_or(5432));
    let upstream: SocketAddr = tokio::net::lookup_host(host).await.unwrap().next().unwrap();
    let proxy = Proxy::to(upstream).await;
    url.set_host(Some("127.0.0.1")).unwrap();
    url.set_port(Some(proxy.address().port())).unwrap();
    let leader = leader(&world, url.as_str())
        .await
        .within(Duration::from_secs(5));
    assert_eq!(write(&leader).await, Ok(()));
    proxy.set(Trouble::Unanswered(b"COMMIT"));
    let cut = write(&leader).await.unwrap_err();
    assert!(cut.is_outage(), "{cut:?}");
    until("it is committed", async || {
        world.count("select writes from cvsync.lease").await == 2
    })
    .await;
    proxy.set(Trouble::None);
    until("a write is possible", async || {
        write(&leader).await == Ok(())
    })
    .await;
    let cut = leader
        .write("a test", async |_| {
            proxy.set(Trouble::Down);
            Ok(())
        })
        .await
        .unwrap_err();
    assert!(cut.is_outage(), "{cut:?}");
    proxy.set(Trouble::None);
    until("a write is possible", async || {
        write(&leader).await == Ok(())
    })
    .await;
}

#[tokio::test]
async fn announcing_ends_with_the_first_sync_that_succeeds_a_day_after_the_loss() {
    let world = World::new(20).await;
    world.sync().await;
    let announcing = "select count(*) from cvsync.feed where announcing_since is not null";
    execute(&world, "update cvsync.feed set announcing_since = now()").await;
    world.settle();
    world.sync().await;
    assert_eq!(world.count(announcing).await, 1);
    execute(
        &world,
        "update cvsync.feed set announcing_since = announcing_since - interval '25 hours'",
    )
    .await;
    world.settle();
    world.sync().await;
    assert_eq!(world.count(announcing).await, 0);
    let rows = world.rows("cv_change").await;
    let id = world.any_live_id();
    world.source.world(|world| {
        let (text, now) = (world.document(id).unwrap(), world.now());
        world.put(id, text, now);
    });
    world.settle();
    world.sync().await;
    assert_eq!(world.rows("cv_change").await, rows, "it is as before");
}
