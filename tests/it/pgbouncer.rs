//! A transaction-pooling PgBouncer between cvsync and PostgreSQL: sessions are shared, and nothing may rest on them.
//!
//! Needs: pgbouncer

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use cvsync::config::{Config, Env};
use tokio::process::{Child, Command};

use crate::process::free_address;
use crate::world::{World, new_database, store};

/// A real PgBouncer with two server connections for everybody.
async fn pgbouncer(folder: &Path, database_url: &str) -> (Child, String) {
    let target = url::Url::parse(database_url).unwrap();
    let address = free_address();
    let port = address.rsplit(':').next().unwrap();
    let name = target.path().trim_start_matches('/');
    let password = target
        .password()
        .map(|password| format!(" password={password}"));
    let config = format!(
        "[databases]\n{name} = host={} port={} dbname={name} user={}{}\n\
         [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
         pool_mode = transaction\ndefault_pool_size = 2\nmax_client_conn = 100\nlogfile =\npidfile =\n",
        target.host_str().unwrap(),
        target.port().unwrap_or(5432),
        target.username(),
        password.unwrap_or_default(),
    );
    let file = folder.join("pgbouncer.ini");
    std::fs::write(&file, config).unwrap();
    let root = std::fs::metadata("/proc/self").unwrap();
    let mut command = if std::os::unix::fs::MetadataExt::uid(&root) == 0 {
        // PgBouncer does not run as root.
        let user = ["-R", "postgres:", folder.to_str().unwrap()];
        assert!(
            Command::new("chown")
                .args(user)
                .status()
                .await
                .unwrap()
                .success()
        );
        let mut command = Command::new("setpriv");
        command.args([
            "--reuid=postgres",
            "--regid=postgres",
            "--clear-groups",
            "--pdeathsig=TERM",
        ]);
        command.arg("pgbouncer");
        command
    } else {
        Command::new("pgbouncer")
    };
    let path = format!("/usr/sbin:{}", std::env::var("PATH").unwrap());
    let child = command
        .arg("-q")
        .arg(&file)
        .env("PATH", path)
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("these tests need PgBouncer: run ./test, which installs it");
    for _ in 0..100 {
        if tokio::net::TcpStream::connect(&address).await.is_ok() {
            return (child, format!("postgres://anyone@{address}/{name}"));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("PgBouncer does not listen");
}

#[tokio::test]
async fn everything_works_through_transaction_pooling() {
    let mut world = World::new(1_200).await;
    let folder = tempfile::tempdir().unwrap();
    let fresh = new_database().await;
    let (_bouncer, url) = pgbouncer(folder.path(), &fresh).await;
    let migrations = (0..4).map(|_| {
        let store = store(&url);
        tokio::spawn(async move { store.migrate().await })
    });
    for one in migrations.collect::<Vec<_>>() {
        one.await.unwrap().unwrap();
    }
    let mut env = world.environment();
    env.retain(|(name, _)| *name != "CVSYNC_DATABASE_URL");
    env.push(("CVSYNC_DATABASE_URL", url));
    world.config = Config::load(&Env::new(env)).unwrap();
    world.database = sqlx::PgPool::connect(&fresh).await.unwrap();
    world.sync_again().await;
    let id = world.any_live_id();
    world.source.world(|w| w.update(id));
    world.settle();
    // Two at once share the server's two sessions.
    let (one, other) = (world.pipeline(), world.pipeline());
    let (one, other) = tokio::join!(one.run(), other.run());
    one.unwrap();
    other.unwrap();
    world.assert_database_equals_source().await;
}
