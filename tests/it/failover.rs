//! The database loses commits that it had acknowledged: a standby that lags takes over, or a backup is restored. The daemon
//! notices, the table equals the source again, and so does each copy downstream. No comparison with the whole source helps.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use chrono::Utc;
use cvsync::demo::postgres::{self, Cluster, Stop};
use cvsync::simulator::{Fault, Operation, Options};
use serde_json::Value;
use sqlx::PgConnection;
use sqlx::{AssertSqlSafe, Connection};
use uuid::Uuid;

use crate::database_faults::private_cluster;
use crate::downstream::{FeedReader, MirrorClient, WebhookReceiver, difference};
use crate::pair::Pair;
use crate::process::Process;
use crate::proxy::{Proxy, Trouble};
use crate::running::{PATIENCE, until};
use crate::world::{World, open_folder};

/// A sync each second and nothing else: no comparison, no second listing, no overlap, nothing asked for again.
const SYNC_ALONE: &[(&str, &str)] = &[
    ("CVSYNC_SCHEDULE", "* * * * * *"),
    ("CVSYNC_SETTLE_LAG", "1s"),
    ("CVSYNC_WINDOW_OVERLAP", "0s"),
    ("CVSYNC_RECONCILE_SCHEDULE", "off"),
    ("CVSYNC_RELIST", "off"),
    ("CVSYNC_RECHECK_AFTER", "off"),
    TOKEN,
];

const TOKEN: (&str, &str) = ("CVSYNC_ADMIN_TOKEN", "canary-open-sesame-of-the-failover");
const SECRET: &str = "whsec_Y2FuYXJ5LWtleS1vZi10aGUtd2ViaG9vay10ZXN0";

const STORED: &str = "select count(*) from cvsync.cv";
const LAST_NUMBER: &str = "select greatest((select max(seq) from cvsync.cv_change), (select removed_seq from cvsync.feed))";

/// An empty schema at this address, and a source with so many CVs.
async fn world(url: &str, candidates: u32) -> World {
    let options = Options {
        candidates,
        ..Options::default()
    };
    World::on(url, options).await
}

/// The daemon, and everyone who follows it.
struct Downstream {
    daemon: Process,
    feed: FeedReader,
    webhook: Option<WebhookReceiver>,
    mirror: Option<MirrorClient>,
}

impl Downstream {
    /// The daemon and a reader of the feed.
    fn of_feed(world: &World) -> Self {
        Self {
            daemon: Process::run(world, SYNC_ALONE),
            feed: FeedReader::start(world.url()),
            webhook: None,
            mirror: None,
        }
    }

    /// The same with a receiver of the webhook.
    async fn with_webhook(world: &World) -> Self {
        let receiver = WebhookReceiver::start(world.url()).await;
        let webhook = [
            ("CVSYNC_WEBHOOK_URL", receiver.url()),
            ("CVSYNC_WEBHOOK_SECRET", SECRET),
        ];
        Self {
            daemon: Process::run(world, &[SYNC_ALONE, &webhook].concat()),
            feed: FeedReader::start(world.url()),
            webhook: Some(receiver),
            mirror: None,
        }
    }

    /// The same with a client of the mirror as well.
    async fn of_every_kind(world: &World) -> Self {
        let mut downstream = Self::with_webhook(world).await;
        let mirror = MirrorClient::start(downstream.daemon.address(), TOKEN.1);
        downstream.mirror = Some(mirror);
        downstream
    }

    /// Waits until the watermark has passed everything that the source did so far, and everyone has read as far as they
    /// know of.
    async fn until_in_step(&self, world: &World) {
        let (now, begun) = (world.source_clock.now(), Instant::now());
        while world.watermark().await < Some(now) {
            let log = || self.daemon.log();
            assert!(begun.elapsed() < PATIENCE, "not in step:\n{}", log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let last = world.count(LAST_NUMBER).await;
        until("the feed is read", async || self.feed.position() >= last).await;
        if self.webhook.is_some() {
            let place = "select seq from cvsync.feed_consumer where name = 'webhook'";
            let delivered = async || world.count(place).await >= last;
            until("the webhook is delivered", delivered).await;
        }
        if let Some(mirror) = &self.mirror {
            let now = Utc::now();
            until("the mirror is read", async || mirror.until() >= now).await;
        }
    }

    /// Holds the table and each copy to the source, document by document.
    async fn assert_all_equal_the_source(&self, world: &World) {
        let expected = world.source.world(|world| world.live_documents());
        let table = world.documents().await;
        let webhook = self.webhook.as_ref().map(WebhookReceiver::documents);
        let mirror = self.mirror.as_ref().map(MirrorClient::documents);
        let found = [
            ("the table", Some(table)),
            ("the reader of the feed", Some(self.feed.documents())),
            ("the receiver of the webhook", webhook),
            ("the client of the mirror", mirror),
        ];
        let wrong: Vec<String> = found
            .iter()
            .filter_map(|(who, found)| {
                let difference = difference(found.as_ref()?, &expected)?;
                Some(format!("{who}: {difference}"))
            })
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert_eq!(world.rows("parked_cv").await, 0);
    }

    /// How often the daemon has noticed that commits were lost.
    async fn losses(&self) -> u64 {
        let metrics = self.daemon.get("/metrics").await.unwrap().1;
        let value = metrics
            .lines()
            .find_map(|line| line.strip_prefix("cvsync_history_lost_total "));
        value.map_or(0, |value| value.parse().unwrap())
    }

    /// Holds the daemon to have said each loss once.
    async fn assert_noticed(&self, losses: u64) {
        assert_eq!(self.losses().await, losses, "{}", self.daemon.log());
        let log = self.daemon.log();
        let said = log
            .lines()
            .filter(|line| line.contains("the database lost commits"));
        assert_eq!(said.count() as u64, losses, "{log}");
    }
}

/// Changes of the source that are stored and read downstream, and then lost.
struct Lost {
    reverted: (Uuid, String),
    reborn: (Uuid, String),
    passing: Uuid,
}

impl Lost {
    /// The source changes: this many CVs, and some that are new or removed.
    fn happen(world: &World, updates: usize) -> Self {
        world.source.world(|world| {
            let ids: Vec<Uuid> = world.live_ids().take(updates + 5).collect();
            let text = |id| (id, world.document(id).unwrap());
            let (reverted, reborn) = (text(ids[0]), text(ids[1]));
            assert!(world.update(reverted.0) && world.remove(reborn.0));
            assert!(ids[2..5].iter().all(|id| world.remove(*id)));
            assert!(ids[5..].iter().all(|id| world.update(*id)));
            world.add();
            Self {
                reverted,
                reborn,
                passing: world.add(),
            }
        })
    }

    /// The source returns to states that the database still has: the changes in between must reach the copies all the same.
    fn revert(self, world: &World) {
        world.source.world(|world| {
            let now = world.now();
            for (id, text) in [self.reverted, self.reborn] {
                world.put(id, text, now);
            }
            assert!(world.remove(self.passing));
        });
    }
}

/// Holds the numbers since a loss to be higher than any number before: `kept` is the last that is not lost.
async fn assert_numbers_grow(world: &World, kept: i64, highest: i64) {
    let next = format!("select coalesce(min(seq), 0) from cvsync.cv_change where seq > {kept}");
    let next: i64 = sqlx::query_scalar(AssertSqlSafe(next))
        .fetch_one(&world.database)
        .await
        .unwrap();
    assert!(next > highest, "{next} came after {highest}");
}

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

async fn phase(daemon: &Process) -> Option<String> {
    let (_, body) = daemon.get("/api/status").await?;
    let status: Value = serde_json::from_str(&body).ok()?;
    Some(status["phase"].as_str()?.to_owned())
}

async fn until_in_phase(daemon: &Process, wanted: &str) {
    let begun = Instant::now();
    while phase(daemon).await.as_deref() != Some(wanted) {
        let log = || daemon.log();
        assert!(begun.elapsed() < PATIENCE, "not {wanted}:\n{}", log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
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

/// A server whose folder a test may copy and put back.
struct Volume {
    cluster: Option<Cluster>,
    port: u16,
    root: PathBuf,
}

impl Volume {
    async fn start(root: PathBuf, port: Option<u16>) -> Self {
        let options = postgres::Options {
            data: root.clone(),
            settings: vec![("fsync".to_owned(), "off".to_owned())],
            port,
            ..postgres::Options::default()
        };
        let cluster = Cluster::start(options).await.unwrap();
        let url = url::Url::parse(cluster.url()).unwrap();
        Self {
            port: url.port().unwrap(),
            cluster: Some(cluster),
            root,
        }
    }

    /// Stops the server and starts it again, with what `work` has made of its folder meanwhile.
    async fn while_stopped(&mut self, work: impl AsyncFnOnce(PathBuf)) {
        let cluster = self.cluster.take().unwrap();
        cluster.stop(Stop::Fast).await.unwrap();
        work(self.root.join("data")).await;
        *self = Self::start(self.root.clone(), Some(self.port)).await;
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
    let mut volume = Volume::start(folder.path().join("postgres"), None).await;
    let backup = folder.path().join("backup");
    let url = volume.cluster.as_ref().unwrap().url_of("cvsync");
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

/// One of PostgreSQL's programs for its users, beside those of the newest server or on the PATH.
fn program(name: &str) -> PathBuf {
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
