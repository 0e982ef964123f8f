//! A backup is restored under a running daemon. The daemon notices, and the table and the reader of the feed equal the source again.

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use cvsync::demo::postgres::{self, Cluster, Stop};
use sqlx::{Connection, PgConnection, PgPool};

use crate::database_faults::private_cluster;
use crate::followers::{Downstream, LAST_NUMBER, Lost, assert_numbers_grow, until_in_phase, world};
use crate::pair::back_up;
use crate::proxy::{Proxy, Trouble};
use crate::running::until;
use crate::world::open_folder;

/// A server whose folder a test may copy and put back.
struct Volume {
    cluster: Option<Cluster>,
    options: postgres::Options,
}

impl Volume {
    async fn start(root: PathBuf, settings: &[(&str, &str)]) -> Self {
        let settings = [&[("fsync", "off")], settings].concat();
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let mut options = postgres::Options {
            data: root,
            settings: settings.into_iter().map(own).collect(),
            ..postgres::Options::default()
        };
        let cluster = Cluster::start(options.clone()).await.unwrap();
        options.port = url::Url::parse(cluster.url()).unwrap().port();
        Self {
            cluster: Some(cluster),
            options,
        }
    }

    fn cluster(&self) -> &Cluster {
        self.cluster.as_ref().unwrap()
    }

    fn data(&self) -> PathBuf {
        self.options.data.join("data")
    }

    /// Stops the server and starts it again, with what `work` has made of its folder meanwhile.
    async fn while_stopped(&mut self, work: impl AsyncFnOnce(PathBuf)) {
        let cluster = self.cluster.take().unwrap();
        cluster.stop(Stop::Fast).await.unwrap();
        work(self.data()).await;
        let started = Cluster::start(self.options.clone()).await.unwrap();
        self.cluster = Some(started);
    }
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(copied.unwrap().success());
}

/// An outage that is longer than the lease: the instance that leads afterwards is the same, and still knows what it wrote.
#[tokio::test]
async fn volume_that_is_copied_back_under_a_running_daemon_is_brought_up_to_date() {
    let folder = open_folder();
    let mut volume = Volume::start(folder.path().join("postgres"), &[]).await;
    let backup = folder.path().join("backup");
    let url = volume.cluster().url_of("cvsync");
    let world = world(&url, 200).await;
    let downstream = Downstream::of_feed(&world);
    downstream.until_in_step(&world).await;
    volume
        .while_stopped(async |data| copy(&data, &backup))
        .await;
    downstream.until_in_step(&world).await;
    let kept = world.count(LAST_NUMBER).await;
    let lost = Lost::happen(&world, 10);
    downstream.until_in_step(&world).await;
    downstream.assert_all_equal_the_source(&world).await;
    let highest = downstream.feed.position();
    volume
        .while_stopped(async |data| {
            fs::remove_dir_all(&data).unwrap();
            copy(&backup, &data);
            until_in_phase(&downstream.daemon, "standby").await;
            lost.revert(&world);
        })
        .await;
    downstream.until_in_step(&world).await;
    downstream.assert_all_equal_the_source(&world).await;
    assert_numbers_grow(&world, kept, highest).await;
    downstream.assert_noticed(1).await;
}

/// Lets the server put the segments of its write-ahead log into this folder, and take them from there.
fn archive(folder: &Path) -> (String, String) {
    fs::create_dir(folder).unwrap();
    fs::set_permissions(folder, Permissions::from_mode(0o777)).unwrap();
    let folder = folder.display();
    (format!("cp %p {folder}/%f"), format!("cp {folder}/%f %p"))
}

/// Waits until everything that is committed by now is in the archive.
async fn until_archived(database: &PgPool) {
    let segment = "select pg_walfile_name(pg_current_wal_insert_lsn()), pg_switch_wal()::text";
    let (segment, _): (String, String) = sqlx::query_as(segment).fetch_one(database).await.unwrap();
    until("the log is archived", async || {
        let last = "select coalesce(last_archived_wal >= $1, false) from pg_stat_archiver";
        let archived = sqlx::query_scalar(last).bind(&segment);
        archived.fetch_one(database).await.unwrap()
    })
    .await;
}

#[tokio::test]
async fn recovery_to_a_point_in_time_under_a_running_daemon_is_brought_up_to_date() {
    let folder = open_folder();
    let (keep, give_back) = archive(&folder.path().join("archive"));
    let settings = [
        ("archive_mode", "on"),
        ("archive_command", &keep),
        ("restore_command", &give_back),
    ];
    let mut volume = Volume::start(folder.path().join("postgres"), &settings).await;
    let backup = folder.path().join("backup");
    let world = world(&volume.cluster().url_of("cvsync"), 200).await;
    let downstream = Downstream::of_feed(&world);
    downstream.until_in_step(&world).await;
    back_up(volume.cluster(), &backup).await;
    let kept = world.any_live_id();
    world.source.world(|world| assert!(world.update(kept)));
    downstream.until_in_step(&world).await;
    let kept = world.count(LAST_NUMBER).await;
    let target: String = sqlx::query_scalar("select clock_timestamp()::text")
        .fetch_one(&world.database)
        .await
        .unwrap();
    let lost = Lost::happen(&world, 10);
    downstream.until_in_step(&world).await;
    downstream.assert_all_equal_the_source(&world).await;
    let highest = downstream.feed.position();
    until_archived(&world.database).await;
    volume
        .while_stopped(async |data| {
            fs::remove_dir_all(&data).unwrap();
            copy(&backup.join("data"), &data);
            fs::write(data.join("recovery.signal"), "").unwrap();
            let target =
                format!("recovery_target_time = '{target}'\nrecovery_target_action = 'promote'\n");
            let settings = data.join("postgresql.auto.conf");
            let mut settings = OpenOptions::new().append(true).open(settings).unwrap();
            settings.write_all(target.as_bytes()).unwrap();
            lost.revert(&world);
        })
        .await;
    downstream.until_in_step(&world).await;
    downstream.assert_all_equal_the_source(&world).await;
    assert_numbers_grow(&world, kept, highest).await;
    downstream.assert_noticed(1).await;
}

/// One of PostgreSQL's programs for its users, beside those of the newest server or on the PATH.
pub(crate) fn program(name: &str) -> PathBuf {
    let version = |folder: &PathBuf| -> Option<u32> { folder.file_name()?.to_str()?.parse().ok() };
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut versions: Vec<PathBuf> = versions.flatten().map(|entry| entry.path()).collect();
    versions.sort_by_key(|folder| std::cmp::Reverse(version(folder)));
    let beside = versions.into_iter().map(|folder| folder.join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut all = beside.chain(std::env::split_paths(&path));
    let found = all.find_map(|folder| Some(folder.join(name)).filter(|program| program.is_file()));
    found.unwrap_or_else(|| panic!("install {name}, which comes with postgresql-client"))
}

fn run(program: &Path, args: &[&str]) {
    let done = Command::new(program).args(args).output().unwrap();
    assert!(done.status.success(), "{done:?}");
}

#[tokio::test]
async fn dump_that_is_restored_under_a_running_daemon_is_brought_up_to_date() {
    // `xtask/postgres_versions` sets it where pg_dump has another version than the server.
    if std::env::var_os("CVSYNC_TEST_WITHOUT_DUMP").is_some() {
        return;
    }
    let (pg_dump, psql) = (program("pg_dump"), program("psql"));
    let (folder, cluster) = private_cluster().await;
    let dump = folder.path().join("dump.sql");
    let dump = dump.to_str().unwrap();
    let direct = cluster.url_of("cvsync");
    let mut url = url::Url::parse(&direct).unwrap();
    let proxy = Proxy::to(SocketAddr::from(([127, 0, 0, 1], url.port().unwrap()))).await;
    url.set_port(Some(proxy.address().port())).unwrap();
    let world = world(url.as_str(), 200).await;
    let downstream = Downstream::of_feed(&world);
    downstream.until_in_step(&world).await;
    let kept = world.count(LAST_NUMBER).await;
    run(&pg_dump, &["--no-owner", "--file", dump, &direct]);
    let lost = Lost::happen(&world, 10);
    downstream.until_in_step(&world).await;
    downstream.assert_all_equal_the_source(&world).await;
    let highest = downstream.feed.position();
    proxy.set(Trouble::Down);
    let mut admin = PgConnection::connect(cluster.url()).await.unwrap();
    for statement in [
        "drop database cvsync with (force)",
        "create database cvsync",
    ] {
        let done = sqlx::raw_sql(statement).execute(&mut admin).await;
        done.unwrap();
    }
    let stop = "ON_ERROR_STOP=1";
    run(
        &psql,
        &[
            "--quiet", "--set", stop, "--file", dump, "--dbname", &direct,
        ],
    );
    lost.revert(&world);
    proxy.set(Trouble::None);
    downstream.until_in_step(&world).await;
    downstream.assert_all_equal_the_source(&world).await;
    assert_numbers_grow(&world, kept, highest).await;
    downstream.assert_noticed(1).await;
}
