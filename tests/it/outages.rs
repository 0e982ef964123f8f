//! A database that goes away, comes back, refuses or is touched by hand, while a sync runs: it waits, and ends equal.

use std::sync::Arc;
use std::time::Duration;

use cvsync::demo::postgres::{self, Cluster};
use cvsync::simulator::{Fault, Operation, Options};
use cvsync::sync::{Pipeline, Summary, SyncError};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::process::Process;
use crate::world::World;

/// A world on a PostgreSQL of its own.
struct Broken {
    world: World,
    cluster: Cluster,
    _folder: TempDir,
}

impl Broken {
    async fn new(candidates: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cluster = Cluster::start(postgres::Options {
            data: folder.path().join("data"),
            settings: vec![("fsync".into(), "off".into())],
            ..postgres::Options::default()
        })
        .await
        .unwrap();
        let options = Options {
            candidates,
            ..Options::default()
        };
        let world = World::at(options, cluster.url_of("cvsync")).await;
        // Slow enough that the fault comes in the middle.
        let slow = Fault::Slow(Duration::from_millis(40));
        world.source.rule(Operation::Detail, slow);
        Self {
            world,
            cluster,
            _folder: folder,
        }
    }

    /// A sync that is under way.
    async fn syncing(&self) -> (Arc<Pipeline>, JoinHandle<Result<Summary, SyncError>>) {
        let pipeline = Arc::new(self.world.pipeline());
        let run = tokio::spawn({
            let pipeline = Arc::clone(&pipeline);
            async move { pipeline.run().await }
        });
        while self.world.detail_calls() < 300 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        (pipeline, run)
    }

    async fn ends_equal(&self, run: JoinHandle<Result<Summary, SyncError>>) {
        let limit = Duration::from_mins(2);
        let ended = tokio::time::timeout(limit, run).await.expect("it ends");
        let summary = ended.unwrap().unwrap();
        assert_eq!(summary.tally.listed, summary.tally.done());
        self.world.assert_database_equals_source().await;
    }

    async fn sql(&self, sql: &str) {
        let url = self.cluster.url_of("cvsync");
        let mut connection = PgConnection::connect(&url).await.unwrap();
        // One by one: `alter system` takes no company.
        for statement in sql.split(';') {
            sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
                .execute(&mut connection)
                .await
                .unwrap();
        }
    }
}

async fn until_in_trouble(pipeline: &Pipeline) {
    let mut trouble = pipeline.trouble.subscribe();
    let seen = trouble.wait_for(Option::is_some);
    tokio::time::timeout(Duration::from_secs(30), seen)
        .await
        .expect("the fault is noticed")
        .unwrap();
}

#[tokio::test]
async fn a_server_that_is_killed_and_comes_back() {
    let mut broken = Broken::new(1_500).await;
    let (pipeline, run) = broken.syncing().await;
    broken.cluster.kill().await.unwrap();
    until_in_trouble(&pipeline).await;
    let calls = broken.world.detail_calls();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let meanwhile = broken.world.detail_calls() - calls;
    assert!(
        meanwhile < 1_100,
        "{meanwhile} fetched with nowhere to put them"
    );
    broken.cluster.restart().await.unwrap();
    broken.ends_equal(run).await;
    assert!(pipeline.trouble.borrow().is_none(), "and says so");
}

#[tokio::test]
async fn a_server_that_restarts_again_and_again() {
    let mut broken = Broken::new(1_200).await;
    let (_pipeline, run) = broken.syncing().await;
    for _ in 0..4 {
        broken.cluster.restart().await.unwrap();
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    broken.ends_equal(run).await;
}

#[tokio::test]
async fn sessions_that_are_ended_from_outside() {
    let broken = Broken::new(1_200).await;
    let (_pipeline, run) = broken.syncing().await;
    while !run.is_finished() {
        broken
            .sql("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'cvsync'")
            .await;
        tokio::time::sleep(Duration::from_millis(400)).await;
        if broken.world.detail_calls() > 900 {
            break;
        }
    }
    broken.ends_equal(run).await;
}

#[tokio::test]
async fn a_server_that_has_become_read_only() {
    let broken = Broken::new(1_000).await;
    let (pipeline, run) = broken.syncing().await;
    broken
        .sql("alter system set default_transaction_read_only = on; select pg_reload_conf()")
        .await;
    until_in_trouble(&pipeline).await;
    broken
        .sql("set default_transaction_read_only = off; alter system reset default_transaction_read_only; select pg_reload_conf()")
        .await;
    broken.ends_equal(run).await;
}

#[tokio::test]
async fn rows_that_somebody_else_holds() {
    let mut broken = Broken::new(900).await;
    broken.world.sync_again().await;
    let url = broken.cluster.url_of("cvsync");
    let mut other = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("begin; select from cvsync.cv_seen for update")
        .execute(&mut other)
        .await
        .unwrap();
    broken.world.source.world(|w| {
        let ids: Vec<_> = w.live_ids().collect();
        assert!(ids.iter().all(|id| w.update(*id)));
    });
    broken.world.settle();
    let (_pipeline, run) = broken.syncing().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!run.is_finished());
    other.close().await.unwrap();
    broken.ends_equal(run).await;
}

#[tokio::test]
async fn two_writers_that_cannot_be_serialized() {
    let broken = Broken::new(900).await;
    broken
        .sql("alter system set default_transaction_isolation = 'serializable'; select pg_reload_conf()")
        .await;
    let (_one, run) = broken.syncing().await;
    let other = broken.world.pipeline();
    other.run().await.unwrap();
    broken.ends_equal(run).await;
}

#[tokio::test]
async fn a_column_that_is_gone_is_waited_for_without_a_storm() {
    let broken = Broken::new(1_000).await;
    let (pipeline, run) = broken.syncing().await;
    broken
        .sql("alter table cvsync.cv rename content_hash to hash")
        .await;
    let mut trouble = pipeline.trouble.subscribe();
    let named = trouble.wait_for(|trouble| {
        trouble
            .as_ref()
            .is_some_and(|error| error.to_string().contains("content_hash"))
    });
    tokio::time::timeout(Duration::from_secs(30), named)
        .await
        .expect("it is named")
        .unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!run.is_finished());
    assert_eq!(broken.world.rows("parked_cv").await, 0);
    broken
        .sql("alter table cvsync.cv rename hash to content_hash")
        .await;
    broken.ends_equal(run).await;
}

#[tokio::test]
async fn the_daemon_says_what_is_wrong_and_goes_on_by_itself() {
    let mut broken = Broken::new(600).await;
    let daemon = Process::run(&broken.world, &[("CVSYNC_SCHEDULE", "* * * * * *")]);
    daemon.until("/livez", |status, _| status == 200).await;
    while broken.world.detail_calls() < 100 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    broken.cluster.kill().await.unwrap();
    daemon
        .until("/readyz", |status, body| {
            status == 503 && body.contains("refused")
        })
        .await;
    broken.cluster.restart().await.unwrap();
    daemon.until("/readyz", |status, _| status == 200).await;
    daemon
        .until("/api/status", |_, body| {
            body.contains("\"lag_seconds\"") && body.contains("\"leading\"")
        })
        .await;
    daemon.until_synced().await;
    broken.world.assert_database_equals_source().await;
}
