//! A PostgreSQL that speaks TLS: which certificates count, and what a refusal says.

use std::path::Path;

use cvsync::config::Database;
use cvsync::demo::postgres::{Cluster, Options, Stop};
use cvsync::store::Store;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tempfile::TempDir;

use crate::process::output;
use crate::running::until;
use crate::tls::Authority;
use crate::world::open_folder;

/// A server with a certificate, and the certificate of its issuer.
struct Server {
    authority: Authority,
    cluster: Cluster,
    _folder: TempDir,
}

impl Server {
    /// Its certificate is for `localhost`.
    async fn start() -> Self {
        let folder = open_folder();
        let cluster = Cluster::start(Options {
            data: folder.path().join("postgres"),
            settings: vec![("fsync".to_owned(), "off".to_owned())],
            ..Options::default()
        })
        .await
        .unwrap();
        let authority = Authority::new();
        authority.issue("localhost", 1);
        let server = Self {
            authority,
            cluster,
            _folder: folder,
        };
        server.install().await;
        server.run("alter system set ssl = on").await;
        server.run("select pg_reload_conf()").await;
        until("the server speaks TLS", async || {
            let said = server.said("localhost", "sslmode=require").await;
            said.is_ok()
        })
        .await;
        server
    }

    async fn run(&self, sql: &str) {
        let mut connection = PgConnection::connect(self.cluster.url()).await.unwrap();
        let sql = AssertSqlSafe(sql.to_owned());
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// Has the server itself write the files: it reads no key that others may read or own.
    async fn install(&self) {
        for name in ["server.pem", "server.key"] {
            let text = std::fs::read_to_string(self.authority.folder().join(name)).unwrap();
            self.run(&format!(
                "copy (select regexp_split_to_table('{text}', E'\\n')) to program 'umask 077; cat > {}'",
                name.replace("pem", "crt")
            ))
            .await;
        }
    }

    fn url(&self, host: &str, parameters: &str) -> String {
        let url = self.cluster.url_of("cvsync").replace("127.0.0.1", host);
        format!("{url}?{parameters}")
    }

    /// Opens a connection, and returns the error of cvsync.
    async fn said(&self, host: &str, parameters: &str) -> Result<(), String> {
        let database = Database::at(&self.url(host, parameters))?;
        let store = Store::new(&database).map_err(|error| error.to_string())?;
        store.ping().await.map_err(|error| error.to_string())
    }

    async fn refusal(&self, host: &str, parameters: &str) -> String {
        self.said(host, parameters).await.unwrap_err()
    }
}

fn root(path: &Path) -> String {
    format!("sslrootcert={}", path.display())
}

#[tokio::test]
async fn server_is_verified_as_libpq_would_and_a_refusal_says_why() {
    let server = Server::start().await;
    let right = root(&server.authority.pem());
    let other = Authority::new();
    let wrong = root(&other.pem());

    for (host, parameters) in [
        ("localhost", right.clone()),
        ("localhost", format!("sslmode=verify-full&{right}")),
        ("127.0.0.1", format!("sslmode=verify-ca&{right}")),
        ("127.0.0.1", format!("sslmode=require&{right}")),
        ("0.0.0.0", "sslmode=require".to_owned()),
        ("0.0.0.0", format!("sslmode=prefer&{wrong}")),
    ] {
        server.said(host, &parameters).await.expect(&parameters);
    }
    for (host, parameters, said) in [
        (
            "localhost",
            format!("sslmode=require&{wrong}"),
            "unknown issuer; add sslrootcert=",
        ),
        ("localhost", wrong.clone(), "unknown issuer"),
        (
            "localhost",
            "sslmode=verify-ca".to_owned(),
            "unknown issuer",
        ),
        ("0.0.0.0", String::new(), "unknown issuer"),
        (
            "127.0.0.1",
            right.clone(),
            "is for localhost, and the host in CVSYNC_DATABASE_URL is 127.0.0.1",
        ),
    ] {
        let refusal = server.refusal(host, parameters.as_str()).await;
        assert!(refusal.contains(said), "{parameters}: {refusal}");
    }

    // The roots of this machine are those that the API trusts.
    let key = ("CVSYNC_API_KEY", "key");
    let env = |url: &'static str, path: &'static str| {
        [("CVSYNC_DATABASE_URL", url), ("SSL_CERT_FILE", path)]
    };
    let leak = |text: String| -> &'static str { text.leak() };
    let url = leak(server.url("localhost", "sslmode=verify-full"));
    let pem = leak(server.authority.pem().display().to_string());
    let (code, _, stderr) = output(&["migrate"], env(url, pem)).await;
    assert_eq!(code, Some(0), "{stderr}");
    let pem = leak(other.pem().display().to_string());
    let (code, _, stderr) = output(&["migrate"], env(url, pem)).await;
    assert_eq!(code, Some(1));
    assert!(stderr.contains("unknown issuer"), "{stderr}");
    let (code, _, stderr) = output(&["migrate"], env(url, "/no/such/file")).await;
    assert_eq!(code, Some(1));
    assert!(stderr.contains("no root certificates"), "{stderr}");

    // A weaker mode for a remote host is logged once.
    let url = leak(server.url("0.0.0.0", "sslmode=require"));
    let (code, _, stderr) = output(&["status"], [("CVSYNC_DATABASE_URL", url)]).await;
    let warned = stderr.matches("certificate is not verified").count();
    assert_eq!((code, warned), (Some(1), 1), "{stderr}");
    let (_, stdout, _) = output(&["check"], [("CVSYNC_DATABASE_URL", url), key]).await;
    assert!(stdout.contains("certificate is not verified"), "{stdout}");

    server.authority.issue("localhost", -1);
    server.install().await;
    server.run("select pg_reload_conf()").await;
    until("the expired certificate is reported", async || {
        let said = server.said("localhost", &right).await;
        said.is_err_and(|refusal| refusal.contains("has expired; renew it"))
    })
    .await;
    server.cluster.stop(Stop::Immediate).await.unwrap();
}
