//! The private PostgreSQL of the demo, with the programs that are installed.
//!
//! Needs: postgres

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{self, Stdio};

use cvsync::demo::postgres::{Cluster, Options, Stop};
use sqlx::{Connection, PgConnection};
use tempfile::{TempDir, tempdir};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::running::until;

fn options(folder: &Path) -> Options {
    Options {
        data: folder.join("postgres"),
        settings: vec![("fsync".to_owned(), "off".to_owned())],
        ..Options::default()
    }
}

async fn cluster() -> (TempDir, Cluster) {
    let folder = tempdir().unwrap();
    let cluster = Cluster::start(options(folder.path())).await.unwrap();
    (folder, cluster)
}

async fn remember(cluster: &Cluster, what: &str) {
    let mut connection = PgConnection::connect(&cluster.url_of("cvsync"))
        .await
        .unwrap();
    sqlx::query("create table if not exists memory (what text)")
        .execute(&mut connection)
        .await
        .unwrap();
    sqlx::query("insert into memory values ($1)")
        .bind(what)
        .execute(&mut connection)
        .await
        .unwrap();
}

async fn memory(cluster: &Cluster) -> Vec<String> {
    let mut connection = PgConnection::connect(&cluster.url_of("cvsync"))
        .await
        .unwrap();
    sqlx::query_scalar("select what from memory")
        .fetch_all(&mut connection)
        .await
        .unwrap()
}

fn address(cluster: &Cluster) -> String {
    let url = url::Url::parse(cluster.url()).unwrap();
    format!("127.0.0.1:{}", url.port().unwrap())
}

async fn until_silent(address: &str) {
    until("the server is gone", async || {
        TcpStream::connect(address).await.is_err()
    })
    .await;
}

#[tokio::test]
async fn starts_answers_and_is_not_open_to_all() {
    let (folder, cluster) = cluster().await;
    let mut connection = PgConnection::connect(cluster.url()).await.unwrap();
    let one: i32 = sqlx::query_scalar("select 1")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(one, 1);
    let mut url = url::Url::parse(cluster.url()).unwrap();
    url.set_password(Some("guess")).unwrap();
    assert!(PgConnection::connect(url.as_str()).await.is_err());
    assert!(cluster.socket_dir().read_dir().unwrap().count() > 0);
    let address = address(&cluster);
    cluster.stop(Stop::Fast).await.unwrap();
    until_silent(&address).await;
    assert!(folder.path().join("postgres").exists());
}

#[tokio::test]
async fn data_survives_a_restart_a_kill_and_a_new_start() {
    let (folder, mut cluster) = cluster().await;
    remember(&cluster, "first").await;
    cluster.restart().await.unwrap();
    remember(&cluster, "second").await;
    cluster.kill().await.unwrap();
    assert_eq!(cluster.pid(), None);
    cluster.restart().await.unwrap();
    remember(&cluster, "third").await;
    cluster.stop(Stop::Immediate).await.unwrap();
    let again = Cluster::start(options(folder.path())).await.unwrap();
    assert_eq!(memory(&again).await, ["first", "second", "third"]);
    again.stop(Stop::Fast).await.unwrap();
}

#[tokio::test]
async fn a_claim_of_someone_else_s_process_is_dropped() {
    let (folder, mut cluster) = cluster().await;
    cluster.kill().await.unwrap();
    let claim = cluster.socket_dir().join("postmaster.pid");
    let text = fs::read_to_string(&claim).unwrap();
    let rest = text.split_once('\n').unwrap().1;
    fs::write(&claim, format!("{}\n{rest}", process::id())).unwrap();
    drop(cluster);
    let again = Cluster::start(options(folder.path())).await.unwrap();
    again.stop(Stop::Fast).await.unwrap();
}

#[tokio::test]
async fn a_server_that_was_left_running_is_ended() {
    let (folder, cluster) = cluster().await;
    remember(&cluster, "first").await;
    let mut stray = stray(cluster, folder.path()).await;
    let again = Cluster::start(options(folder.path())).await.unwrap();
    assert!(stray.try_wait().unwrap().is_some());
    assert_eq!(memory(&again).await, ["first"]);
    again.stop(Stop::Fast).await.unwrap();
}

/// A server without a guard, started as `cluster` started its own.
async fn stray(cluster: Cluster, folder: &Path) -> Child {
    let process = format!("/proc/{}", cluster.pid().unwrap());
    let program = fs::read_link(format!("{process}/exe")).unwrap();
    let owner = fs::metadata(process).unwrap();
    cluster.stop(Stop::Fast).await.unwrap();
    let data = folder.join("postgres/data");
    let stray = Command::new(program)
        .uid(owner.uid())
        .gid(owner.gid())
        .arg("-D")
        .arg(&data)
        .args(["-c", "listen_addresses=", "-c", "unix_socket_directories=."])
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    until("the stray server runs", async || {
        data.join("postmaster.pid").exists()
    })
    .await;
    stray
}

#[tokio::test]
async fn a_second_start_in_the_same_folder_says_who_is_there() {
    let (folder, cluster) = cluster().await;
    let error = Cluster::start(options(folder.path())).await.unwrap_err();
    let expected = format!("started by process {}", process::id());
    assert!(error.to_string().contains(&expected), "{error}");
    cluster.stop(Stop::Fast).await.unwrap();
}

#[tokio::test]
async fn a_server_that_does_not_start_says_why() {
    let folder = tempdir().unwrap();
    let mut options = options(folder.path());
    options
        .settings
        .push(("max_connections".to_owned(), "many".to_owned()));
    let error = Cluster::start(options).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("max_connections"), "{text}");
}

#[tokio::test]
async fn a_dropped_cluster_ends() {
    let (_folder, cluster) = cluster().await;
    let address = address(&cluster);
    drop(cluster);
    until_silent(&address).await;
}

#[tokio::test]
async fn a_folder_that_is_not_kept_goes() {
    let folder = tempdir().unwrap();
    let cluster = Cluster::start(Options {
        keep: false,
        ..options(folder.path())
    })
    .await
    .unwrap();
    cluster.stop(Stop::Fast).await.unwrap();
    assert!(!folder.path().join("postgres").exists());
}
