//! The answer to a wrong `CVSYNC_DATABASE_URL`: the cause, its place, and the remedy.

use cvsync::config::Database;
use cvsync::store::Store;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::process::{free_address, output};
use crate::world::new_database;

/// The error of cvsync about a database that it cannot use.
async fn refusal(url: &str) -> String {
    let store = Store::new(&Database::at(url).unwrap()).unwrap();
    store.ping().await.unwrap_err().to_string()
}

/// A server that answers each connection with these fields of an error.
async fn server_that_says(fields: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let length = stream.read_u32().await.unwrap();
            let mut startup = vec![0; length as usize - 4];
            stream.read_exact(&mut startup).await.unwrap();
            let length = u32::try_from(fields.len() + 4).unwrap();
            let answer = [b"E", &length.to_be_bytes()[..], fields].concat();
            stream.write_all(&answer).await.unwrap();
        }
    });
    format!("postgres://me:canary@{address}/cv?sslmode=disable")
}

#[tokio::test]
async fn address_of_ipv6_is_connected_to_and_not_looked_up() {
    for host in ["[::1]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]"] {
        let said = refusal(&format!("postgres://me:canary@{host}:1/cv?sslmode=disable")).await;
        assert!(said.contains("no connection"), "{host}: {said}");
        assert!(!said.contains("resolve"), "{host}: {said}");
    }
}

#[tokio::test]
async fn refused_connection_is_answered_with_its_cause_and_a_remedy() {
    let url = new_database().await;
    let with = |change: &dyn Fn(&mut url::Url)| {
        let mut url = url::Url::parse(&url).unwrap();
        change(&mut url);
        String::from(url)
    };
    let password = with(&|url| url.set_password(Some("canary")).unwrap());
    let database = with(&|url| url.set_path("no_such_database"));
    let tls = with(&|url| url.set_query(Some("sslmode=require")));
    let nobody = format!("postgres://me:canary@{}/cv", free_address());
    for (url, cause, remedy) in [
        (&*password, "28P01", "check the user and password"),
        (
            &database,
            "\"no_such_database\" does not exist (SQLSTATE 3D000)",
            "CREATE DATABASE",
        ),
        (&tls, "does not offer TLS", "sslmode=disable"),
        (&nobody, "connection refused", "host and port"),
        (
            "postgres://me:canary@no-such-host.invalid/cv",
            "does not resolve",
            "DNS",
        ),
        (
            "postgres:///cv?host=/no/such/folder",
            "no such socket",
            "folder",
        ),
    ] {
        let said = refusal(url).await;
        assert!(said.contains(cause) && said.contains(remedy), "{said}");
        assert!(!said.contains("canary"), "{said}");
    }
    let web = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = web.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = web.accept().await.unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
    });
    let said = refusal(&format!("postgres://me@{address}/cv")).await;
    assert!(
        said.contains("names a PostgreSQL server or PgBouncer"),
        "{said}"
    );
}

#[tokio::test]
async fn sqlstate_decides_in_whatever_form_the_server_puts_its_error() {
    for (fields, said) in [
        (
            &b"SFATAAL\0VFATAL\0C28P01\0Mwachtwoord geweigerd\0\0"[..],
            "wachtwoord geweigerd (SQLSTATE 28P01); check the user and password",
        ),
        // PgBouncer names no V, and so did old servers.
        (
            b"SFATAL\0C08P01\0Mno such database: cv\0\0",
            "no such database: cv (SQLSTATE 08P01); if PgBouncer is in between",
        ),
        (
            b"SFATAAL\0C53300\0Mte veel verbindingen\0\0",
            "te veel verbindingen (SQLSTATE 53300); raise max_connections",
        ),
        (
            b"SFATAL\0VFATAL\0C57P03\0Mstarting up\0\0",
            "starting up (SQLSTATE 57P03)",
        ),
        (
            b"SFATAL\0VFATAL\0C28000\0Mno pg_hba.conf entry for host\0\0",
            "(SQLSTATE 28000); check the user, database and sslmode",
        ),
        (b"SERREUR\0VERROR\0CXX000\0Mcanary\0\0", "SQLSTATE XX000"),
    ] {
        let refusal = refusal(&server_that_says(fields).await).await;
        assert!(refusal.contains(said), "{refusal}");
        assert!(!refusal.contains("canary"), "{refusal}");
    }
}

#[tokio::test]
async fn url_that_is_not_supported_is_wrong_use() {
    for (url, said) in [
        (
            "postgres://me:canary@db/cv?sslmode=no-verify",
            "one of disable, allow",
        ),
        (
            "postgres://me:canary@db1:5432,db2:5432/cv",
            "must name one host",
        ),
        ("host=db user=me password=canary", "must be a URL such as"),
        (
            "postgres://me:canary@db/cv?sslrootcert=/no/such",
            "sslrootcert that cannot be used",
        ),
        (
            "postgres://me:canary@db/cv?target_session_attrs=standby",
            "target_session_attrs",
        ),
    ] {
        let (code, stdout, stderr) = output(&["migrate"], [("CVSYNC_DATABASE_URL", url)]).await;
        assert_eq!(code, Some(2), "{stderr}");
        assert!(
            stderr.contains("CVSYNC_DATABASE_URL ") && stderr.contains(said),
            "{stderr}"
        );
        assert!(!format!("{stdout}{stderr}").contains("canary"), "{stderr}");
    }
}
