//! Outgoing HTTP through a real proxy: which requests go through it, and what is said when it refuses.

use std::sync::{Arc, Mutex};

use cvsync::vdab::{ApiError, Remedy};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::process::{Process, output};
use crate::running::until;
use crate::tls::{Authority, failure};
use crate::world::World;

/// An HTTP proxy that serves until it is dropped.
pub(crate) struct HttpProxy {
    pub port: u16,
    /// The head of each request.
    heads: Arc<Mutex<Vec<String>>>,
    serving: JoinHandle<()>,
}

impl HttpProxy {
    /// Connects each tunnel to `upstream`, whatever host it is for.
    pub(crate) async fn to(upstream: &str) -> Self {
        Self::with(Some(upstream.to_owned()), "").await
    }

    /// Answers each request so, and connects nothing.
    pub(crate) async fn answering(answer: &str) -> Self {
        Self::with(None, answer).await
    }

    async fn with(upstream: Option<String>, answer: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (kept, answer) = (Arc::clone(&heads), answer.to_owned());
        let serving = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (upstream, answer) = (upstream.clone(), answer.clone());
                tokio::spawn(serve(client, upstream, answer, Arc::clone(&kept)));
            }
        });
        Self {
            port,
            heads,
            serving,
        }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    pub(crate) fn saw(&self, words: &str) -> bool {
        self.heads().iter().any(|head| head.contains(words))
    }
}

impl Drop for HttpProxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(
    mut client: TcpStream,
    upstream: Option<String>,
    answer: String,
    heads: Arc<Mutex<Vec<String>>>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match client.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    heads.lock().unwrap().push(String::from_utf8(head).unwrap());
    let Some(upstream) = upstream else {
        let _ = client.write_all(answer.as_bytes()).await;
        return;
    };
    let mut server = TcpStream::connect(upstream).await.unwrap();
    let _ = client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
    let _ = copy_bidirectional(&mut client, &mut server).await;
}

const API: (&str, &str) = ("CVSYNC_API_BASE_URL", "https://api.partner.example/v1");

#[tokio::test]
async fn api_and_token_server_are_asked_through_the_proxy_with_its_credentials() {
    let authority = Authority::new();
    authority.issue("api.partner.example", 1);
    let server = authority.serve(&[]);
    server.listens().await;
    let proxy = HttpProxy::to(&server.address).await;
    let url = format!("http://me:p%40ss@127.0.0.1:{}", proxy.port);
    let pem = authority.pem();
    let ca = ("CVSYNC_API_CA_FILE", pem.to_str().unwrap());
    let failed = failure(&[API, ca, ("HTTPS_PROXY", &url)]).await;
    assert_eq!(failed.class(), "not_an_answer", "openssl gives a page");
    assert!(proxy.saw("CONNECT api.partner.example:443 "));
    // me:p@ss
    assert!(proxy.saw("Basic bWU6cEBzcw=="));

    let oauth = [
        API,
        ca,
        (
            "CVSYNC_OAUTH_TOKEN_URL",
            "https://login.partner.example/token",
        ),
        ("CVSYNC_OAUTH_CLIENT_ID", "me"),
        ("CVSYNC_OAUTH_CLIENT_SECRET", "secret"),
        ("all_proxy", &url),
    ];
    let failed = failure(&oauth).await.to_string();
    assert!(proxy.saw("CONNECT login.partner.example:443 "));
    for words in [
        "OAuth token server",
        "another host name",
        "CVSYNC_OAUTH_TOKEN_URL",
    ] {
        assert!(failed.contains(words), "{failed}");
    }

    let heads = proxy.heads().len();
    let direct = [
        API,
        ca,
        ("HTTPS_PROXY", &url),
        ("NO_PROXY", ".partner.example"),
    ];
    let failed = failure(&direct).await.to_string();
    assert!(failed.contains("host name does not resolve"), "{failed}");
    assert_eq!(proxy.heads().len(), heads);
}

#[tokio::test]
async fn refusal_by_the_proxy_is_never_taken_for_one_by_vdab() {
    for (answer, words) in [
        (
            "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
            "credentials",
        ),
        (
            "HTTP/1.1 403 Forbidden\r\n\r\n",
            "refuses to connect to this host",
        ),
        (
            "HTTP/1.1 401 Unauthorized\r\n\r\n",
            "refuses to connect to this host",
        ),
        (
            "HTTP/1.1 502 Bad Gateway\r\n\r\n",
            "refuses to connect to this host",
        ),
        (
            "HTTP/1.1 429 Too Many Requests\r\n\r\n",
            "refuses to connect to this host",
        ),
        ("SSH-2.0-OpenSSH_9.2\r\n", "refuses to connect to this host"),
        ("", "closed the connection"),
    ] {
        let proxy = HttpProxy::answering(answer).await;
        let url = format!("http://me:canary@127.0.0.1:{}", proxy.port);
        let failed = failure(&[API, ("HTTPS_PROXY", &url)]).await;
        assert!(matches!(failed, ApiError::Unreachable(_)), "{failed:?}");
        assert_eq!(failed.remedy(), Remedy::WaitForGate);
        let text = failed.to_string();
        let shown = format!(
            "the proxy http://********@127.0.0.1:{} (HTTPS_PROXY)",
            proxy.port
        );
        assert!(
            text.contains(&shown) && text.contains(words),
            "{answer}: {text}"
        );
        assert!(
            !text.contains("canary") && !text.contains("API_KEY"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn refusal_by_the_token_server_names_the_oauth_variables() {
    for (status, class) in [
        ("400 Bad Request", "key_refused"),
        ("401 Unauthorized", "key_refused"),
        ("503 Busy", "server_error"),
    ] {
        let body = r#"{"error":"invalid_client","error_description":"unknown client"}"#;
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}",
            body.len()
        );
        let server = HttpProxy::answering(&format!("{head}\r\n\r\n{body}")).await;
        let url = format!("http://127.0.0.1:{}/token", server.port);
        let failed = failure(&[
            API,
            ("CVSYNC_OAUTH_TOKEN_URL", &url),
            ("CVSYNC_OAUTH_CLIENT_ID", "me"),
            ("CVSYNC_OAUTH_CLIENT_SECRET", "canary"),
        ])
        .await;
        assert_eq!(failed.class(), class);
        let text = failed.to_string();
        assert!(text.starts_with("the OAuth token server "), "{text}");
        assert!(text.contains("CVSYNC_OAUTH_TOKEN_URL"), "{text}");
        assert!(
            !text.contains("CVSYNC_API_KEY") && !text.contains("canary"),
            "{text}"
        );
        if class == "key_refused" {
            assert!(text.contains("invalid_client; 14 characters"), "{text}");
            assert!(text.contains("CVSYNC_OAUTH_CLIENT_SECRET"), "{text}");
        }
    }
}

#[tokio::test]
async fn proxy_that_cannot_be_reached_is_named_with_the_cause() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = format!("http://127.0.0.1:{}", free.local_addr().unwrap().port());
    drop(free);
    let authority = Authority::new();
    authority.issue("localhost", 1);
    let server = authority.serve(&[]);
    server.listens().await;
    let port = server.address.rsplit(':').next().unwrap();
    for (url, cause) in [
        (
            closed.as_str(),
            "connection was refused; check host and port in HTTPS_PROXY",
        ),
        (
            "http://proxy.invalid:3128",
            "host name does not resolve; check it in HTTPS_PROXY",
        ),
        (
            &format!("https://localhost:{port}"),
            "has an unknown issuer; set CVSYNC_API_CA_FILE",
        ),
    ] {
        let text = failure(&[API, ("HTTPS_PROXY", url)]).await.to_string();
        let named = format!("the proxy {url} (HTTPS_PROXY) cannot be reached: ");
        assert!(text.contains(&named) && text.contains(cause), "{text}");
    }
}

#[tokio::test]
async fn daemon_uses_the_proxy_for_ping_and_webhook_and_never_for_this_machine() {
    let world = World::new(20).await;
    let proxy = HttpProxy::answering("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n").await;
    let url = format!("http://me:canary@127.0.0.1:{}", proxy.port);
    let through = [
        ("ALL_PROXY", url.as_str()),
        ("NO_PROXY", "unrelated.example"),
    ];
    let receivers = [
        ("CVSYNC_PING_URL", "http://ping.example/token"),
        ("CVSYNC_WEBHOOK_URL", "https://hooks.example/token"),
        (
            "CVSYNC_WEBHOOK_SECRET",
            "whsec_bm90IHRoaXMgYnV0IHJhbmRvbSBieXRlczogMzIgb2YgdGhlbQ==",
        ),
    ];
    let variables = [&through[..], &receivers[..]].concat();
    let daemon = Process::run(&world, &variables);
    daemon.until_synced().await;
    until("ping and webhook have come to the proxy", async || {
        proxy.saw("GET http://ping.example/token ") && proxy.saw("CONNECT hooks.example:443 ")
    })
    .await;
    until("the log names the proxy", async || {
        daemon
            .log()
            .contains("(ALL_PROXY) refuses to connect to this host")
    })
    .await;
    assert!(!daemon.log().contains("canary"), "{}", daemon.log());
    let address = [("CVSYNC_HTTP_ADDR", daemon.address())];
    let beside = || address.into_iter().chain(through);
    assert_eq!(output(&["healthcheck"], beside()).await.0, Some(0));
    let heads = proxy.heads();
    let mut elsewhere = heads
        .iter()
        .filter(|head| !head.contains("ping.example") && !head.contains("hooks.example"));
    assert_eq!(elsewhere.next(), None, "{heads:?}");

    let environment = world.environment();
    let base = environment.iter().map(|(n, v)| (*n, v.as_str()));
    let (code, told, _) = output(&["check"], base.clone().chain(variables.clone())).await;
    assert_eq!(code, Some(0), "{told}");
    let masked = format!("http://********@127.0.0.1:{} (ALL_PROXY)", proxy.port);
    for words in [
        "CVSYNC_API_BASE_URL directly".to_owned(),
        format!("CVSYNC_PING_URL through {masked}"),
        format!("CVSYNC_WEBHOOK_URL through {masked}"),
    ] {
        assert!(told.contains(&words), "{told}");
    }
    let (code, told, _) = output(&["config", "show"], base.chain(variables)).await;
    assert_eq!(code, Some(0), "{told}");
    let shown = format!(
        "ALL_PROXY=http://********@127.0.0.1:{}  (environment)",
        proxy.port
    );
    assert!(told.contains(&shown), "{told}");
    assert!(
        told.contains("the proxy of: CVSYNC_PING_URL, CVSYNC_WEBHOOK_URL"),
        "{told}"
    );
    assert!(!told.contains("canary"), "{told}");
}

#[tokio::test]
async fn invalid_proxy_url_ends_a_command_with_its_name_and_not_its_value() {
    let env = [
        ("CVSYNC_API_KEY", "key"),
        ("CVSYNC_DATABASE_URL", "postgres://localhost/x"),
        ("https_proxy", "socks5://me:canary@proxy:1080"),
    ];
    for command in ["check", "run", "sync"] {
        let (code, _, error) = output(&[command], env).await;
        assert_eq!(code, Some(2), "{command}: {error}");
        assert!(error.contains("https_proxy names a SOCKS proxy"), "{error}");
        assert!(!error.contains("canary"), "{error}");
    }
}
