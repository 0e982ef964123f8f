//! The cause and remedy of a failed request. Errors of libraries are not shown, because they contain URLs.

use std::error::Error;
use std::io::{self, ErrorKind};

use rustls::{AlertDescription, CertificateError, Error as Tls};

use crate::config::Proxy;

/// The target of a request, described by its variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// The variable with its URL.
    pub url: &'static str,
    /// The variable with a file of root certificates for the target.
    pub roots: &'static str,
}

/// Cause and remedy of a request that got no response, over `proxy` if there is one.
#[must_use]
pub(crate) fn cause(error: &reqwest::Error, peer: Peer, proxy: Option<&Proxy>) -> String {
    let tunnel = causes(error).find_map(|error| {
        let text = error.to_string();
        text.strip_prefix("tunnel error: ").map(str::to_owned)
    });
    let why = Why::of(error);
    let Some(proxy) = proxy.filter(|_| error.is_connect()) else {
        return why.told("the connection", peer);
    };
    let variable = proxy.variable();
    match tunnel.as_deref() {
        Some("proxy authorization required") => refusal(proxy, 407),
        Some("unsuccessful") => format!(
            "the proxy {proxy} refuses to connect to this host; ask its administrator to allow the host, or add it to NO_PROXY"
        ),
        Some("unexpected end of file") => format!(
            "the proxy {proxy} closed the connection; check in {variable} that it is an HTTP proxy"
        ),
        Some("failed to create underlying connection" | "io error establishing tunnel") => {
            let proxy_itself = Peer {
                url: variable,
                roots: peer.roots,
            };
            let why = why.told("its connection", proxy_itself);
            format!("the proxy {proxy} cannot be reached: {why}")
        }
        Some(_) => {
            format!("the proxy {proxy} does not respond like an HTTP proxy; check {variable}")
        }
        None if matches!(why, Why::TimedOut) => {
            format!("connecting through the proxy {proxy} timed out; check {variable}")
        }
        None if matches!(why, Why::Tls(_)) => why.told("the connection", peer),
        None => {
            let why = why.told(
                "its connection",
                Peer {
                    url: variable,
                    ..peer
                },
            );
            format!("the proxy {proxy} cannot be reached: {why}")
        }
    }
}

/// Cause and remedy of a status that only a proxy returns.
#[must_use]
pub(crate) fn refusal(proxy: &Proxy, status: u16) -> String {
    format!(
        "the proxy {proxy} requires valid credentials (status {status}); set {} to http://USER:PASSWORD@HOST:PORT",
        proxy.variable()
    )
}

/// The chain of sources of an error.
fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |error| below(*error))
}

/// The error that another one wraps. `io::Error` does not return it as its source.
fn below<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
    {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

/// The cause, as far as the libraries tell.
enum Why {
    TimedOut,
    NoSuchName,
    Refused,
    NoRoute,
    Closed,
    Tls(Tls),
    Unknown,
}

impl Why {
    fn of(error: &reqwest::Error) -> Self {
        if error.is_timeout() {
            return Self::TimedOut;
        }
        if error.is_dns() {
            return Self::NoSuchName;
        }
        let mut found = Self::Unknown;
        for error in causes(error) {
            if let Some(tls) = error.downcast_ref::<Tls>() {
                return Self::Tls(tls.clone());
            }
            let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
            found = match kind {
                Some(ErrorKind::ConnectionRefused) => Self::Refused,
                Some(ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable) => Self::NoRoute,
                Some(ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof) => Self::Closed,
                Some(ErrorKind::TimedOut) => Self::TimedOut,
                _ => found,
            };
        }
        found
    }

    fn told(&self, connection: &str, Peer { url, roots }: Peer) -> String {
        match self {
            Self::TimedOut => format!(
                "{connection} timed out; check the host in {url}, and that no firewall blocks it"
            ),
            Self::NoSuchName => {
                format!(
                    "the host name does not resolve; check it in {url}, and check DNS on this machine"
                )
            }
            Self::Refused => format!(
                "{connection} was refused; check host and port in {url}, and that the server runs"
            ),
            Self::NoRoute => {
                format!(
                    "there is no network route to the host; check it in {url}, and check the network of this machine"
                )
            }
            Self::Closed => format!(
                "{connection} was closed during the handshake; check in {url} that the port uses TLS"
            ),
            Self::Tls(error) => tls(error, url, roots),
            Self::Unknown => format!("{connection} failed; check {url}"),
        }
    }
}

fn tls(error: &Tls, url: &str, roots: &str) -> String {
    match error {
        Tls::InvalidCertificate(error) => certificate(error, url, roots),
        Tls::InvalidMessage(_) | Tls::InappropriateMessage { .. } => {
            format!("the server does not speak TLS; check the port in {url}")
        }
        Tls::AlertReceived(AlertDescription::ProtocolVersion) | Tls::PeerIncompatible(_) => {
            "the server supports no safe TLS version or cipher; it must support TLS 1.2 or newer"
                .to_owned()
        }
        Tls::AlertReceived(alert) => {
            format!("the server ended the TLS handshake ({alert:?}); check the host in {url}")
        }
        _ => format!("the TLS handshake failed; check that the server in {url} supports TLS"),
    }
}

fn certificate(error: &CertificateError, url: &str, roots: &str) -> String {
    match error {
        CertificateError::UnknownIssuer => format!(
            "the certificate has an unknown issuer; set {roots} to a PEM file with the issuer's root certificate"
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the certificate has expired; check the clock of this machine, otherwise the server needs a new certificate"
                .to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the certificate is not valid yet; check the clock of this machine and the server's certificate"
                .to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!(
                "the certificate is for another host name; use a host name in {url} that the certificate contains"
            )
        }
        CertificateError::Revoked => {
            "the certificate is revoked; the server needs a new one".to_owned()
        }
        // Such as CaUsedAsEndEntity.
        CertificateError::Other(other) => format!(
            "the certificate is invalid ({other}); the server needs another one, with its root certificate in {roots}"
        ),
        _ => "the certificate is invalid; the server needs another one".to_owned(),
    }
}
