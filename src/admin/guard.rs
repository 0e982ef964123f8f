//! Access control over HTTP: actions need the admin token, names of other sites are not answered, and scripts of other sites are
//! rejected.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::Extension;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONNECTION, HOST, ORIGIN, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use secrecy::ExposeSecret;

use super::Admin;
use super::guesses::Guesses;
use super::seats::Seat;
use crate::config;
use crate::model::sha256;
use crate::telemetry::{Metrics, Refused, Throttle};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The end of a response for an unknown name.
pub(super) const UNKNOWN_HOST: &str =
    "rejected: unknown Host; add the name to CVSYNC_HTTP_HOSTS, or use localhost or an address\n";

/// The address of the client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub SocketAddr);

impl Peer {
    /// An IPv4 address, or the network of an IPv6 address, in which a machine can have any address.
    pub(super) fn network(self) -> IpAddr {
        match self.0.ip().to_canonical() {
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
            ip @ IpAddr::V4(_) => ip,
        }
    }
}

/// The admin token, as the `Authorization` header of a request shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Right,
    Wrong,
    /// There is no Bearer token, or none is configured.
    Missing,
}

/// The reader of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// The owner of the admin token, or somebody at the terminal of the process.
    Operator,
    /// Anybody: texts of errors and names of instances are not for them.
    Public,
}

impl Token {
    pub(super) fn audience(self) -> Audience {
        match self {
            Self::Right => Audience::Operator,
            Self::Wrong | Self::Missing => Audience::Public,
        }
    }
}

#[derive(Debug)]
pub struct Guard {
    /// SHA-256 of the admin token, so that a comparison takes the same time for all input.
    token: Option<[u8; 32]>,
    guesses: Guesses,
    /// In lower case.
    hosts: Vec<String>,
    /// Whether the admin token opens the mirror.
    opens_mirror: bool,
    refusals: Throttle,
    metrics: Metrics,
}

impl Guard {
    #[must_use]
    pub fn new(http: &config::Http, metrics: Metrics) -> Self {
        Self {
            token: http
                .admin_token
                .as_ref()
                .map(|token| sha256(token.expose_secret().as_bytes())),
            guesses: Guesses::default(),
            hosts: http.hosts.clone(),
            opens_mirror: http.token_opens_mirror,
            refusals: Throttle::new(),
            metrics,
        }
    }

    /// Whether actions are on.
    #[must_use]
    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Compares the token in `headers`. Waits if many wrong ones came before it.
    pub(super) async fn token(&self, headers: &HeaderMap, peer: Peer) -> Token {
        let given = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.as_bytes().split_at_checked(7))
            .filter(|(scheme, token)| scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty());
        let (Some(known), Some((_, given))) = (&self.token, given) else {
            return Token::Missing;
        };
        let is_right = verify_slices_are_equal(&sha256(given), known).is_ok();
        self.guesses.wait(peer.network(), is_right).await;
        if is_right {
            Token::Right
        } else {
            self.refused(Refused::Token);
            Token::Wrong
        }
    }

    /// The token of a request to the mirror without a valid key. It opens the mirror only under our own names.
    pub(super) async fn mirror_token(&self, headers: &HeaderMap, peer: Peer) -> Token {
        if self.opens_mirror && self.is_host_ours(headers) {
            self.token(headers, peer).await
        } else {
            Token::Missing
        }
    }

    /// Any other name may belong to another site that resolves it to our address, so that a browser takes our responses for that
    /// site's own (DNS rebinding). An address in place of a name cannot.
    pub(super) fn is_host_ours(&self, headers: &HeaderMap) -> bool {
        let Some(host) = host(headers) else {
            return false;
        };
        let name = host.host().trim_matches(['[', ']']).trim_end_matches('.');
        name.parse::<IpAddr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || self
                .hosts
                .iter()
                .any(|ours| name.eq_ignore_ascii_case(ours))
    }

    /// Counts a refusal.
    pub(super) fn refused(&self, reason: Refused) {
        self.metrics.http_refused(reason, 1);
    }

    pub(super) fn log_refusal(&self, peer: Option<Peer>, route: &str, status: StatusCode) {
        let Some(total) = self
            .refusals
            .due(status.canonical_reason().unwrap_or(""), 1)
        else {
            return;
        };
        tracing::warn!(
            peer = peer.map(|peer| peer.0.to_string()),
            route,
            status = status.as_u16(),
            total,
            "rejected a request over HTTP"
        );
    }
}

/// The `Host` header; `None` unless there is exactly one.
fn host(headers: &HeaderMap) -> Option<Authority> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next()?.to_str().ok()?.parse().ok()?;
    hosts.next().is_none().then_some(host)
}

/// Browsers send the origin of a script; other clients send none, and have the token.
fn is_cross_site(headers: &HeaderMap) -> bool {
    let foreign_origin = headers.get(ORIGIN).is_some_and(|origin| {
        let authority = origin
            .to_str()
            .ok()
            .and_then(|origin| origin.split_once("://"))
            .and_then(|(_, authority)| authority.parse::<Authority>().ok());
        authority.is_none() || authority != host(headers)
    });
    let site = headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes);
    foreign_origin || site.is_some_and(|site| !matches!(site, b"same-origin" | b"none"))
}

/// Middleware for everything but probes, metrics and the mirror.
pub(super) async fn own_names_only(
    State(admin): State<Arc<Admin>>,
    request: Request,
    next: Next,
) -> Response {
    if admin.guard.is_host_ours(request.headers()) {
        next.run(request).await
    } else {
        admin.guard.refused(Refused::Host);
        (StatusCode::MISDIRECTED_REQUEST, UNKNOWN_HOST).into_response()
    }
}

/// Middleware for actions and for personal data.
pub(super) async fn with_token(
    State(admin): State<Arc<Admin>>,
    Extension(peer): Extension<Peer>,
    Extension(seat): Extension<Seat>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    if is_cross_site(headers) {
        admin.guard.refused(Refused::Site);
        let text = "rejected: the request comes from a page of another site\n";
        return (StatusCode::FORBIDDEN, text).into_response();
    }
    match admin.guard.token(headers, peer).await {
        Token::Right if seat.admit(&Arc::default()) => return next.run(request).await,
        Token::Right => {
            admin.guard.refused(Refused::Client);
            let headers = [(RETRY_AFTER, "1"), (CONNECTION, "close")];
            let text = "too many connections use the admin token; try again in a second\n";
            return (StatusCode::SERVICE_UNAVAILABLE, headers, text).into_response();
        }
        Token::Missing => admin.guard.refused(Refused::NoToken),
        Token::Wrong => {}
    }
    let ask = [(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))];
    let text = "this needs the admin token as a Bearer token\n";
    (StatusCode::UNAUTHORIZED, ask, text).into_response()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn guard(hosts: &[&str], token: Option<&str>) -> Guard {
        let http = config::Http {
            addr: Some("127.0.0.1:8080".parse().unwrap()),
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            admin_token: token.map(|token| token.to_owned().into()),
            token_opens_mirror: true,
            ping_url: None,
        };
        Guard::new(&http, Metrics::new().unwrap())
    }

    fn peer(number: u8) -> Peer {
        Peer((Ipv4Addr::new(10, 0, 0, number), 4_711).into())
    }

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[tokio::test]
    async fn only_the_admin_token_is_accepted() {
        let guard = guard(&[], Some("sesame"));
        let shown = async |value| {
            guard
                .token(&headers(&[(AUTHORIZATION, value)]), peer(1))
                .await
        };
        assert_eq!(shown("Bearer sesame").await, Token::Right);
        assert_eq!(shown("bearer sesame").await, Token::Right);
        for wrong in ["Bearer sesam", "Bearer sesame ", "Bearer sesame\t"] {
            assert_eq!(shown(wrong).await, Token::Wrong, "{wrong:?}");
        }
        for missing in ["Bearer ", "Basic sesame", "sesame", ""] {
            assert_eq!(shown(missing).await, Token::Missing, "{missing:?}");
        }
        assert_eq!(
            guard.token(&HeaderMap::new(), peer(1)).await,
            Token::Missing
        );
        let text = guard.metrics.render().unwrap();
        let counted = r#"cvsync_http_refused_total{reason="token"} 3"#;
        assert!(text.contains(counted), "{text}");
    }

    #[test]
    fn machine_with_an_ipv6_network_is_one_peer() {
        let network = |text: &str| Peer(text.parse().unwrap()).network();
        assert_eq!(network("[2001:db8::1]:1"), network("[2001:db8::ffff:2]:2"));
        assert_ne!(network("[2001:db8::1]:1"), network("[2001:db8:0:1::1]:1"));
        assert_eq!(network("[::ffff:10.0.0.1]:1"), network("10.0.0.1:2"));
    }

    #[tokio::test]
    async fn without_a_configured_token_nothing_is_accepted() {
        let guard = guard(&[], None);
        for value in ["Bearer ", "Bearer x", ""] {
            let headers = headers(&[(AUTHORIZATION, value)]);
            assert_eq!(guard.token(&headers, peer(1)).await, Token::Missing);
        }
    }

    #[test]
    fn only_addresses_localhost_and_configured_names_are_ours() {
        let guard = guard(&["cvsync.example", "cvsync"], None);
        let ours = |host| guard.is_host_ours(&headers(&[(HOST, host)]));
        for host in [
            "localhost",
            "LOCALHOST:1",
            "localhost.",
            "127.0.0.1:8080",
            "10.0.0.1",
            "[::1]:8080",
            "cvsync",
            "CVSYNC.example:8080",
        ] {
            assert!(ours(host), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil.cvsync.example",
            "evil.example:8080",
            "",
            "a b",
        ] {
            assert!(!ours(host), "{host}");
        }
        assert!(!guard.is_host_ours(&HeaderMap::new()));
        let two = headers(&[(HOST, "localhost"), (HOST, "localhost")]);
        assert!(!guard.is_host_ours(&two));
    }

    #[test]
    fn another_site_is_recognised_by_origin_or_fetch_metadata() {
        let cross = |pairs: &[(HeaderName, &str)]| {
            let mut all = vec![(HOST, "127.0.0.1:8080")];
            all.extend_from_slice(pairs);
            is_cross_site(&headers(&all))
        };
        assert!(!cross(&[]));
        assert!(!cross(&[(ORIGIN, "http://127.0.0.1:8080")]));
        assert!(!cross(&[(SEC_FETCH_SITE, "same-origin")]));
        for (name, value) in [
            (ORIGIN, "http://evil.example"),
            (ORIGIN, "http://127.0.0.1:8081"),
            (ORIGIN, "null"),
            (ORIGIN, ""),
            (SEC_FETCH_SITE, "cross-site"),
            (SEC_FETCH_SITE, "same-site"),
        ] {
            assert!(cross(&[(name.clone(), value)]), "{name}: {value}");
        }
    }
}
