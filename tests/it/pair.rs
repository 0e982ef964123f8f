//! A PostgreSQL server and its asynchronous standby, behind one address that follows the primary.
//!
//! Only `initdb` and `postgres` are needed: the standby is a copy of the data folder, made during a backup.
//!
//! Needs: postgres

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use cvsync::demo::postgres::{self, Cluster};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use tempfile::TempDir;

use crate::proxy::{Proxy, Trouble};
use crate::running::until;
use crate::world::open_folder;

/// A server, and the test's own connections to its database `cvsync`.
struct Server {
    cluster: Cluster,
    database: PgPool,
}

/// A primary and a standby.
pub(crate) struct Pair {
    primary: Server,
    /// The primary before the latest promotion, if any, which may still run.
    former: Vec<Server>,
    /// Absent from its promotion until [`follow`](Pair::follow).
    standby: Option<Server>,
    /// The standby receives through this proxy.
    link: Proxy,
    /// The one address of whichever server is the primary.
    front: Proxy,
    servers: usize,
    folder: TempDir,
}

impl Pair {
    /// Both run, and the standby follows.
    pub(crate) async fn start() -> Self {
        let folder = open_folder();
        let primary = Server::start(folder.path().join("1"), None).await;
        let mut pair = Self {
            standby: None,
            former: Vec::new(),
            link: Proxy::to(primary.address()).await,
            front: Proxy::to(primary.address()).await,
            primary,
            servers: 1,
            folder,
        };
        pair.follow().await;
        pair
    }

    /// Makes a standby of the primary, which may be at work meanwhile.
    pub(crate) async fn follow(&mut self) {
        assert!(self.standby.is_none(), "it has one");
        self.servers += 1;
        let folder = self.folder.path().join(self.servers.to_string());
        back_up(&self.primary.cluster, &folder).await;
        fs::write(folder.join("data/standby.signal"), "").unwrap();
        self.link.lead_to(self.primary.address());
        self.link.set(Trouble::None);
        let url = url::Url::parse(self.primary.cluster.url()).unwrap();
        let primary = format!(
            "host=127.0.0.1 port={} user={} password={}",
            self.link.address().port(),
            url.username(),
            url.password().unwrap(),
        );
        self.standby = Some(Server::start(folder, Some(primary)).await);
        self.until_caught_up().await;
    }

    /// The address that follows the primary.
    pub(crate) fn url(&self) -> String {
        let mut url = url::Url::parse(&self.primary.cluster.url_of("cvsync")).unwrap();
        url.set_port(Some(self.front.address().port())).unwrap();
        url.into()
    }

    /// The proxy at that address.
    pub(crate) fn front(&self) -> &Proxy {
        &self.front
    }

    /// The address of the standby itself.
    pub(crate) fn standby_url(&self) -> String {
        self.standby.as_ref().unwrap().cluster.url_of("cvsync")
    }

    /// The address of the primary itself, which stays there when another server is promoted.
    pub(crate) fn primary_url(&self) -> String {
        self.primary.cluster.url_of("cvsync")
    }

    /// The standby receives commits and does not show them, or shows them again.
    pub(crate) async fn hold_replay(&self, held: bool) {
        let statement = if held {
            "select pg_wal_replay_pause()"
        } else {
            "select pg_wal_replay_resume()"
        };
        let standby = &self.standby.as_ref().unwrap().database;
        sqlx::raw_sql(statement).execute(standby).await.unwrap();
        let paused = "select count(*) from (select pg_get_wal_replay_pause_state() as state) s where state = 'paused'";
        until("replay is as asked", async || {
            (self.on_standby(paused).await == 1) == held
        })
        .await;
    }

    /// Waits until the standby has all that the primary has by now.
    pub(crate) async fn until_caught_up(&self) {
        let end: String = sqlx::query_scalar("select pg_current_wal_lsn()::text")
            .fetch_one(&self.primary.database)
            .await
            .unwrap();
        let standby = self.standby.as_ref().unwrap();
        until("the standby has caught up", async || {
            sqlx::query_scalar(
                "select coalesce(pg_last_wal_replay_lsn() >= $1::text::pg_lsn, false)",
            )
            .bind(&end)
            .fetch_one(&standby.database)
            .await
            .unwrap_or(false)
        })
        .await;
    }

    /// The standby receives nothing from now on.
    pub(crate) fn stop_receiving(&self) {
        self.link.set(Trouble::Down);
    }

    /// A number from the primary, past the address that follows it.
    pub(crate) async fn on_primary(&self, query: &'static str) -> i64 {
        number(&self.primary.database, query).await
    }

    /// A number from the standby.
    pub(crate) async fn on_standby(&self, query: &'static str) -> i64 {
        number(&self.standby.as_ref().unwrap().database, query).await
    }

    /// The primary dies with all that the standby has not received. Nobody listens at the address any more.
    pub(crate) async fn kill_primary(&mut self) {
        self.stop_receiving();
        self.front.set(Trouble::Down);
        self.primary.cluster.kill().await.unwrap();
    }

    /// The standby becomes the primary, and the address leads there.
    pub(crate) async fn promote(&mut self) {
        let standby = self.standby.take().unwrap();
        let promoted: bool = sqlx::query_scalar("select pg_promote(true, 60)")
            .fetch_one(&standby.database)
            .await
            .unwrap();
        assert!(promoted);
        self.former = vec![std::mem::replace(&mut self.primary, standby)];
        self.front.lead_to(self.primary.address());
        self.front.set(Trouble::None);
    }
}

async fn number(database: &PgPool, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(database).await.unwrap()
}

impl Server {
    async fn start(data: PathBuf, primary: Option<String>) -> Self {
        let settings = [
            ("fsync", "off"),
            ("wal_keep_size", "256MB"),
            ("wal_retrieve_retry_interval", "100ms"),
        ];
        let mut settings = settings.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec();
        settings.extend(primary.map(|primary| ("primary_conninfo".to_owned(), primary)));
        let options = postgres::Options {
            data,
            settings,
            ..postgres::Options::default()
        };
        let cluster = Cluster::start(options).await.unwrap();
        let database = PgPool::connect_lazy(&cluster.url_of("cvsync")).unwrap();
        Self { cluster, database }
    }

    fn address(&self) -> SocketAddr {
        let url = url::Url::parse(self.cluster.url()).unwrap();
        SocketAddr::from(([127, 0, 0, 1], url.port().unwrap()))
    }
}

/// Copies what makes up a cluster, but for its lock, its log and its write-ahead log. A file may vanish meanwhile.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for part in ["password", "data"] {
        let copied = Command::new("cp")
            .arg("-a")
            .arg(from.join(part))
            .arg(to)
            .output()
            .unwrap();
        assert!(copied.status.code().is_some(), "{copied:?}");
    }
    for entry in fs::read_dir(to.join("data/pg_wal")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::remove_file(path).unwrap();
        }
    }
}

/// Copies the server's folder to one that another server can start in.
pub(crate) async fn back_up(cluster: &Cluster, folder: &Path) {
    let mut session = PgConnection::connect(cluster.url()).await.unwrap();
    let version: i32 = sqlx::query_scalar("select current_setting('server_version_num')::integer")
        .fetch_one(&mut session)
        .await
        .unwrap();
    let (start, stop) = if version < 150_000 {
        (
            "pg_start_backup('copy', true, false)",
            "pg_stop_backup(false, false)",
        )
    } else {
        (
            "pg_backup_start('copy', true)",
            "pg_backup_stop(wait_for_archive => false)",
        )
    };
    sqlx::query(AssertSqlSafe(format!("select {start}")))
        .execute(&mut session)
        .await
        .unwrap();
    copy(cluster.socket_dir().parent().unwrap(), folder);
    let label: String = sqlx::query_scalar(AssertSqlSafe(format!("select labelfile from {stop}")))
        .fetch_one(&mut session)
        .await
        .unwrap();
    let data = folder.join("data");
    for gone in ["postmaster.pid", "postmaster.opts"] {
        fs::remove_file(data.join(gone)).unwrap();
    }
    let label_file = data.join("backup_label");
    fs::write(&label_file, label).unwrap();
    let owner = fs::metadata(&data).unwrap();
    chown(label_file, Some(owner.uid()), Some(owner.gid())).unwrap();
}
