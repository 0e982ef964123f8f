//! Patroni with etcd and HAProxy, whose primary is killed again and again while the source changes 50 times a second.
//!
//! `xtask/patroni` runs these tests, and names the Debian packages that they need.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use cvsync::simulator::Options;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::sleep;

use crate::followers::{Changes, Downstream};
use crate::histories::number;
use crate::restore::program;
use crate::running::until;
use crate::world::{World, open_folder};

/// Number of kills, unless `CVSYNC_TEST_KILLS` gives another.
const KILLS: u64 = 25;

/// Calls per minute for each operation: room for 50 changes a second, and to catch up after an outage.
const QUOTA: u32 = 6_000;

/// Limit for a leader that works again, from the first response of the new primary.
const LEADING: Duration = Duration::from_secs(30);

const PASSWORD: &str = "of-the-cluster-in-the-test";

#[tokio::test]
#[ignore = "needs Patroni, etcd and HAProxy: run xtask/patroni"]
async fn nothing_acknowledged_is_lost_by_kills_of_a_synchronous_primary() {
    let figures = kill_again_and_again(true).await;
    assert_eq!(figures.lost, 0, "a reader saw changes that are gone");
    assert_eq!(figures.noticed, 0, "the daemon missed commits");
}

#[tokio::test]
#[ignore = "needs Patroni, etcd and HAProxy: run xtask/patroni"]
async fn everyone_equals_the_source_after_kills_of_an_asynchronous_primary() {
    kill_again_and_again(false).await;
}

struct Figures {
    /// Kills that took changes from a reader that had seen them.
    lost: usize,
    /// How often the daemon noticed that commits were lost.
    noticed: u64,
}

async fn kill_again_and_again(synchronous: bool) -> Figures {
    let mut cluster = Cluster::start(synchronous).await;
    let mut world = World::on(
        &cluster.url(),
        Options {
            candidates: 1_000,
            rate_per_minute: Some(QUOTA),
            ..Options::default()
        },
    )
    .await;
    world.set_all(vec![
        ("CVSYNC_API_RATE_PER_MINUTE", QUOTA.to_string()),
        ("CVSYNC_MAX_DELETE_SHARE", "1".to_owned()),
    ]);
    let downstream = Downstream::of_every_kind(&world).await;
    downstream.until_in_step(&world).await;
    let changes = Changes::start(world.source.clone());
    let mut lost = 0;
    let kills = number("CVSYNC_TEST_KILLS").unwrap_or(KILLS);
    for kill in 1..=kills {
        cluster.until_replicated().await;
        sleep(Duration::from_millis(fastrand::u64(0..5_000))).await;
        let whole_node = fastrand::u8(0..5) == 0;
        let killed = Instant::now();
        let primary = cluster.kill_primary(whole_node).await;
        let read = downstream.feed.position();
        cluster.until_promoted(primary).await;
        let promoted = Instant::now();
        let led = async || world.count(LED).await == 1;
        until("a leader works", led).await;
        let leading = promoted.elapsed();
        let is_lost = !is_there(&world, read).await;
        lost += usize::from(is_lost);
        changes.pause(true);
        downstream.until_in_step(&world).await;
        let healed = promoted.elapsed();
        downstream.assert_all_equal_the_source(&world).await;
        println!(
            "kill {kill}: {}, changes lost: {is_lost}; promoted after {:.1} s, a leader works {:.1} s later, all equal {:.1} s later",
            if whole_node { "the node" } else { "the server" },
            (promoted - killed).as_secs_f64(),
            leading.as_secs_f64(),
            healed.as_secs_f64(),
        );
        assert!(leading < LEADING, "{}", downstream.daemon.log());
        changes.pause(false);
        cluster.revive(primary);
    }
    let calls = world.source.call_log();
    let refused = calls.iter().filter(|call| call.status == Some(429)).count();
    let noticed = downstream.losses().await;
    println!(
        "synchronous: {synchronous}; {kills} kills, {lost} with lost changes, {noticed} noticed; {} calls, {refused} over the quota",
        calls.len(),
    );
    assert_eq!(refused, 0);
    Figures { lost, noticed }
}

/// Whether the feed still has the change with this number. Retries while HAProxy still closes connections.
async fn is_there(world: &World, number: i64) -> bool {
    let mut there = None;
    until("the feed answers", async || {
        let change = "select exists (select from cvsync.cv_change where seq = $1)";
        let change = sqlx::query_scalar(change).bind(number);
        there = change.fetch_one(&world.database).await.ok();
        there.is_some()
    })
    .await;
    there.unwrap()
}

/// A leader has taken the lease from the server that answers.
const LED: &str = "select count(*) from cvsync.lease where home = cvsync.home() and expires_at > clock_timestamp()";

/// Two servers under Patroni, and one address that follows the primary.
struct Cluster {
    nodes: [Node; 2],
    port: u16,
    synchronous: bool,
    _services: [Child; 2],
    _folder: TempDir,
}

struct Node {
    patroni: Option<Child>,
    folder: PathBuf,
    database: PgPool,
    /// Patroni's own port.
    api: u16,
}

impl Cluster {
    async fn start(synchronous: bool) -> Self {
        let folder = open_folder();
        let root = folder.path();
        let (etcd_port, peer_port, port) = (free_port(), free_port(), free_port());
        let (client, peer) = (local(etcd_port), local(peer_port));
        let etcd = service("etcd", &root.join("etcd.log"))
            .arg("--data-dir")
            .arg(root.join("etcd"))
            .args([
                "--listen-client-urls",
                &client,
                "--advertise-client-urls",
                &client,
            ])
            .args([
                "--listen-peer-urls",
                &peer,
                "--initial-advertise-peer-urls",
                &peer,
            ])
            .args([
                "--initial-cluster",
                &format!("default={peer}"),
                "--unsafe-no-fsync",
            ])
            .spawn()
            .unwrap();
        let ports = [1, 2].map(|_| (free_port(), free_port()));
        let nodes = [1, 2].map(|number| {
            let (server, api) = ports[number - 1];
            let folder = root.join(format!("node{number}"));
            fs::create_dir(&folder).unwrap();
            let settings = settings(&folder, number, (server, api), etcd_port, synchronous);
            fs::write(folder.join("patroni.yml"), settings).unwrap();
            give(&folder);
            let url = format!("postgres://postgres:{PASSWORD}@127.0.0.1:{server}/postgres");
            let options = PgPoolOptions::new().acquire_timeout(Duration::from_secs(5));
            Node {
                patroni: Some(patroni(&folder)),
                folder,
                database: options.connect_lazy(&url).unwrap(),
                api,
            }
        });
        let proxy = root.join("haproxy.cfg");
        fs::write(&proxy, routes(port, ports)).unwrap();
        let haproxy = service("haproxy", &root.join("haproxy.log"))
            .arg("-f")
            .arg(&proxy)
            .spawn()
            .unwrap();
        let cluster = Self {
            nodes,
            port,
            synchronous,
            _services: [etcd, haproxy],
            _folder: folder,
        };
        cluster.until_replicated().await;
        cluster
    }

    /// The address that follows the primary.
    fn url(&self) -> String {
        format!(
            "postgres://postgres:{PASSWORD}@127.0.0.1:{}/postgres",
            self.port
        )
    }

    /// Waits until the standby receives, and Patroni would promote it.
    async fn until_replicated(&self) {
        let database = PgPool::connect_lazy(&self.url()).unwrap();
        let streaming = "select count(*) from pg_stat_replication where state = 'streaming'";
        let role = if self.synchronous {
            "synchronous"
        } else {
            "replica"
        };
        until("the standby follows", async || {
            let standbys = sqlx::query_scalar(streaming).fetch_one(&database).await;
            let [first, second] = &self.nodes;
            standbys.unwrap_or(0_i64) == 1 && (first.is(role).await || second.is(role).await)
        })
        .await;
        database.close().await;
    }

    /// Kills the primary's server, and Patroni as well if it is the whole node. Returns the number of the node.
    async fn kill_primary(&mut self, whole_node: bool) -> usize {
        let first = self.nodes[0].is_primary().await;
        let number = usize::from(!first);
        let node = &mut self.nodes[number];
        assert!(first || node.is_primary().await, "there is no primary");
        if whole_node {
            node.patroni.take().unwrap().kill().await.unwrap();
        }
        node.kill_server();
        number
    }

    /// Waits until the other node is the primary, also at the address that follows it.
    async fn until_promoted(&self, killed: usize) {
        let node = &self.nodes[1 - killed];
        until("the standby is promoted", async || node.is_primary().await).await;
        let front = PgPool::connect_lazy(&self.url()).unwrap();
        let answers = async || sqlx::query("select").execute(&front).await.is_ok();
        until("the address leads there", answers).await;
        front.close().await;
    }

    /// Starts a node again that was killed as a whole.
    fn revive(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        let folder = &node.folder;
        node.patroni.get_or_insert_with(|| patroni(folder));
    }
}

impl Node {
    /// Whether Patroni says that its server has this role.
    async fn is(&self, role: &str) -> bool {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("{}/{role}", local(self.api));
        let answer = client.get(url).timeout(Duration::from_secs(1)).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    async fn is_primary(&self) -> bool {
        let primary = sqlx::query_scalar("select not pg_is_in_recovery()");
        primary.fetch_one(&self.database).await.unwrap_or(false)
    }

    fn kill_server(&self) {
        let Ok(text) = fs::read_to_string(self.folder.join("data/postmaster.pid")) else {
            return;
        };
        let pid = text.lines().next().unwrap();
        // It may have ended already.
        let _ = std::process::Command::new("kill")
            .args(["-KILL", pid])
            .status();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            println!("{}", lines[lines.len().saturating_sub(60)..].join("\n"));
        }
        if let Some(patroni) = &mut self.patroni {
            // Otherwise it would start the server again.
            let _ = patroni.start_kill();
        }
        self.kill_server();
    }
}

/// A port outside the range from which outgoing connections get theirs.
fn free_port() -> u16 {
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let mut ports = std::iter::repeat_with(|| fastrand::u16(12_000..20_000));
    ports.find(free).unwrap()
}

fn local(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// PostgreSQL refuses to run as root.
fn give(folder: &Path) {
    if is_root() {
        let mut chown = std::process::Command::new("chown");
        let done = chown.args(["-R", "postgres:postgres"]).arg(folder).status();
        assert!(done.unwrap().success());
    }
}

/// A program that ends with the test, and writes to this log.
fn service(program: &str, log: &Path) -> Command {
    let log = File::create(log).unwrap();
    let mut command = Command::new(program);
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .kill_on_drop(true);
    command
}

fn patroni(folder: &Path) -> Child {
    let log = folder.join("log");
    let mut command = if is_root() {
        let mut command = service("setpriv", &log);
        command.args([
            "--reuid=postgres",
            "--regid=postgres",
            "--clear-groups",
            "patroni",
        ]);
        command
    } else {
        service("patroni", &log)
    };
    let settings = folder.join("patroni.yml");
    command.arg(settings).current_dir(folder).spawn().unwrap()
}

/// Patroni's settings. A killed server is not waited for: the standby takes over.
fn settings(
    folder: &Path,
    number: usize,
    (server, api): (u16, u16),
    etcd: u16,
    synchronous: bool,
) -> String {
    let programs = program("pg_basebackup");
    let programs = programs.parent().unwrap().display();
    let folder = folder.display();
    format!(
        "scope: cvsync
name: node{number}
restapi: {{listen: '127.0.0.1:{api}', connect_address: '127.0.0.1:{api}'}}
etcd3: {{host: '127.0.0.1:{etcd}'}}
bootstrap:
  dcs:
    ttl: 20
    loop_wait: 1
    retry_timeout: 3
    primary_start_timeout: 0
    maximum_lag_on_failover: 1000000000
    synchronous_mode: {synchronous}
    postgresql: {{use_pg_rewind: true}}
  initdb: [encoding: UTF8, locale: C]
postgresql:
  listen: '127.0.0.1:{server}'
  connect_address: '127.0.0.1:{server}'
  data_dir: {folder}/data
  bin_dir: {programs}
  basebackup: [{{checkpoint: fast}}]
  pgpass: {folder}/pgpass
  remove_data_directory_on_rewind_failure: true
  remove_data_directory_on_diverged_timelines: true
  authentication:
    superuser: {{username: postgres, password: {PASSWORD}}}
    replication: {{username: replication, password: {PASSWORD}}}
  parameters: {{fsync: 'off', unix_socket_directories: '.', wal_keep_size: 256MB}}
  pg_hba: ['host all all 127.0.0.1/32 scram-sha-256', 'host replication all 127.0.0.1/32 scram-sha-256', 'local all all trust']
"
    )
}

/// HAProxy's settings: it asks each node whether it is the primary, and ends the connections to one that is not.
fn routes(port: u16, nodes: [(u16, u16); 2]) -> String {
    let [(first, first_api), (second, second_api)] = nodes;
    format!(
        "defaults
  mode tcp
  timeout connect 2s
  timeout check 5s
  timeout client 10m
  timeout server 10m
listen primary
  bind 127.0.0.1:{port}
  option httpchk OPTIONS /primary
  default-server inter 500ms fall 3 rise 1 on-marked-down shutdown-sessions
  server node1 127.0.0.1:{first} check port {first_api}
  server node2 127.0.0.1:{second} check port {second_api}
"
    )
}
