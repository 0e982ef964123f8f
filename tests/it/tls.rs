//! The client trusts real TLS servers with a right certificate and none with a wrong one of any kind, and never sends the key
//! to the latter.
//!
//! Needs: openssl

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use cvsync::clock::Clock;
use cvsync::config::{Config, Env};
use cvsync::model::Window;
use cvsync::telemetry::Metrics;
use cvsync::vdab::{ApiError, Client};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::process::free_address;

/// A certificate authority of this test's own, and servers with certificates of it.
pub(crate) struct Authority(TempDir);

impl Authority {
    pub(crate) fn new() -> Self {
        let authority = Self(tempfile::tempdir().unwrap());
        authority.openssl(&[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=authority",
            "-days",
            "2",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
        ]);
        authority
    }

    pub(crate) fn folder(&self) -> &Path {
        self.0.path()
    }

    fn openssl(&self, arguments: &[&str]) {
        let done = Command::new("openssl")
            .args(arguments)
            .current_dir(self.folder())
            .output()
            .expect("openssl makes the certificates");
        assert!(done.status.success(), "{arguments:?}: {done:?}");
    }

    /// A certificate for `host` that is valid for this many days from now; -1 for one that has expired.
    pub(crate) fn issue(&self, host: &str, days: i32) {
        std::fs::write(
            self.folder().join("san"),
            format!("subjectAltName=DNS:{host}"),
        )
        .unwrap();
        self.openssl(&[
            "req",
            "-new",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=server",
            "-keyout",
            "server.key",
            "-out",
            "server.csr",
        ]);
        self.openssl(&[
            "x509",
            "-req",
            "-in",
            "server.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-extfile",
            "san",
            "-days",
            &days.to_string(),
            "-out",
            "server.pem",
        ]);
    }

    pub(crate) fn serve(&self, options: &[&str]) -> Server {
        let address = free_address();
        let child = Command::new("openssl")
            .args(["s_server", "-accept", &address, "-www"])
            .args(["-cert", "server.pem", "-key", "server.key"])
            .args(options)
            .current_dir(self.folder())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let port = address.rsplit(':').next().unwrap();
        Server {
            child,
            url: format!("https://localhost:{port}/v1"),
            address,
        }
    }

    pub(crate) fn pem(&self) -> PathBuf {
        self.folder().join("ca.pem")
    }
}

pub(crate) struct Server {
    child: Child,
    pub address: String,
    url: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    pub(crate) async fn listens(&self) {
        for _ in 0..250 {
            if tokio::net::TcpStream::connect(&self.address).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("openssl s_server does not listen");
    }

    /// The result of a call by a client that trusts `authority`, or without one the system's issuers alone.
    async fn asked(&self, authority: Option<PathBuf>) -> String {
        self.listens().await;
        asked(&self.url, authority).await
    }
}

async fn asked(url: &str, authority: Option<PathBuf>) -> String {
    let authority = authority.map(|path| path.to_str().unwrap().to_owned());
    let authority = authority.as_deref().unwrap_or_default();
    let variables = [
        ("CVSYNC_API_BASE_URL", url),
        ("CVSYNC_API_CA_FILE", authority),
    ];
    match failure(&variables).await {
        ApiError::Unreachable(why) => why,
        other => other.class().to_owned(),
    }
}

/// Why a call with these variables fails.
pub(crate) async fn failure(variables: &[(&str, &str)]) -> ApiError {
    let mut env = vec![
        ("CVSYNC_API_KEY", "key"),
        ("CVSYNC_DATABASE_URL", "postgres://localhost/x"),
    ];
    env.extend(variables);
    let config = Config::load(&Env::new(env)).unwrap();
    let metrics = Metrics::new().unwrap();
    let patience = Some(Duration::from_secs(1));
    let client = Client::new(&config.api, Vec::new(), patience, Clock::default(), metrics).unwrap();
    let window = Window::new(Utc::now() - TimeDelta::hours(1), Utc::now()).unwrap();
    client.bulk(window, 0, 10).await.unwrap_err()
}

#[tokio::test]
async fn a_right_certificate_is_trusted_and_every_wrong_one_refused() {
    let authority = Authority::new();
    authority.issue("localhost", 1);
    let server = authority.serve(&[]);
    assert_eq!(
        server.asked(Some(authority.pem())).await,
        "not_an_answer",
        "it was asked, and answered with a page of its own"
    );
    let unknown = server.asked(None).await;
    assert!(
        unknown.contains("unknown issuer; set CVSYNC_API_CA_FILE to"),
        "{unknown}"
    );
    drop(server);

    authority.issue("elsewhere.example", 1);
    let server = authority.serve(&[]);
    let other = server.asked(Some(authority.pem())).await;
    assert!(
        other.contains("for another host name; use a host name in CVSYNC_API_BASE_URL"),
        "{other}"
    );
    drop(server);

    authority.issue("localhost", -1);
    let server = authority.serve(&[]);
    let expired = server.asked(Some(authority.pem())).await;
    assert!(expired.contains("certificate has expired"), "{expired}");
    drop(server);

    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = plain.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = plain.accept().await {
            let _ = client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let not_tls = asked(&format!("https://localhost:{port}/v1"), None).await;
    assert!(not_tls.contains("does not speak TLS"), "{not_tls}");
}

#[tokio::test]
async fn nothing_older_than_tls_1_2_is_spoken() {
    let authority = Authority::new();
    authority.issue("localhost", 1);
    let new = authority.serve(&["-tls1_2"]);
    assert_eq!(new.asked(Some(authority.pem())).await, "not_an_answer");
    let all_ciphers = ["-cipher", "DEFAULT:@SECLEVEL=0"];
    let old = authority.serve(&[&["-tls1_1"], &all_ciphers[..]].concat());
    old.listens().await;
    let other = Command::new("openssl")
        .args(["s_client", "-tls1_1", "-connect", &old.address])
        .args(all_ciphers)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&other.stdout);
    assert!(said.contains("TLSv1.1"), "it speaks it to whoever wants to");
    let too_old = old.asked(Some(authority.pem())).await;
    assert!(too_old.contains("must support TLS 1.2"), "{too_old}");
}
