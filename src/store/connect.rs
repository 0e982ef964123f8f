//! How to connect: the URL and the TLS settings as sqlx takes them, and why a connection fails.

use std::io::ErrorKind;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::RootCertStore;
use secrecy::ExposeSecret;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::{StoreError, cause};
use crate::config::{Database, Pem, Roots, SslMode};
use crate::model::one_line;

/// The options of sqlx for this database.
///
/// # Errors
/// [`StoreError::Broken`] where this machine has no root certificates to verify the server with.
pub(super) fn options(database: &Database) -> Result<PgConnectOptions, StoreError> {
    let tls = &database.tls;
    let mut options = PgConnectOptions::from_str(database.url.expose_secret())
        .map_err(|_| StoreError::Broken(format!("{} cannot be read", database.variable)))?
        .statement_cache_capacity(0)
        .extra_float_digits(None)
        .ssl_mode(match tls.mode {
            SslMode::Disable => PgSslMode::Disable,
            SslMode::Allow => PgSslMode::Allow,
            SslMode::Prefer => PgSslMode::Prefer,
            SslMode::Require => PgSslMode::Require,
            SslMode::VerifyCa => PgSslMode::VerifyCa,
            SslMode::VerifyFull => PgSslMode::VerifyFull,
        });
    // A URL has an IPv6 address in brackets, which sqlx would look up as a name.
    let bracketed = |host: &str| Some(host.strip_prefix('[')?.strip_suffix(']')?.to_owned());
    if let Some(address) = bracketed(options.get_host()) {
        options = options.host(&address);
    }
    match &tls.roots {
        Roots::Named(Pem::File(path)) => options = options.ssl_root_cert(path),
        Roots::Named(Pem::Text(text)) => options = options.ssl_root_cert_from_pem(text.clone()),
        Roots::Platform if tls.mode >= SslMode::VerifyCa => {
            options = options.ssl_root_cert_from_pem(platform_roots()?);
        }
        Roots::Platform => {}
    }
    if let Some((cert, key)) = &tls.client {
        options = match cert {
            Pem::File(path) => options.ssl_client_cert(path),
            Pem::Text(text) => options.ssl_client_cert_from_pem(text),
        };
        options = match key {
            Pem::File(path) => options.ssl_client_key(path),
            Pem::Text(text) => options.ssl_client_key_from_pem(text),
        };
    }
    if !database.has_name {
        options = options.application_name("cvsync");
    }
    tell_once(database);
    Ok(options)
}

/// Says once for each process and variable what the URL asks for and does not get, and what it gives up.
fn tell_once(database: &Database) {
    static TOLD: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());
    let variable = database.variable;
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    if told.contains(&variable) {
        return;
    }
    told.push(variable);
    for parameter in &database.without_effect {
        tracing::info!(
            parameter,
            "this parameter of {variable}, or variable of libpq, has no effect; docs/database.md says why"
        );
    }
    if let Some(unverified) = database.tls.unverified() {
        tracing::warn!(
            sslmode = database.tls.mode.name(),
            "{unverified}; use sslmode=verify-full in {variable}, with sslrootcert=FILE for an issuer of your own"
        );
    }
}

/// The root certificates of this machine in PEM, or of `SSL_CERT_FILE` and `SSL_CERT_DIR`: those that count for the API.
fn platform_roots() -> Result<Vec<u8>, StoreError> {
    let mut usable = RootCertStore::empty();
    let mut pem = String::new();
    for certificate in rustls_native_certs::load_native_certs().certs {
        // sqlx refuses all of them where it cannot read one.
        if usable.add(certificate.clone()).is_ok() {
            pem += "-----BEGIN CERTIFICATE-----\n";
            pem += &STANDARD.encode(certificate);
            pem += "\n-----END CERTIFICATE-----\n";
        }
    }
    if usable.is_empty() {
        return Err(StoreError::Broken(
            "this machine has no root certificates to verify the server with; install ca-certificates, check SSL_CERT_FILE and SSL_CERT_DIR, or add sslrootcert=FILE to CVSYNC_DATABASE_URL"
                .to_owned(),
        ));
    }
    Ok(pem.into_bytes())
}

/// Without a host sqlx takes a folder of sockets, where there is one.
fn is_socket(options: &PgConnectOptions) -> bool {
    options.get_socket().is_some() || options.get_host().starts_with('/')
}

/// Why a connection could not be opened.
pub(super) async fn refused(options: &PgConnectOptions, error: sqlx::Error) -> StoreError {
    match error {
        // Files are read again for each connection.
        sqlx::Error::Io(io)
            if !is_socket(options)
                && matches!(io.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) =>
        {
            StoreError::Passing(format!(
                "a file of sslrootcert, sslcert or sslkey in CVSYNC_DATABASE_URL cannot be read: {}; check that it exists, and its permissions",
                io.kind()
            ))
        }
        sqlx::Error::Io(io) if options.get_socket().is_none() && !cause::is_known(&io) => {
            let host = (options.get_host(), options.get_port());
            let resolved = tokio::net::lookup_host(host).await;
            if resolved.is_err() {
                return StoreError::Passing(
                    "the host name in CVSYNC_DATABASE_URL does not resolve; check its spelling, and the DNS of this machine".to_owned(),
                );
            }
            sqlx::Error::Io(io).into()
        }
        sqlx::Error::Protocol(_) => StoreError::Passing(
            "the answer to a new connection cannot be read; check that CVSYNC_DATABASE_URL names a PostgreSQL server or PgBouncer, and see the log of the server".to_owned(),
        ),
        sqlx::Error::Database(database) if database.code().is_some_and(|code| code == "42501") => {
            let name = options.get_database().unwrap_or(options.get_username());
            StoreError::Broken(format!(
                "{} (SQLSTATE 42501); run as the owner of the database: GRANT CONNECT ON DATABASE \"{name}\" TO \"{}\"",
                one_line(database.message(), cause::LONGEST),
                options.get_username()
            ))
        }
        error => error.into(),
    }
}
