//! The parameters of PostgreSQL URLs: supported ones, ignored ones, and the checks of their values.

use std::net::IpAddr;

use super::rules;
use super::ssl_mode::SslMode;

/// Supported parameters, which docs/database.md explains.
pub(super) const HEEDED: [&str; 12] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "user",
];

/// Parameters that many URLs contain, without an effect here.
pub(super) const WITHOUT_EFFECT: [&str; 7] = [
    "channel_binding",
    "connect_timeout",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "target_session_attrs",
];

/// Parameters that cvsync interprets instead of sqlx.
pub(super) const TLS: [&str; 4] = ["sslcert", "sslkey", "sslmode", "sslrootcert"];

/// Accepted values of `target_session_attrs`: cvsync needs a server that accepts writes.
const SESSION_ATTRS: [&str; 3] = ["any", "read-write", "primary"];

pub(super) fn unsupported(name: &str, shown: &str) -> String {
    const ALL: &str = "docs/database.md lists the supported parameters";
    if LIBPQ.contains(&name) {
        return format!("has the parameter {shown}, which cvsync does not support; {ALL}");
    }
    let known = HEEDED.iter().chain(&WITHOUT_EFFECT).copied();
    let nearest = rules::nearest(shown, known);
    format!("has the unknown parameter {shown}; the nearest is {nearest}, and {ALL}")
}

/// Decodes percent-encoded text; `None` if libpq would refuse it or it is not UTF-8.
pub(super) fn decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut plain = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            let code = digit()? * 16 + digit()?;
            plain.push(u8::try_from(code).ok().filter(|byte| *byte != 0)?);
        } else {
            plain.push(byte);
        }
    }
    String::from_utf8(plain).ok()
}

/// Checks a value. sqlx would refuse it only when it connects, with an unclear error.
pub(super) fn heeded(name: &str, encoded: &str, value: &str) -> Result<(), String> {
    let (valid, must) = match name {
        _ if value.is_empty() => (false, "have a value".to_owned()),
        _ if decoded(encoded).is_none() => (
            false,
            "be percent-encoded UTF-8: write %25 for a %".to_owned(),
        ),
        "sslmode" => {
            let all = SslMode::ALL.map(SslMode::name).join(", ");
            (SslMode::named(value).is_some(), format!("be one of {all}"))
        }
        "port" => (
            value.parse().is_ok_and(|port: u16| port > 0),
            "be an integer between 1 and 65535".to_owned(),
        ),
        "hostaddr" => (
            value.parse::<IpAddr>().is_ok(),
            "be an IP address".to_owned(),
        ),
        "host" => (
            !value.contains(','),
            "name one host: cvsync does not choose among several".to_owned(),
        ),
        _ => return Ok(()),
    };
    if valid {
        Ok(())
    } else {
        Err(format!("has a parameter {name} that must {must}"))
    }
}

/// Checks the value of a parameter without effect.
pub(super) fn ignored(name: &str, value: &str) -> Result<(), String> {
    if name == "target_session_attrs" && !SESSION_ATTRS.contains(&value) {
        let allowed = SESSION_ATTRS.join(", ");
        return Err(format!("has a {name} that must be one of {allowed}"));
    }
    Ok(())
}

/// The name of a parameter, if it is safe to show: an & or ? in a password ends it, and the rest of it looks like a name.
pub(super) fn shown_name(name: &str, raw: &str, before: &[String]) -> Option<String> {
    let known = |known: &&&str| known.eq_ignore_ascii_case(name);
    let familiar = HEEDED
        .iter()
        .chain(&WITHOUT_EFFECT)
        .chain(&LIBPQ)
        .any(|one| known(&one));
    let secret = |name: &String| LIBPQ_SECRETS.contains(&&**name);
    let is_name = raw.contains('=')
        && !before.iter().any(secret)
        && name.len() <= 63
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-.[]".contains(&byte));
    (familiar || is_name).then(|| format!("`{name}`"))
}

/// Parameters of libpq that cvsync does not support.
const LIBPQ: [&str; 22] = [
    "client_encoding",
    "fallback_application_name",
    "gssencmode",
    "gsslib",
    "krbsrvname",
    "load_balance_hosts",
    "passfile",
    "replication",
    "require_auth",
    "requirepeer",
    "requiressl",
    "service",
    "servicefile",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcompression",
    "sslcrl",
    "sslcrldir",
    "sslnegotiation",
    "sslpassword",
    "sslsni",
    "tcp_user_timeout",
];

/// Parameters whose value can be cut like a password.
const LIBPQ_SECRETS: [&str; 3] = ["options", "password", "sslpassword"];
