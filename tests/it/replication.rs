//! Another PostgreSQL follows cvsync's with the files of `deploy/replication`, and is equal, deletes included.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use cvsync::demo::postgres::{Cluster, Options, Stop};
use cvsync::simulator;
use sqlx::PgPool;
use tempfile::TempDir;
use tokio::process::Command;

use crate::running::until;
use crate::world::{World, new_database};

/// Not one that needs no care in a connection string.
const PASSWORD: &str = r"it's a \ canary";

/// cvsync's server, which may replicate, and a database elsewhere.
struct Pair {
    world: World,
    cluster: Cluster,
    publisher: String,
    subscriber: String,
    other: PgPool,
    _folder: TempDir,
}

impl Pair {
    async fn start() -> Self {
        let folder = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o711))
            .tempdir()
            .unwrap();
        let settings = [
            ("fsync", "off"),
            ("wal_level", "logical"),
            ("max_slot_wal_keep_size", "16MB"),
            ("min_wal_size", "32MB"),
            ("max_wal_size", "32MB"),
        ];
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
        let options = simulator::Options {
            candidates: 40,
            ..simulator::Options::default()
        };
        let world = World::on(&publisher, options).await;
        world.sync().await;
        let subscriber = new_database().await;
        Self {
            other: PgPool::connect(&subscriber).await.unwrap(),
            world,
            cluster,
            publisher,
            subscriber,
            _folder: folder,
        }
    }

    /// Runs the script and returns whether it succeeded, and what it printed.
    async fn subscribe(&self, arguments: &[&str]) -> (bool, String) {
        let port = url::Url::parse(&self.publisher).unwrap().port().unwrap();
        let conninfo = format!("host=127.0.0.1 port={port} dbname=cvsync sslmode=disable");
        let done = Command::new("deploy/replication/subscribe")
            .args(arguments)
            .env("PUBLISHER", &self.publisher)
            .env("SUBSCRIBER", &self.subscriber)
            .env("PUBLISHER_CONNINFO", &conninfo)
            .env("CVSYNC_REPLICATION_PASSWORD", PASSWORD)
            .output()
            .await
            .unwrap();
        let said = [done.stdout, done.stderr].map(|part| String::from_utf8(part).unwrap());
        let said = said.concat();
        assert!(!said.contains("canary"), "{said}");
        (done.status.success(), said)
    }

    async fn must_subscribe(&self, arguments: &[&str]) {
        let (done, said) = self.subscribe(arguments).await;
        assert!(done && said.contains("Subscribed."), "{said}");
    }

    async fn must_refuse(&self, reason: &str) {
        let (done, said) = self.subscribe(&[]).await;
        assert!(!done && said.contains(reason), "{said}");
        assert!(said.contains("--anew"), "{said}");
    }

    /// Changes ten CVs at the source, removes ten, and syncs.
    async fn change_and_remove(&self) {
        let source = &self.world.source;
        let ids: Vec<_> = source.world(|w| w.live_ids().take(20).collect());
        source.world(|w| {
            assert!(ids[..10].iter().all(|id| w.update(*id)));
            assert!(ids[10..].iter().all(|id| w.remove(*id)));
        });
        self.world.settle();
        self.world.sync().await;
        self.world.assert_database_equals_source().await;
    }

    async fn at_publisher(&self, statement: &'static str) {
        sqlx::raw_sql(statement)
            .execute(&self.world.database)
            .await
            .unwrap();
    }

    async fn at_subscriber(&self, statement: &'static str) {
        sqlx::raw_sql(statement).execute(&self.other).await.unwrap();
    }

    /// Removes the oldest rows of the feed, as its retention does.
    async fn remove_old_changes(&self) {
        self.at_publisher(
            "delete from cvsync.cv_change where seq in (select seq from cvsync.cv_change order by seq limit 30)",
        )
        .await;
    }

    async fn until_equal(&self) {
        for table in ["cv", "cv_change"] {
            until("the other one is equal", async || {
                rows(&self.world.database, table).await == rows(&self.other, table).await
            })
            .await;
        }
    }

    async fn slots(&self) -> i64 {
        self.world
            .count("select count(*) from pg_replication_slots")
            .await
    }
}

/// Every value of every replicated row, as text.
async fn rows(database: &PgPool, table: &str) -> Vec<String> {
    let all = format!("select replicated::text from cvsync.{table} as replicated order by 1");
    sqlx::query_scalar(sqlx::AssertSqlSafe(all))
        .fetch_all(database)
        .await
        .unwrap()
}

#[tokio::test]
async fn another_postgresql_follows_with_the_files_that_are_given_deletes_included() {
    let pair = Pair::start().await;
    let (world, other) = (&pair.world, &pair.other);
    // Rows that exist already stay as they are.
    for _ in 0..2 {
        pair.must_subscribe(&[]).await;
    }
    pair.until_equal().await;
    let (cvs, changes) = (world.live(), rows(other, "cv_change").await.len());
    assert_eq!(rows(other, "cv").await.len(), cvs);

    pair.change_and_remove().await;
    pair.until_equal().await;
    assert_eq!(rows(other, "cv").await.len(), cvs - 10);
    assert_eq!(rows(other, "cv_change").await.len(), changes + 20);
    world.until_searchable().await;
    until("who is gone cannot be found there either", async || {
        rows(other, "cv_search").await.len() == cvs - 10
    })
    .await;

    // Rows that the feed's retention removes stay at the subscriber.
    pair.remove_old_changes().await;
    let id = world.source.world(|w| w.live_ids().next().unwrap());
    world.source.world(|w| w.update(id));
    world.settle();
    world.sync().await;
    until("the next change has come", async || {
        rows(other, "cv_change").await.len() == changes + 21
    })
    .await;

    pair.at_subscriber("drop subscription cvsync").await;
    assert_eq!(pair.slots().await, 0, "WAL would be kept for nobody");
    pair.cluster.stop(Stop::Immediate).await.unwrap();
}

#[tokio::test]
async fn subscription_that_lost_its_slot_is_reported_and_set_up_anew_deletes_included() {
    let pair = Pair::start().await;
    let other = &pair.other;
    pair.must_subscribe(&[]).await;
    let changes = rows(other, "cv_change").await.len();

    // The subscriber is away for longer than the slot keeps WAL.
    pair.at_subscriber("alter subscription cvsync disable")
        .await;
    until("the slot is not in use", async || {
        let active = "select count(*) from pg_replication_slots where active";
        pair.world.count(active).await == 0
    })
    .await;
    pair.change_and_remove().await;
    until("the slot is lost", async || {
        let wal = "create table if not exists wal (n int); insert into wal select generate_series(1, 10000); \
                   select pg_switch_wal(); checkpoint";
        pair.at_publisher(wal).await;
        let lost = "select count(*) from pg_replication_slots where wal_status = 'lost'";
        pair.world.count(lost).await == 1
    })
    .await;
    pair.at_subscriber("alter subscription cvsync enable").await;
    pair.must_refuse("the slot is lost").await;

    pair.remove_old_changes().await;
    pair.must_subscribe(&["--anew"]).await;
    assert_eq!(
        rows(&pair.world.database, "cv").await,
        rows(other, "cv").await,
        "the deleted CVs stay there"
    );
    let kept = rows(other, "cv_change").await.len();
    assert_eq!(kept, changes + 20, "changes are lost or doubled");
    assert_eq!(pair.slots().await, 1);

    // Somebody dropped the slot, or a failover did.
    pair.at_subscriber("alter subscription cvsync disable")
        .await;
    until("the slot can be dropped", async || {
        let drop = "select pg_drop_replication_slot('cvsync')";
        sqlx::raw_sql(drop)
            .execute(&pair.world.database)
            .await
            .is_ok()
    })
    .await;
    pair.must_refuse("its slot does not").await;
    pair.must_subscribe(&["--anew"]).await;
    pair.change_and_remove().await;
    until("it follows again", async || {
        rows(&pair.world.database, "cv").await == rows(other, "cv").await
    })
    .await;

    // Rows without a subscription: a copy into them would fail, or leave deleted CVs there.
    pair.at_subscriber("drop subscription cvsync").await;
    pair.must_refuse("has rows").await;
    pair.must_subscribe(&["--anew"]).await;
    pair.at_subscriber("drop subscription cvsync").await;
    pair.cluster.stop(Stop::Immediate).await.unwrap();
}
