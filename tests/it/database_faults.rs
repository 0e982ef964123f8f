//! Faults of the database: the sync waits, says why, and goes on; nothing is lost, and nothing written twice.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cvsync::demo::postgres::{self, Cluster, Stop};
use cvsync::simulator::{Fault, Operation, Options};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::process::{Process, output};
use crate::proxy::Trouble;
use crate::running::{Running, until};
use crate::world::{World, new_database, open_folder};

/// Slow enough that there is a middle to interrupt.
const SLOW: Fault = Fault::Slow(Duration::from_millis(10));

/// A server that a test may stop and kill, and its folder.
pub(crate) async fn private_cluster() -> (TempDir, Cluster) {
    let folder = open_folder();
    let options = postgres::Options {
        data: folder.path().join("postgres"),
        settings: vec![("fsync".to_owned(), "off".to_owned())],
        ..postgres::Options::default()
    };
    (folder, Cluster::start(options).await.unwrap())
}

async fn candidates(number: u32, cluster: &Cluster) -> World {
    let options = Options {
        candidates: number,
        ..Options::default()
    };
    let world = World::on(&cluster.url_of("cvsync"), options).await;
    world.source.rule(Operation::Detail, SLOW);
    world
}

/// A session beside the tests' pool, in the server's own database.
async fn admin() -> PgConnection {
    let url = std::env::var("CVSYNC_TEST_DATABASE_URL").unwrap();
    PgConnection::connect(&url).await.unwrap()
}

/// Again where PostgreSQL chose it to end a deadlock with a daemon.
async fn execute(connection: &mut PgConnection, sql: impl Into<String>) {
    let sql = sql.into();
    loop {
        let done = sqlx::raw_sql(AssertSqlSafe(sql.clone()))
            .execute(&mut *connection)
            .await;
        match done {
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("40P01") => {}
            done => {
                done.unwrap();
                return;
            }
        }
    }
}

/// Ends all sessions of cvsync, as an administrator may.
async fn end_sessions(world: &World) -> i64 {
    world
        .count(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity
              where datname = current_database() and application_name = 'cvsync'",
        )
        .await
}

fn name(world: &World) -> String {
    let url = url::Url::parse(world.url()).unwrap();
    url.path().trim_start_matches('/').to_owned()
}

/// Changes a setting of the world's database, for sessions that begin from now on.
async fn set_for_database(world: &World, setting: &str) {
    let name = name(world);
    let sql = format!("alter database {name} {setting}");
    execute(&mut admin().await, sql).await;
}

/// Everything is there, once: what was fetched before the trouble was not fetched again, nor written again.
async fn assert_nothing_lost_or_done_twice(world: &World) {
    world.assert_database_equals_source().await;
    assert_eq!(world.rows("parked_cv").await, 0);
    let live = world.live();
    assert_eq!(world.rows("cv_change").await as usize, live);
    assert_eq!(world.detail_calls() as usize, live);
}

async fn until_fetched(world: &World, details: u64) {
    until("details are fetched", async || {
        world.detail_calls() >= details
    })
    .await;
}

#[tokio::test]
async fn database_may_be_killed_and_restarted_during_a_sync() {
    let (_folder, mut cluster) = private_cluster().await;
    let world = candidates(1_500, &cluster).await;
    let run = Running::start(&world);
    until_fetched(&world, 400).await;
    cluster.kill().await.unwrap();
    run.until_trouble("no connection").await;
    cluster.restart().await.unwrap();
    world.assert_watermark_is_honest().await;
    until_fetched(&world, 1_000).await;
    cluster.restart().await.unwrap();
    world.assert_watermark_is_honest().await;
    run.ended().await.unwrap();
    assert_nothing_lost_or_done_twice(&world).await;
}

#[tokio::test]
async fn a_database_that_restarts_again_and_again_loses_nothing() {
    let (_folder, mut cluster) = private_cluster().await;
    let world = candidates(2_000, &cluster).await;
    // Long enough that the restarts come in its course.
    let slow = Fault::Slow(Duration::from_millis(80));
    world.source.rule(Operation::Detail, slow);
    let run = Running::start(&world);
    let mut restarts = 0;
    while restarts < 6 && !run.is_over() {
        let calls = world.detail_calls() + 60;
        until("it goes on", async || {
            run.is_over() || world.detail_calls() > calls
        })
        .await;
        cluster.restart().await.unwrap();
        world.assert_watermark_is_honest().await;
        restarts += 1;
    }
    assert!(!run.is_over() || restarts > 4, "{restarts} in its course");
    run.ended().await.unwrap();
    assert_nothing_lost_or_done_twice(&world).await;
}

#[tokio::test]
async fn sessions_that_are_ended_again_and_again_cost_time_alone() {
    let world = World::new(2_000).await;
    world.source.rule(Operation::Detail, SLOW);
    let run = Running::start(&world);
    let mut ended = 0;
    while !run.is_over() && ended < 12 {
        sleep(Duration::from_millis(200)).await;
        ended += end_sessions(&world).await;
        world.assert_watermark_is_honest().await;
    }
    assert!(ended > 3, "{ended}");
    run.ended().await.unwrap();
    assert_nothing_lost_or_done_twice(&world).await;
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_done_again_to_no_effect() {
    let mut world = World::new(1_500).await;
    let proxy = world.through_proxy("CVSYNC_DATABASE_URL").await;
    world.source.rule(Operation::Detail, SLOW);
    let run = Running::start(&world);
    let mut watermark = None;
    for round in 1..=6 {
        until_fetched(&world, 200 * round).await;
        let struck = proxy.struck();
        proxy.set(Trouble::Unanswered(b"COMMIT"));
        until("a commit is cut", async || proxy.struck() > struck).await;
        proxy.set(Trouble::None);
        world.assert_watermark_is_honest().await;
        assert!(world.watermark().await >= watermark);
        watermark = world.watermark().await;
    }
    let summary = run.ended().await.unwrap();
    assert_nothing_lost_or_done_twice(&world).await;
    assert_eq!(summary.tally.listed, 1_500);
    assert_eq!(summary.tally.done(), 1_500);
}

#[tokio::test]
async fn a_read_only_replica_is_not_taken_for_the_database() {
    let world = World::new(800).await;
    world.source.rule(Operation::Detail, SLOW);
    let run = Running::start(&world);
    until_fetched(&world, 200).await;
    set_for_database(&world, "set default_transaction_read_only = on").await;
    end_sessions(&world).await;
    run.until_trouble("25006").await;
    world.assert_watermark_is_honest().await;
    // A failover: new connections reach the primary, old ones still lead to the replica.
    set_for_database(&world, "reset default_transaction_read_only").await;
    run.ended().await.unwrap();
    assert_nothing_lost_or_done_twice(&world).await;
}

#[tokio::test]
async fn a_daemon_that_starts_on_a_replica_goes_on_once_its_address_leads_to_the_primary() {
    let world = World::new(3).await;
    let schema = "drop schema if exists cvsync cascade";
    sqlx::raw_sql(schema)
        .execute(&world.database)
        .await
        .unwrap();
    set_for_database(&world, "set default_transaction_read_only = on").await;
    let daemon = Process::run(&world, &[]);
    until("it waits", async || daemon.log().contains("cvsync retries")).await;
    set_for_database(&world, "reset default_transaction_read_only").await;
    daemon.until_synced().await;
}

/// A first sync is done, and these CVs have changed since.
async fn some_changes(world: &World, number: usize) -> Vec<uuid::Uuid> {
    world.sync().await;
    let mut ids: Vec<_> = world.source.world(|w| w.live_ids().take(number).collect());
    ids.sort_unstable();
    world
        .source
        .world(|w| assert!(ids.iter().all(|id| w.update(*id))));
    world.settle();
    ids
}

#[tokio::test]
async fn rows_that_somebody_else_holds_for_too_long_are_tried_again() {
    let world = World::new(50).await;
    some_changes(&world, 10).await;
    let mut other = world.database.begin().await.unwrap();
    execute(&mut other, "select from cvsync.cv_seen for update").await;
    let run = Running::start(&world);
    run.until_trouble("55P03").await;
    other.rollback().await.unwrap();
    run.ended().await.unwrap();
    world.assert_database_equals_source().await;
}

#[tokio::test]
async fn a_deadlock_with_another_writer_is_tried_again() {
    let world = World::new(60).await;
    // PostgreSQL checks for a deadlock once per wait, after this time: both locks must be taken by then.
    set_for_database(&world, "set deadlock_timeout = '5s'").await;
    for _ in 0..10 {
        if meets_a_deadlock(&world).await {
            return world.assert_database_equals_source().await;
        }
    }
    panic!("no batch had two of the changes");
}

/// It takes a batch that holds one of the changes and waits for the last: how they come in decides about that.
async fn meets_a_deadlock(world: &World) -> bool {
    let ids = some_changes(world, 20).await;
    let lock =
        |id: &uuid::Uuid| format!("select from cvsync.cv_seen where cv_id = '{id}' for update");
    let mut other = world.database.begin().await.unwrap();
    // Whoever waits longest finds the deadlock first, and is its victim: that is to be cvsync.
    execute(&mut other, "set local deadlock_timeout = '60s'").await;
    execute(&mut other, lock(ids.last().unwrap())).await;
    let run = Running::start(world);
    let waiting = "select count(*) from pg_stat_activity
                    where datname = current_database() and application_name = 'cvsync' and wait_event_type = 'Lock'";
    until("it waits for the row", async || {
        world.count(waiting).await > 0
    })
    .await;
    for id in &ids {
        execute(&mut other, lock(id)).await;
    }
    // If there was a deadlock, PostgreSQL has ended it by now, and cvsync is about to report it.
    let said = run.until_trouble("40P01");
    let met = tokio::time::timeout(Duration::from_secs(2), said)
        .await
        .is_ok();
    other.rollback().await.unwrap();
    run.ended().await.unwrap();
    met
}

#[tokio::test]
async fn transactions_that_cannot_be_serialized_are_tried_again() {
    let world = World::new(600).await;
    set_for_database(&world, "set default_transaction_isolation = 'serializable'").await;
    let (one, other) = (Running::start(&world), Running::start(&world));
    let mut third = PgConnection::connect(world.url()).await.unwrap();
    execute(
        &mut third,
        "set default_transaction_isolation = 'read committed'",
    )
    .await;
    // In a deadlock with either of them, it is not to be the victim.
    execute(&mut third, "set deadlock_timeout = '60s'").await;
    while !(one.is_over() && other.is_over()) {
        execute(&mut third, "update cvsync.cv_seen set gone = gone").await;
        if [&one, &other]
            .iter()
            .any(|run| run.troubles().iter().any(|t| t.contains("40001")))
        {
            break;
        }
    }
    let troubles = [one.troubles(), other.troubles()].concat();
    assert!(troubles.iter().any(|t| t.contains("40001")), "{troubles:?}");
    one.ended().await.unwrap();
    other.ended().await.unwrap();
    world.assert_database_equals_source().await;
    assert_eq!(world.rows("cv_change").await as usize, world.live());
}

#[tokio::test]
async fn too_many_connections_are_waited_for() {
    let world = as_ordinary_user(World::new(800).await).await;
    world.source.rule(Operation::Detail, SLOW);
    let run = Running::start(&world);
    until_fetched(&world, 200).await;
    set_for_database(&world, "connection limit 0").await;
    end_sessions(&world).await;
    run.until_trouble("53300").await;
    set_for_database(&world, "connection limit -1").await;
    run.ended().await.unwrap();
    assert_nothing_lost_or_done_twice(&world).await;
}

/// The world's tests stay superusers; cvsync becomes a role that owns nothing and may do what it must.
async fn as_ordinary_user(mut world: World) -> World {
    let role = format!("r_{}", uuid::Uuid::new_v4().simple());
    let mut connection = PgConnection::connect(world.url()).await.unwrap();
    let grants = format!(
        "create role {role} login password 'ordinary';
         grant usage on schema cvsync to {role};
         grant select, insert, update, delete on all tables in schema cvsync to {role};
         grant usage on all sequences in schema cvsync to {role};
         grant execute on all functions in schema cvsync to {role}"
    );
    execute(&mut connection, grants).await;
    let mut url = url::Url::parse(world.url()).unwrap();
    url.set_username(&role).unwrap();
    url.set_password(Some("ordinary")).unwrap();
    world.set("CVSYNC_DATABASE_URL", url.into());
    world
}

/// A mistake by hand: the sync reports it, retries with growing pauses, parks nothing, and continues once it is corrected.
async fn is_waited_for(world: &World, mistake: &str, says: [&str; 2], remedy: &str) {
    some_changes(world, 10).await;
    sqlx::raw_sql(AssertSqlSafe(mistake.to_owned()))
        .execute(&world.database)
        .await
        .unwrap();
    let begun = Instant::now();
    let run = Running::start(world);
    for words in says {
        run.until_trouble(words).await;
    }
    until("it has tried five times", async || {
        run.troubles().len() >= 5
    })
    .await;
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(1_500), "{took:?}: no pauses");
    assert!(!run.is_over());
    assert_eq!(world.rows("parked_cv").await, 0);
    sqlx::raw_sql(AssertSqlSafe(remedy.to_owned()))
        .execute(&world.database)
        .await
        .unwrap();
    run.ended().await.unwrap();
    world.assert_database_equals_source().await;
}

#[tokio::test]
async fn a_column_that_was_dropped_by_hand() {
    let world = World::new(50).await;
    let drop = "alter table cvsync.cv drop column content_hash";
    let mend = "alter table cvsync.cv add column content_hash bytea not null default ''";
    is_waited_for(&world, drop, ["content_hash", "42703"], mend).await;
}

#[tokio::test]
async fn a_permission_that_was_taken_away() {
    let world = as_ordinary_user(World::new(50).await).await;
    let role = url::Url::parse(world.url()).unwrap().username().to_owned();
    let revoke = format!("revoke update on cvsync.cv from {role}");
    let grant = format!("grant update on cvsync.cv to {role}");
    is_waited_for(&world, &revoke, ["permission denied", "42501"], &grant).await;
}

#[tokio::test]
async fn while_it_does_not_answer_no_more_is_fetched_than_fits_in_memory() {
    let mut world = World::new(2_800).await;
    let proxy = world.through_proxy("CVSYNC_DATABASE_URL").await;
    world.config.sync.channel_capacity = 64;
    let run = Running::start(&world);
    until_fetched(&world, 300).await;
    proxy.set(Trouble::Swallow);
    let mut calls = (world.detail_calls(), Instant::now());
    while calls.1.elapsed() < Duration::from_secs(1) {
        if world.detail_calls() > calls.0 {
            calls = (world.detail_calls(), Instant::now());
        }
        assert!(
            run.pipeline
                .queues
                .look()
                .iter()
                .all(|queue| queue.depth <= queue.capacity)
        );
        sleep(Duration::from_millis(10)).await;
    }
    let ahead = world.detail_calls() - u64::try_from(world.rows("cv").await).unwrap();
    let workers = world.config.sync.workers * 5;
    let most = 3 * 500 + 16 + workers as u64;
    assert!(ahead <= most, "{ahead} fetched that are not stored");
    proxy.set(Trouble::None);
    run.ended().await.unwrap();
    assert_nothing_lost_or_done_twice(&world).await;
}

#[tokio::test]
async fn a_slow_network_to_it_costs_time_alone() {
    let mut world = World::new(220).await;
    let proxy = world.through_proxy("CVSYNC_DATABASE_URL").await;
    proxy.set(Trouble::Latency(Duration::from_millis(30)));
    let run = Running::start(&world);
    until_fetched(&world, 100).await;
    proxy.set(Trouble::Slicer(7, Duration::from_millis(1)));
    run.ended().await.unwrap();
    assert_nothing_lost_or_done_twice(&world).await;
}

/// A small disk of its own.
struct Disk(TempDir);

impl Disk {
    /// None where this machine does not let us mount one.
    fn mount(size: &str) -> Option<Self> {
        let folder = open_folder();
        let size = format!("size={size},mode=0777");
        let mounted = run(
            "mount",
            ["-t", "tmpfs", "-o", &size, "tmpfs", folder.path().to_str()?],
        );
        mounted.then_some(Self(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run("umount", ["-l", self.path().to_str().unwrap_or_default()]);
    }
}

fn run<const N: usize>(program: &str, args: [&str; N]) -> bool {
    Command::new(program)
        .args(args)
        .output()
        .is_ok_and(|done| done.status.success())
}

#[tokio::test]
async fn a_full_disk_is_waited_for() {
    let Some(disk) = Disk::mount("40m") else {
        println!("not tested: no disk can be mounted here");
        return;
    };
    let (_folder, cluster) = private_cluster().await;
    // The tables alone are on it: where the log has no room the server ends, and that is another test.
    let tables = disk.path().join("tables");
    std::fs::create_dir(&tables).unwrap();
    let user = "postgres:";
    assert!(run("chown", [user, tables.to_str().unwrap()]));
    let mut connection = PgConnection::connect(cluster.url()).await.unwrap();
    let location = tables.display();
    execute(
        &mut connection,
        format!("create tablespace small location '{location}'"),
    )
    .await;
    execute(
        &mut connection,
        "alter database cvsync set tablespace small",
    )
    .await;
    let world = candidates(1_500, &cluster).await;
    let ballast = disk.path().join("ballast");
    let run = Running::start(&world);
    until_fetched(&world, 100).await;
    let zeros = std::fs::File::open("/dev/zero").unwrap();
    let full = std::io::copy(&mut &zeros, &mut std::fs::File::create(&ballast).unwrap());
    assert_eq!(full.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    run.until_trouble("53100").await;
    world.assert_watermark_is_honest().await;
    std::fs::remove_file(&ballast).unwrap();
    run.ended().await.unwrap();
    assert_nothing_lost_or_done_twice(&world).await;
    world.database.close().await;
    cluster.stop(Stop::Immediate).await.unwrap();
}

#[tokio::test]
async fn daemon_whose_database_is_dropped_emptied_or_replaced_ends_and_starts_anew() {
    let harms = [
        "drop schema cvsync cascade",
        "drop table cvsync.migration",
        "drop table cvsync.parked_cv cascade",
        "delete from cvsync.lease",
        "delete from cvsync.migration where version = (select max(version) from cvsync.migration)",
        "drop database NAME with (force)",
        "drop database NAME with (force); create database NAME",
    ];
    let harmed = harms.map(async |harm| {
        let url = new_database().await;
        let world = World::on(&url, Options::default()).await;
        let mut daemon = Process::run(&world, &[("CVSYNC_SCHEDULE", "* * * * * *")]);
        daemon.until_synced().await;
        let name = url.rsplit_once('/').unwrap().1;
        let mut admin = if harm.contains("NAME") {
            admin().await
        } else {
            PgConnection::connect(&url).await.unwrap()
        };
        for statement in harm.replace("NAME", name).split("; ") {
            execute(&mut admin, statement).await;
        }
        let status = daemon.ended_within(Duration::from_secs(30)).await;
        assert_eq!(status.code(), Some(1), "{harm}: {}", daemon.log());
        until("it says why", async || {
            let told = "was dropped, emptied or replaced while the daemon ran";
            daemon.log().contains(told)
        })
        .await;
        if harm.contains("schema") || harm.contains("create") {
            let daemon = Process::run(&world, &[]);
            daemon.until_synced().await;
            daemon.until("/readyz", |status, _| status == 200).await;
        }
    });
    futures_util::future::join_all(harmed).await;
}

#[tokio::test]
async fn daemon_goes_on_beside_newer_migrations() {
    let world = World::new(5).await;
    let daemon = Process::run(&world, &[("CVSYNC_SCHEDULE", "* * * * * *")]);
    daemon.until_synced().await;
    let newer =
        "insert into cvsync.migration (version, description, success, checksum, execution_time)
                 values (99990101000000, 'of a newer cvsync', true, '', 0)";
    sqlx::query(newer).execute(&world.database).await.unwrap();
    let id = world.any_live_id();
    world.source.world(|w| assert!(w.remove(id)));
    world.settle();
    until("the change has arrived", async || {
        world.rows("cv").await == 4
    })
    .await;
    assert_eq!(daemon.get("/readyz").await.unwrap().0, 200);

    // The newer version no longer shares the schema with this one.
    sqlx::query("update cvsync.compatibility set oldest = 99990101000000")
        .execute(&world.database)
        .await
        .unwrap();
    let body = daemon
        .until("/api/status", |_, body| body.contains("error class broken"))
        .await;
    assert!(!body.contains(r#""phase":"leading""#), "{body}");
    let env = [("CVSYNC_DATABASE_URL", world.url())];
    let (code, _, stderr) = output(&["migrate"], env).await;
    assert_ne!(code, Some(0));
    assert!(stderr.contains("run the newer version"), "{stderr}");
    daemon.kill().await;
}

/// A run is dropped when its instance stops leading or is paused. Nobody would clear its trouble afterwards.
#[tokio::test]
async fn trouble_of_a_dropped_run_ends_with_it() {
    let mut world = World::new(50).await;
    let proxy = world.through_proxy("CVSYNC_DATABASE_URL").await;
    proxy.set(Trouble::Down);
    let run = Running::start(&world);
    run.until_trouble("no connection").await;
    let pipeline = Arc::clone(&run.pipeline);
    assert!(pipeline.trouble.borrow().is_some());
    run.crash().await;
    assert_eq!(*pipeline.trouble.borrow(), None);
}
