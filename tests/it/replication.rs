//! Another PostgreSQL follows cvsync's with the files of `deploy/replication`, and is equal, deletes included.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use cvsync::demo::postgres::{Cluster, Options, Stop};
use cvsync::simulator;
use sqlx::PgPool;
use tokio::process::Command;

use crate::running::until;
use crate::world::{World, new_database};

/// Not one that needs no care in a connection string.
const PASSWORD: &str = r"it's a \ canary";

/// Every value of every replicated row, as text.
async fn rows(database: &PgPool, table: &str) -> Vec<String> {
    let all = format!("select replicated::text from cvsync.{table} as replicated order by 1");
    sqlx::query_scalar(sqlx::AssertSqlSafe(all))
        .fetch_all(database)
        .await
        .unwrap()
}

async fn until_equal(world: &World, other: &PgPool) {
    for table in ["cv", "cv_change"] {
        until("the other one is equal", async || {
            rows(&world.database, table).await == rows(other, table).await
        })
        .await;
    }
}

#[tokio::test]
async fn another_postgresql_follows_with_the_files_that_are_given_deletes_included() {
    let folder = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o711))
        .tempdir()
        .unwrap();
    let settings = [("fsync", "off"), ("wal_level", "logical")];
    let cluster = Cluster::start(Options {
        data: folder.path().join("postgres"),
        settings: settings
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ..Options::default()
    })
    .await
    .unwrap();
    let publisher = cluster.url_of("cvsync");
    let world = World::on(
        &publisher,
        simulator::Options {
            candidates: 40,
            ..simulator::Options::default()
        },
    )
    .await;
    world.sync().await;

    let subscriber = new_database().await;
    let at = url::Url::parse(&publisher).unwrap();
    let conninfo = format!(
        "host=127.0.0.1 port={} dbname=cvsync sslmode=disable",
        at.port().unwrap()
    );
    // Rows that exist already stay as they are.
    for _ in 0..2 {
        let done = Command::new("deploy/replication/subscribe")
            .env("PUBLISHER", &publisher)
            .env("SUBSCRIBER", &subscriber)
            .env("PUBLISHER_CONNINFO", &conninfo)
            .env("CVSYNC_REPLICATION_PASSWORD", PASSWORD)
            .output()
            .await
            .unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "{said}");
        assert!(!said.contains("canary"), "{said}");
    }
    let other = PgPool::connect(&subscriber).await.unwrap();
    until_equal(&world, &other).await;
    let (cvs, changes) = (world.live(), rows(&other, "cv_change").await.len());
    assert_eq!(rows(&other, "cv").await.len(), cvs);

    let ids: Vec<_> = world.source.world(|w| w.live_ids().take(20).collect());
    world.source.world(|w| {
        assert!(ids[..10].iter().all(|id| w.update(*id)));
        assert!(ids[10..].iter().all(|id| w.remove(*id)));
    });
    world.settle();
    world.sync().await;
    world.assert_database_equals_source().await;
    until_equal(&world, &other).await;
    assert_eq!(rows(&other, "cv").await.len(), cvs - 10);
    assert_eq!(rows(&other, "cv_change").await.len(), changes + 20);
    world.until_searchable().await;
    until("who is gone cannot be found there either", async || {
        rows(&other, "cv_search").await.len() == cvs - 10
    })
    .await;

    // Rows that the feed's retention removes stay at the subscriber.
    let oldest = "delete from cvsync.cv_change where seq in (select seq from cvsync.cv_change order by seq limit 40)";
    sqlx::raw_sql(oldest)
        .execute(&world.database)
        .await
        .unwrap();
    let id = ids[0];
    world.source.world(|w| w.update(id));
    world.settle();
    world.sync().await;
    until("the next change has come", async || {
        rows(&other, "cv_change").await.len() == changes + 21
    })
    .await;

    sqlx::raw_sql("drop subscription cvsync")
        .execute(&other)
        .await
        .unwrap();
    let slots = world
        .count("select count(*) from pg_replication_slots")
        .await;
    assert_eq!(slots, 0, "WAL would be kept for nobody");
    cluster.stop(Stop::Immediate).await.unwrap();
}
