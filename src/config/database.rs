//! The destination: the PostgreSQL database.

use std::net::IpAddr;

use secrecy::SecretString;

use super::reader::Reader;
use super::{Env, Problems, Tls, load, postgres_url};

/// The variable of the primary's URL.
pub(crate) const DATABASE_URL: &str = "CVSYNC_DATABASE_URL";

/// The variable of the URL from which the mirror reads.
pub(crate) const DATABASE_READ_URL: &str = "CVSYNC_DATABASE_READ_URL";

#[derive(Clone, Debug)]
pub struct Database {
    /// The variable of the URL.
    pub variable: &'static str,
    /// The URL as configured.
    pub given: SecretString,
    /// `postgres://user:password@host:port/database`, with only the parameters that sqlx knows.
    pub url: SecretString,
    pub tls: Tls,
    /// Whether the URL has an `application_name` of its own.
    pub has_name: bool,
    /// Parameters of the URL and variables of libpq that have no effect.
    pub without_effect: Vec<&'static str>,
}

/// The location of a server, as seen from this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServerLocation {
    /// Behind a socket of this machine, which needs no TLS.
    Socket,
    /// On this machine, over TCP.
    ThisMachine,
    Remote,
}

impl ServerLocation {
    /// The location of this host. Without a host, sqlx connects to a socket, or otherwise to `localhost`.
    fn of(host: Option<&str>) -> Self {
        let Some(host) = host.filter(|host| !host.is_empty()) else {
            return Self::Socket;
        };
        let address = host.trim_matches(['[', ']']).parse();
        if host.starts_with('/') {
            Self::Socket
        } else if host == "localhost" || address.is_ok_and(|ip: IpAddr| ip.is_loopback()) {
            Self::ThisMachine
        } else {
            Self::Remote
        }
    }
}

impl Database {
    pub fn load(env: &Env) -> Result<Self, Problems> {
        load(env, Self::read)
    }

    /// Reads the URL of the primary and the certificates that it names.
    ///
    /// # Errors
    /// The problem, as text that reads on from the name of the variable.
    pub fn at(url: &str) -> Result<Self, String> {
        Self::named(DATABASE_URL, url)
    }

    fn named(variable: &'static str, url: &str) -> Result<Self, String> {
        let read = postgres_url::postgres(url)?;
        // sqlx takes these two in place of a host, and an address before a name.
        let host = ["PGHOSTADDR", "PGHOST"]
            .into_iter()
            .find_map(|name| std::env::var(name).ok());
        let host = read.host.clone().or(host);
        let mut without_effect = read.without_effect.clone();
        if read.mode.is_none() && std::env::var_os("PGSSLMODE").is_some() {
            without_effect.push("PGSSLMODE");
        }
        let tls = Tls::of(&read, ServerLocation::of(host.as_deref()))?;
        Ok(Self {
            variable,
            given: url.to_owned().into(),
            url: read.text.into(),
            tls,
            has_name: read.has_name,
            without_effect,
        })
    }

    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        reader.required(DATABASE_URL, Self::at)
    }

    /// The database from which the mirror reads, if it is not the primary. `None` is a problem, which is noted.
    #[expect(
        clippy::option_option,
        reason = "refused, absent and there are three things"
    )]
    pub(super) fn read_replica(reader: &mut Reader) -> Option<Option<Self>> {
        reader.optional(DATABASE_READ_URL, |url| Self::named(DATABASE_READ_URL, url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_and_sockets_are_this_machine() {
        for (host, place) in [
            ("", ServerLocation::Socket),
            ("localhost", ServerLocation::ThisMachine),
            ("127.8.9.1", ServerLocation::ThisMachine),
            ("[::1]", ServerLocation::ThisMachine),
            ("/var/run/postgresql", ServerLocation::Socket),
            ("localhost.example", ServerLocation::Remote),
            ("0.0.0.0", ServerLocation::Remote),
            ("10.0.0.7", ServerLocation::Remote),
        ] {
            assert_eq!(ServerLocation::of(Some(host)), place, "{host}");
        }
        assert_eq!(ServerLocation::of(None), ServerLocation::Socket);
    }
}
