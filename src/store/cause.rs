//! Why PostgreSQL cannot be reached, and what to do about it: from the types of errors, never from their words.

use std::io;

use rustls::{AlertDescription, CertificateError, Error as TlsError};

use sqlx::error::DatabaseError;

use super::StoreError;
use crate::model::one_line;

/// The longest message of the server that is shown, in characters.
pub(super) const LONGEST: usize = 400;

/// A connection that failed, or broke off.
pub(super) fn of_io(error: &io::Error) -> StoreError {
    if let Some(tls) = tls(error) {
        return of_tls(tls);
    }
    let (what, remedy) = match error.kind() {
        io::ErrorKind::ConnectionRefused => (
            "connection refused",
            "check that PostgreSQL runs, and the host and port in CVSYNC_DATABASE_URL",
        ),
        io::ErrorKind::NotFound => (
            "no such socket",
            "check that PostgreSQL runs, and the folder of its socket in CVSYNC_DATABASE_URL",
        ),
        io::ErrorKind::PermissionDenied => (
            "permission denied",
            "give this process access to the socket of PostgreSQL",
        ),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => (
            "host unreachable",
            "check the network, and the host in CVSYNC_DATABASE_URL",
        ),
        io::ErrorKind::TimedOut => ("timed out", "check the network"),
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => (
            "the server closed the connection",
            "see the log of the server",
        ),
        kind => {
            return StoreError::Passing(format!("no connection: {kind}"));
        }
    };
    StoreError::Passing(format!("no connection: {what}; {remedy}"))
}

/// An error of TLS itself, or of a file that it needs.
pub(super) fn of_tls_layer(error: &(dyn std::error::Error + 'static)) -> StoreError {
    match error.downcast_ref::<TlsError>() {
        Some(error) => of_tls(error),
        // sqlx has no type for it.
        None if error.to_string() == "server does not support TLS" => StoreError::Broken(
            "the server does not offer TLS; turn it on there, or add sslmode=disable to CVSYNC_DATABASE_URL if you trust the network"
                .to_owned(),
        ),
        None => StoreError::Broken(
            "TLS cannot be set up; check the host name and the files of sslrootcert, sslcert and sslkey in CVSYNC_DATABASE_URL"
                .to_owned(),
        ),
    }
}

/// Whether the system or TLS says what was wrong, in contrast to a host name that does not resolve.
pub(super) fn is_known(error: &io::Error) -> bool {
    error.raw_os_error().is_some()
        || tls(error).is_some()
        || error.kind() == io::ErrorKind::UnexpectedEof
}

fn tls(error: &io::Error) -> Option<&TlsError> {
    error.get_ref()?.downcast_ref()
}

fn of_tls(error: &TlsError) -> StoreError {
    let said = match error {
        TlsError::InvalidCertificate(invalid) => return StoreError::Broken(of_certificate(invalid)),
        TlsError::AlertReceived(alert) => match alert {
            AlertDescription::CertificateRequired => {
                "the server demands a client certificate; add sslcert=FILE&sslkey=FILE to CVSYNC_DATABASE_URL".to_owned()
            }
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::AccessDenied => format!(
                "the server refuses the client certificate ({alert:?}); check sslcert and sslkey in CVSYNC_DATABASE_URL, and ssl_ca_file of the server"
            ),
            alert => {
                return StoreError::Passing(format!("the server refuses TLS ({alert:?}); see its log"));
            }
        },
        TlsError::PeerIncompatible(why) => {
            format!("the server has no version or cipher of TLS that cvsync accepts ({why:?}); it must offer TLS 1.2 or newer")
        }
        TlsError::InconsistentKeys(_) => {
            "the client key does not fit the client certificate; check sslcert and sslkey in CVSYNC_DATABASE_URL".to_owned()
        }
        error => {
            return StoreError::Passing(format!("TLS failed: {error}; see the log of the server"));
        }
    };
    StoreError::Broken(said)
}

fn of_certificate(invalid: &CertificateError) -> String {
    const RENEW: &str = "renew it, and check the clocks of both machines";
    match invalid {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "the server's certificate has an unknown issuer; add sslrootcert=FILE with the issuer's certificate to CVSYNC_DATABASE_URL, or correct the one that it names".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("the server's certificate has expired; {RENEW}")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("the server's certificate is not valid yet; {RENEW}")
        }
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => {
            let names = if presented.is_empty() {
                "has no subjectAltName".to_owned()
            } else {
                format!("is for {}", names(presented))
            };
            format!(
                "the server's certificate is for another host name: it {names}, and the host in CVSYNC_DATABASE_URL is {}; correct the host, reissue the certificate, or add sslmode=verify-ca to verify its issuer alone",
                expected.to_str()
            )
        }
        CertificateError::NotValidForName => {
            "the server's certificate is for another host name; correct the host in CVSYNC_DATABASE_URL, or add sslmode=verify-ca to verify the issuer alone".to_owned()
        }
        CertificateError::Other(other) if other.to_string() == "CaUsedAsEndEntity" => {
            "the server's certificate is that of a certificate authority (CA:TRUE); issue one for the server with CA:FALSE".to_owned()
        }
        invalid => format!("the server's certificate cannot be used: {invalid}; reissue it"),
    }
}

/// Names of a certificate, which rustls gives as `DnsName("db.example")`; the first few of them.
fn names(presented: &[String]) -> String {
    const ENOUGH: usize = 5;
    let plain = |name: &String| {
        let (_, value) = name.split_once('(').unwrap_or(("", name));
        value.trim_matches(['"', ')']).to_owned()
    };
    let mut names: Vec<String> = presented.iter().take(ENOUGH).map(plain).collect();
    if presented.len() > ENOUGH {
        names.push("…".to_owned());
    }
    names.join(", ")
}

/// The remedy for a refused connection or statement, by SQLSTATE.
pub(super) fn remedy(code: &str) -> Option<&'static str> {
    Some(match code {
        "28P01" => "check the user and password in CVSYNC_DATABASE_URL",
        "28000" => {
            "check the user, database and sslmode in CVSYNC_DATABASE_URL, that the role may log in, and pg_hba.conf of the server"
        }
        "3D000" => {
            "check the database in CVSYNC_DATABASE_URL, or create it: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        }
        "08P01" => {
            "if PgBouncer is in between, check its databases, users and ignore_startup_parameters"
        }
        "42501" => "run `cvsync check`, which prints the missing GRANT",
        "53300" => "raise max_connections of the server, or end other connections",
        "25006" => {
            "check that CVSYNC_DATABASE_URL names the primary, and default_transaction_read_only"
        }
        _ => return None,
    })
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database) => from_database(database.as_ref()),
            sqlx::Error::Io(io) => of_io(io),
            sqlx::Error::Tls(error) => of_tls_layer(error.as_ref()),
            sqlx::Error::PoolTimedOut => {
                Self::Passing("no connection became free in time".to_owned())
            }
            sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed | sqlx::Error::BeginFailed => {
                Self::Passing("the connection was closed".to_owned())
            }
            sqlx::Error::Protocol(_) => Self::Passing("the connection broke off".to_owned()),
            sqlx::Error::Configuration(_) => Self::Broken(
                "the settings of the connection cannot be used; check sslrootcert, sslcert and sslkey in CVSYNC_DATABASE_URL (a key must have no passphrase)"
                    .to_owned(),
            ),
            _ => Self::Broken(
                "an answer that cvsync does not understand; was the schema changed by hand?"
                    .to_owned(),
            ),
        }
    }
}

fn from_database(error: &dyn DatabaseError) -> StoreError {
    let code = error.code().unwrap_or_default().into_owned();
    let remedy = remedy(&code).map_or_else(String::new, |remedy| format!("; {remedy}"));
    let message = || {
        format!(
            "{} (SQLSTATE {code}){remedy}",
            one_line(error.message(), LONGEST)
        )
    };
    match code.get(..2).unwrap_or_default() {
        "22" | "23" | "54" => StoreError::Data(code),
        "25" if code == "25006" => StoreError::ReadOnly(message()),
        // 57014: cancelled, as by our own limit. The rest: state of the transaction, rollback, not now, a file that cannot be read.
        "57" if code == "57014" => StoreError::Statement(message()),
        "25" | "40" | "55" | "58" => StoreError::Statement(message()),
        // Connection, resources, operator.
        "08" | "53" | "57" => StoreError::Passing(message()),
        "3D" => StoreError::Gone(message()),
        "42" | "3F" if matches!(&*code, "42P01" | "3F000") => StoreError::Gone(format!(
            "cvsync's schema is not there, or not whole (SQLSTATE {code}); run `cvsync migrate` or `cvsync run` first"
        )),
        // These messages name users, databases and tables, and no values; those of other classes may.
        "28" | "42" => StoreError::Broken(message()),
        _ => StoreError::Broken(format!("SQLSTATE {code}; see the log of the server")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(error: TlsError) -> String {
        of_io(&io::Error::new(io::ErrorKind::InvalidData, error)).to_string()
    }

    #[test]
    fn certificate_error_names_cause_and_remedy() {
        for (error, cause, remedy) in [
            (
                CertificateError::UnknownIssuer,
                "unknown issuer",
                "sslrootcert=",
            ),
            (CertificateError::Expired, "expired", "renew"),
            (CertificateError::NotValidYet, "not valid yet", "clock"),
            (CertificateError::NotValidForName, "host name", "verify-ca"),
            (CertificateError::Revoked, "Revoked", "reissue"),
        ] {
            let said = said(TlsError::InvalidCertificate(error));
            assert!(said.contains(cause) && said.contains(remedy), "{said}");
        }
    }

    #[test]
    fn alert_of_the_server_is_about_the_client_certificate() {
        let said = said(TlsError::AlertReceived(
            AlertDescription::CertificateRequired,
        ));
        assert!(said.contains("sslcert=FILE&sslkey=FILE"), "{said}");
    }

    #[test]
    fn every_kind_of_io_error_is_an_outage() {
        for kind in [
            io::ErrorKind::ConnectionRefused,
            io::ErrorKind::NotFound,
            io::ErrorKind::UnexpectedEof,
            io::ErrorKind::Other,
        ] {
            assert!(of_io(&kind.into()).is_outage());
        }
    }
}
