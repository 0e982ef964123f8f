//! Access control over HTTP: actions need the admin token, and scripts of other sites are rejected.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN, WWW_AUTHENTICATE};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use secrecy::ExposeSecret;

use super::Admin;
use crate::config;
use crate::model::sha256;
use crate::telemetry::Throttle;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The address of the client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub SocketAddr);

#[derive(Debug)]
pub struct Guard {
    /// SHA-256 of the admin token, so that a comparison takes the same time for all input.
    token: Option<[u8; 32]>,
    /// Whether the listener accepts connections from this machine only.
    loopback: bool,
    refusals: Throttle,
}

impl Guard {
    #[must_use]
    pub fn new(http: &config::Http) -> Self {
        Self {
            token: http
                .admin_token
                .as_ref()
                .map(|token| sha256(token.expose_secret().as_bytes())),
            loopback: http.addr.is_some_and(|addr| addr.ip().is_loopback()),
            refusals: Throttle::new(),
        }
    }

    /// Whether actions are on.
    #[must_use]
    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Whether `headers` have the admin token.
    pub(super) fn knows(&self, headers: &HeaderMap) -> bool {
        let given = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.as_bytes().split_at_checked(7))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "))
            .map_or([0; 32], |(_, token)| sha256(token));
        let known = self.token.unwrap_or_default();
        self.token.is_some() && verify_slices_are_equal(&given, &known).is_ok()
    }

    /// On loopback, any other name belongs to another site that resolves it to 127.0.0.1, so that a browser takes our responses
    /// for that site's own (DNS rebinding).
    fn is_host_ours(&self, headers: &HeaderMap) -> bool {
        let Some(host) = host(headers) else {
            return false;
        };
        let name = host.host().trim_matches(['[', ']']);
        !self.loopback
            || name.eq_ignore_ascii_case("localhost")
            || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
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

pub(super) async fn page_alone(
    State(admin): State<Arc<Admin>>,
    request: Request,
    next: Next,
) -> Response {
    if admin.guard.is_host_ours(request.headers()) {
        next.run(request).await
    } else {
        misdirected()
    }
}

/// Middleware for actions and for personal data.
pub(super) async fn with_token(
    State(admin): State<Arc<Admin>>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    if !admin.guard.is_host_ours(headers) {
        misdirected()
    } else if is_cross_site(headers) {
        let text = "rejected: the request comes from a page of another site\n";
        (StatusCode::FORBIDDEN, text).into_response()
    } else if admin.guard.knows(headers) {
        next.run(request).await
    } else {
        let ask = [(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))];
        (
            StatusCode::UNAUTHORIZED,
            ask,
            "this needs the admin token as a Bearer token\n",
        )
            .into_response()
    }
}

fn misdirected() -> Response {
    let text = "rejected: unknown Host; on a loopback address cvsync responds only to localhost and loopback addresses\n";
    (StatusCode::MISDIRECTED_REQUEST, text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(addr: &str, token: Option<&str>) -> Guard {
        Guard::new(&config::Http {
            addr: Some(addr.parse().unwrap()),
            admin_token: token.map(|token| token.to_owned().into()),
            ping_url: None,
        })
    }

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn only_the_admin_token_is_accepted() {
        let guard = guard("127.0.0.1:8080", Some("sesame"));
        let knows = |value| guard.knows(&headers(&[(AUTHORIZATION, value)]));
        assert!(knows("Bearer sesame"));
        assert!(knows("bearer sesame"));
        for wrong in [
            "Bearer sesam",
            "Bearer sesame ",
            "Basic sesame",
            "sesame",
            "Bearer ",
            "",
        ] {
            assert!(!knows(wrong), "{wrong:?}");
        }
        assert!(!guard.knows(&HeaderMap::new()));
    }

    #[test]
    fn without_a_configured_token_nothing_is_accepted() {
        let guard = guard("127.0.0.1:8080", None);
        for value in ["Bearer ", "Bearer x", ""] {
            assert!(!guard.knows(&headers(&[(AUTHORIZATION, value)])));
        }
        assert!(!guard.knows(&HeaderMap::new()));
    }

    #[test]
    fn loopback_accepts_only_names_of_this_machine() {
        let guard = guard("127.0.0.1:8080", None);
        let ours = |host| guard.is_host_ours(&headers(&[(HOST, host)]));
        for host in [
            "localhost",
            "LOCALHOST:1",
            "127.0.0.1:8080",
            "127.3.2.1",
            "[::1]:8080",
        ] {
            assert!(ours(host), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil.example:8080",
            "10.0.0.1",
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
    fn other_addresses_accept_any_single_host() {
        let guard = guard("0.0.0.0:8080", None);
        assert!(guard.is_host_ours(&headers(&[(HOST, "cvsync.example:8080")])));
        assert!(!guard.is_host_ours(&HeaderMap::new()));
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
