//! How commands leave PostgreSQL: the server must not count or log a lost session.

use std::time::Duration;

use sqlx::Executor;

use crate::process::{Process, output};
use crate::running::until;
use crate::world::World;

const MINE: &str = "select count(*) from pg_stat_activity
    where datname = current_database() and application_name = 'cvsync' and pid <> pg_backend_pid()";

/// Sessions of this database that ended without a farewell.
const ABANDONED: &str =
    "select sessions_abandoned from pg_stat_database where datname = current_database()";

#[tokio::test]
async fn every_command_closes_its_connections() {
    let world = World::new(20).await;
    let id = world.any_live_id().to_string();
    let environment = world.environment();
    let environment = || {
        environment
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
    };
    for (command, code) in [
        (vec!["migrate"], 0),
        (vec!["check"], 0),
        (vec!["sync"], 0),
        (vec!["resync", &id], 0),
        (vec!["reconcile", "--dry-run"], 0),
        (vec!["verify", "--sample", "5"], 0),
        (vec!["status"], 0),
        (vec!["explain", &id], 0),
        (vec!["parked", "list"], 0),
        (vec!["export", "--format", "csv", "persoon"], 0),
        (vec!["export", "--format", "csv", "no_such_view"], 2),
        (vec!["rewind", "--to", "2062-01-01T00:00:00Z"], 2),
    ] {
        let (ended, _, stderr) = output(&command, environment()).await;
        assert_eq!(ended, Some(code), "{command:?}: {stderr}");
    }

    let mut daemon = Process::run(&world, &[]);
    daemon.until_synced().await;
    daemon.signal("-TERM");
    daemon.ended_within(Duration::from_secs(10)).await;

    // A statement that waits for a lock is given up.
    let mut blocker = world.database.acquire().await.unwrap();
    blocker.execute("begin").await.unwrap();
    let lock = "lock table cvsync.parked_cv in access exclusive mode";
    blocker.execute(lock).await.unwrap();
    let mut waiting = Process::start(&world, &["parked", "list"], &[]);
    until("it waits", async || {
        let waits = format!("{MINE} and wait_event_type = 'Lock'");
        world.count(waits.leak()).await == 1
    })
    .await;
    waiting.signal("-TERM");
    waiting.ended_within(Duration::from_secs(10)).await;
    blocker.execute("rollback").await.unwrap();

    until("all sessions have ended", async || {
        world.count(MINE).await == 0
    })
    .await;
    assert_eq!(world.count(ABANDONED).await, 0);
}
