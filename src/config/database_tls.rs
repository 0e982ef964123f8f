//! TLS of connections to PostgreSQL: the mode and the certificates.

use std::path::PathBuf;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::database::ServerLocation;
use super::file;
use super::postgres_url::Postgres;
use super::ssl_mode::SslMode;

#[derive(Clone, Debug)]
pub struct Tls {
    pub mode: SslMode,
    /// Accepted issuers of the server's certificate, if the mode verifies it.
    pub roots: Roots,
    /// The client certificate and its key.
    pub client: Option<(Pem, Pem)>,
    /// Whether the server is on another machine.
    remote: bool,
}

#[derive(Clone, Debug)]
pub enum Roots {
    /// The root certificates of this machine, as for the API.
    Platform,
    /// Only the certificates of `sslrootcert`.
    Named(Pem),
}

/// A PEM file that was read and can be used.
#[derive(Clone, Debug)]
pub enum Pem {
    /// The path. The file is read again for each connection, so that a renewed certificate is used.
    File(PathBuf),
    /// The text, if sqlx cannot read the file because of a byte order mark.
    Text(Vec<u8>),
}

/// The value of `sslrootcert` for the root certificates of this machine.
const SYSTEM: &str = "system";

/// Some editors write it before UTF-8 text.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

impl Tls {
    /// Follows libpq, with two exceptions: a remote server is verified unless the URL has a weaker mode, and a root certificate
    /// without a mode enables verification.
    ///
    /// # Errors
    /// A file that cannot be used, or parameters that contradict each other, as text that reads on from the name of the
    /// variable.
    pub(super) fn of(url: &Postgres, place: ServerLocation) -> Result<Self, String> {
        if place == ServerLocation::Socket {
            return Ok(Self {
                mode: SslMode::Disable,
                roots: Roots::Platform,
                client: None,
                remote: false,
            });
        }
        let remote = place == ServerLocation::Remote;
        let by_default = if remote || url.root_cert.is_some() {
            SslMode::VerifyFull
        } else {
            SslMode::Prefer
        };
        let mut mode = url.mode.unwrap_or(by_default);
        let from_environment = || {
            let path = std::env::var("PGSSLROOTCERT").ok();
            path.filter(|path| path != SYSTEM)
        };
        let named = url.root_cert.clone().or_else(from_environment);
        let mut roots = Roots::Platform;
        match named.filter(|path| !path.is_empty()) {
            Some(path) if path == SYSTEM && mode == SslMode::VerifyFull => {}
            Some(path) if path == SYSTEM => {
                return Err(format!(
                    "has sslrootcert=system with sslmode={}; it needs sslmode=verify-full",
                    mode.name()
                ));
            }
            Some(path) if mode >= SslMode::Require => {
                mode = mode.max(SslMode::VerifyCa);
                roots = Roots::Named(pem("sslrootcert", &path, has_certificates)?);
            }
            _ => {}
        }
        if mode == SslMode::VerifyFull && url.host_is_replaced {
            return Err(
                "has a host and a hostaddr; use one of them, because cvsync verifies the certificate against the hostaddr"
                    .to_owned(),
            );
        }
        Ok(Self {
            mode,
            roots,
            client: client(url)?,
            remote,
        })
    }

    /// Says what is not verified about a remote server; `None` if everything is, or if the server is on this machine.
    #[must_use]
    pub fn unverified(&self) -> Option<&'static str> {
        match self.mode {
            _ if !self.remote => None,
            SslMode::Disable | SslMode::Allow => {
                Some("the connection is not encrypted and the server is not verified")
            }
            SslMode::Prefer => {
                Some("the connection may be unencrypted and the server is not verified")
            }
            SslMode::Require => Some("the server's certificate is not verified"),
            SslMode::VerifyCa => Some("the host name of the server's certificate is not verified"),
            SslMode::VerifyFull => None,
        }
    }
}

/// The client certificate and its key, from the URL or from libpq's variables.
fn client(url: &Postgres) -> Result<Option<(Pem, Pem)>, String> {
    // sqlx reads these itself, but its errors do not say what is wrong.
    let or_environment = |own: &Option<String>, name| {
        let path = own.clone().or_else(|| std::env::var(name).ok());
        path.filter(|path| !path.is_empty())
    };
    let cert = or_environment(&url.client_cert, "PGSSLCERT");
    let key = or_environment(&url.client_key, "PGSSLKEY");
    match (&cert, &key) {
        (Some(cert), Some(key)) => Ok(Some((
            pem("sslcert", cert, has_certificates)?,
            pem("sslkey", key, has_key)?,
        ))),
        (None, None) => Ok(None),
        (Some(_), None) => Err("has sslcert without sslkey; give both".to_owned()),
        (None, Some(_)) => Err("has sslkey without sslcert; give both".to_owned()),
    }
}

/// A file whose content passes `is_usable`. An error shows the path, which is not secret.
fn pem(
    parameter: &str,
    path: &str,
    is_usable: impl FnOnce(&[u8]) -> Result<(), String>,
) -> Result<Pem, String> {
    let read = file::bytes(path).and_then(|content| {
        let text = content.strip_prefix(BYTE_ORDER_MARK);
        is_usable(text.unwrap_or(&content))?;
        Ok(text.map(<[u8]>::to_vec))
    });
    match read {
        Ok(None) => Ok(Pem::File(path.into())),
        Ok(Some(text)) => Ok(Pem::Text(text)),
        Err(what) => Err(format!(
            "has an {parameter} that cannot be used: the file {path:?} {what}"
        )),
    }
}

fn has_certificates(content: &[u8]) -> Result<(), String> {
    const FORM: &str = "(-----BEGIN CERTIFICATE-----)";
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(content) {
        let certificate = certificate.map_err(|error| format!("is not valid PEM: {error}"))?;
        roots
            .add(certificate)
            .map_err(|_| "contains a certificate that cannot be read".to_owned())?;
    }
    if !roots.is_empty() {
        return Ok(());
    }
    if content.first() == Some(&0x30) {
        return Err(format!(
            "contains no certificate in PEM {FORM}; convert it: openssl x509 -inform der -in FILE -out FILE.pem"
        ));
    }
    Err(format!("contains no certificate in PEM {FORM}"))
}

fn has_key(content: &[u8]) -> Result<(), String> {
    PrivateKeyDer::from_pem_slice(content)
        .map(drop)
        .map_err(|_| {
            "contains no private key in PEM (-----BEGIN PRIVATE KEY-----) without a passphrase"
                .to_owned()
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::postgres_url::postgres;

    fn tls(url: &str, place: ServerLocation) -> Result<Tls, String> {
        Tls::of(&postgres(url).unwrap(), place)
    }

    fn with_files(parameters: &str) -> Result<Tls, String> {
        tls(
            &format!("postgres://me@db/cv?{parameters}"),
            ServerLocation::Remote,
        )
    }

    /// The path of a new file with this content.
    fn file(folder: &tempfile::TempDir, name: &str, content: &[u8]) -> String {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// A real root certificate: the first that this machine trusts.
    fn certificate() -> Vec<u8> {
        let found = rustls_native_certs::load_native_certs().certs;
        found
            .first()
            .expect("ca-certificates is installed")
            .to_vec()
    }

    fn pem_of(der: &[u8]) -> String {
        use base64::Engine;
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    }

    #[test]
    fn remote_server_is_verified_unless_the_url_names_a_weaker_mode() {
        let mode = |url, place| tls(url, place).unwrap().mode;
        let plain = "postgres://me@db/cv";
        assert_eq!(mode(plain, ServerLocation::Remote), SslMode::VerifyFull);
        assert_eq!(mode(plain, ServerLocation::ThisMachine), SslMode::Prefer);
        let tricky = "postgres://u:sslmode=x@db/sslmode=disable";
        assert_eq!(mode(tricky, ServerLocation::Remote), SslMode::VerifyFull);
        let strict = "postgres://me@db/cv?sslmode=verify-full";
        assert_eq!(mode(strict, ServerLocation::Socket), SslMode::Disable);
        for weak in SslMode::ALL {
            let url = format!("{plain}?sslmode={}", weak.name());
            let found = tls(&url, ServerLocation::Remote).unwrap();
            assert_eq!(found.mode, weak);
            assert_eq!(found.unverified().is_some(), weak < SslMode::VerifyFull);
            assert_eq!(
                tls(&url, ServerLocation::ThisMachine).unwrap().unverified(),
                None
            );
        }
    }

    #[test]
    fn root_certificate_makes_require_verify_and_replaces_the_public_ones() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(&folder, "ca.pem", pem_of(&certificate()).as_bytes());
        for (mode, holds, named) in [
            ("disable", SslMode::Disable, false),
            ("prefer", SslMode::Prefer, false),
            ("require", SslMode::VerifyCa, true),
            ("verify-ca", SslMode::VerifyCa, true),
            ("verify-full", SslMode::VerifyFull, true),
        ] {
            let found = with_files(&format!("sslmode={mode}&sslrootcert={path}")).unwrap();
            assert_eq!(found.mode, holds);
            assert_eq!(matches!(found.roots, Roots::Named(_)), named, "{mode}");
        }
        let url = format!("postgres://me@localhost/cv?sslrootcert={path}");
        let here = tls(&url, ServerLocation::ThisMachine).unwrap();
        assert_eq!(here.mode, SslMode::VerifyFull);
    }

    #[test]
    fn system_stands_for_the_roots_of_this_machine_and_needs_full_verification() {
        let found = with_files("sslrootcert=system").unwrap();
        assert!(matches!(found.roots, Roots::Platform));
        let problem = with_files("sslrootcert=system&sslmode=require").unwrap_err();
        assert!(problem.contains("sslmode=verify-full"), "{problem}");
    }

    #[test]
    fn file_of_certificates_is_checked_when_the_url_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let (der, pem) = (certificate(), pem_of(&certificate()));
        let marked = [BYTE_ORDER_MARK, pem.as_bytes()].concat();
        let read = |path: &str| with_files(&format!("sslrootcert={path}")).map(|tls| tls.roots);
        let two = file(&folder, "two", pem.repeat(2).as_bytes());
        assert!(matches!(read(&two), Ok(Roots::Named(Pem::File(_)))));
        let marked = file(&folder, "marked", &marked);
        let Ok(Roots::Named(Pem::Text(text))) = read(&marked) else {
            panic!("a byte order mark is skipped");
        };
        assert_eq!(text, pem.as_bytes());
        for (path, what) in [
            ("/no/such/file".to_owned(), "No such file"),
            (folder.path().to_str().unwrap().to_owned(), "cannot be read"),
            (
                file(&folder, "empty", b""),
                "contains no certificate in PEM",
            ),
            (file(&folder, "der", &der), "openssl x509 -inform der"),
            (file(&folder, "cut", &pem.as_bytes()[..200]), "PEM"),
            (
                file(&folder, "not", pem_of(b"no").as_bytes()),
                "cannot be read",
            ),
        ] {
            let problem = read(&path).unwrap_err();
            assert!(
                problem.contains(what) && problem.contains("sslrootcert"),
                "{path}: {problem}"
            );
        }
    }

    #[test]
    fn client_certificate_needs_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(&folder, "c", pem_of(&certificate()).as_bytes());
        let alone = with_files(&format!("sslcert={path}")).unwrap_err();
        assert!(alone.contains("sslcert without sslkey"), "{alone}");
        let keyless = with_files(&format!("sslcert={path}&sslkey={path}")).unwrap_err();
        assert!(keyless.contains("contains no private key"), "{keyless}");
    }

    #[test]
    fn name_is_not_verified_against_another_address() {
        let url = "hostaddr=10.0.0.7";
        assert!(with_files(url).unwrap_err().contains("use one of them"));
        assert!(with_files(&format!("{url}&sslmode=require")).is_ok());
    }
}
