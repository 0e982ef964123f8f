//! Which URLs are taken, and how the one with a password is shown.

use std::net::IpAddr;

use url::{Host, Url, form_urlencoded};

use super::{MASK, rules};

/// An HTTP URL that a secret can be sent to.
pub fn http(text: &str) -> Result<Url, String> {
    let url = encrypted(text)?;
    if url.query().is_some() {
        return Err("must hold no ? or #".to_owned());
    }
    Ok(url)
}

/// The same where the URL as a whole may be a secret, and have its token in the query.
pub fn encrypted(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("is no URL: {error}"))?;
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        "http" => {
            return Err(
                "must be https://, since keys and CVs cross the wire; http:// is for loopback hosts alone"
                    .to_owned(),
            );
        }
        _ => return Err("must start with https://".to_owned()),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must hold no user name or password".to_owned());
    }
    if url.fragment().is_some() {
        return Err("must hold no #".to_owned());
    }
    Ok(url)
}

/// An HTTP URL that no secret of ours is sent to.
pub fn anywhere(text: &str) -> Result<Url, String> {
    Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"))
        .ok_or_else(|| "is no URL that starts with https:// or http://".to_owned())
}

/// Whether a URL names this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
        None => false,
    }
}

/// A PostgreSQL URL, read whole: nothing in it is left for others to find and to complain about.
#[derive(Debug)]
pub struct Postgres {
    /// As it was written, but for the parameters that have no effect.
    pub text: String,
    /// Whether it has an `sslmode` of its own.
    pub has_sslmode: bool,
    /// Whether it has an `application_name` of its own.
    pub has_name: bool,
    /// The parameters that were there and have no effect, or ask for what is so already.
    pub without_effect: Vec<&'static str>,
}

/// Parameters that are heeded; docs/database.md explains them.
const HEEDED: [&str; 12] = [
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

/// Parameters that many URLs hold, and that change nothing here.
const WITHOUT_EFFECT: [&str; 7] = [
    "channel_binding",
    "connect_timeout",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "target_session_attrs",
];

const SSL_MODES: [&str; 6] = [
    "disable",
    "allow",
    "prefer",
    "require",
    "verify-ca",
    "verify-full",
];

/// Values of `target_session_attrs` that hold anyway: cvsync works on a server that takes writes.
const SESSION_ATTRS: [&str; 3] = ["any", "read-write", "primary"];

/// A PostgreSQL URL.
pub fn postgres(text: &str) -> Result<Postgres, String> {
    let url = postgres_url(text)?;
    let mut kept: Vec<&str> = Vec::new();
    let mut names: Vec<String> = Vec::new();
    let mut without_effect = Vec::new();
    for raw in url.query().unwrap_or_default().split('&') {
        let Some((name, value)) = form_urlencoded::parse(raw.as_bytes()).next() else {
            continue;
        };
        let place = names.len() + 1;
        let shown = shown_name(&name, raw, &names).unwrap_or_else(|| format!("number {place}"));
        if names.contains(&name.to_string()) {
            return Err(format!("has the parameter {shown} twice"));
        }
        if let Some(known) = WITHOUT_EFFECT.iter().find(|known| **known == name) {
            if name == "target_session_attrs" && !SESSION_ATTRS.contains(&&*value) {
                let allowed = SESSION_ATTRS.join(", ");
                return Err(format!("has a {name} that must be one of {allowed}"));
            }
            without_effect.push(*known);
        } else if HEEDED.contains(&&*name) {
            heeded(&name, &value)?;
            kept.push(raw);
        } else {
            let known = HEEDED.iter().chain(&WITHOUT_EFFECT).copied();
            let nearest = rules::nearest(&shown, known);
            return Err(format!(
                "has the unknown parameter {shown}; the nearest is {nearest}, and docs/database.md lists all"
            ));
        }
        names.push(name.into_owned());
    }
    let has = |name: &str| names.iter().any(|known| known == name);
    let (has_sslmode, has_name) = (has("sslmode"), has("application_name"));
    let before = text.split_once('?').map_or(text, |(before, _)| before);
    let mark = if kept.is_empty() { "" } else { "?" };
    Ok(Postgres {
        text: format!("{before}{mark}{}", kept.join("&")),
        has_sslmode,
        has_name,
        without_effect,
    })
}

fn postgres_url(text: &str) -> Result<Url, String> {
    const ENCODE: &str = "in a password, write %2F for /, %3F for ?, %23 for # and %40 for @";
    let url = Url::parse(text).map_err(|error| format!("is no URL: {error}; {ENCODE}"))?;
    if !matches!(url.scheme(), "postgres" | "postgresql") || url.cannot_be_a_base() {
        return Err("must start with postgres://".to_owned());
    }
    // An @ behind the host is the end of a password that was cut by a character of its own.
    let cut = url.path().contains('@') || url.query().is_some_and(|query| query.contains('@'));
    if cut || url.fragment().is_some() {
        return Err(format!("has an @ or # behind its host; {ENCODE}"));
    }
    if url.host_str().is_some_and(|host| host.contains(',')) {
        return Err("must name one host".to_owned());
    }
    Ok(url)
}

/// Checks what would otherwise only show when connecting, in words of others.
fn heeded(name: &str, value: &str) -> Result<(), String> {
    let (valid, must) = match name {
        _ if value.is_empty() || value.contains('\0') => (false, "have a value".to_owned()),
        "sslmode" => (
            SSL_MODES.contains(&value),
            format!("be one of {}", SSL_MODES.join(", ")),
        ),
        "port" => (
            value.parse().is_ok_and(|port: u16| port > 0),
            "be an integer between 1 and 65535".to_owned(),
        ),
        "hostaddr" => (
            value.parse::<IpAddr>().is_ok(),
            "be an IP address".to_owned(),
        ),
        "host" => (!value.contains(','), "name one host".to_owned()),
        _ => return Ok(()),
    };
    if valid {
        Ok(())
    } else {
        Err(format!("has a parameter {name} that must {must}"))
    }
}

/// A parameter's name, where it surely is one: a password that holds an & or a ? is cut there, and its rest looks like a name.
fn shown_name(name: &str, raw: &str, before: &[String]) -> Option<String> {
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

/// Parameters of libpq that cvsync has not.
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

/// Parameters whose value may be cut as a password is.
const LIBPQ_SECRETS: [&str; 3] = ["options", "password", "sslpassword"];

/// A PostgreSQL URL without its password; nothing of it where it cannot be told which part that is.
pub fn masked_postgres(text: &str) -> String {
    /// sqlx reads a password from a parameter as well, and passes on whatever `options` holds.
    const HARMLESS: [&str; 8] = [
        "application_name",
        "dbname",
        "host",
        "hostaddr",
        "port",
        "sslmode",
        "sslrootcert",
        "user",
    ];
    let Ok(mut url) = postgres_url(text) else {
        return MASK.to_owned();
    };
    if url.password().is_some() && url.set_password(Some(MASK)).is_err() {
        return MASK.to_owned();
    }
    let parameters: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    url.set_query(None);
    for (name, value) in parameters {
        let (name, value) = if HARMLESS.contains(&name.as_str()) {
            (name.as_str(), value.as_str())
        } else {
            ("…", MASK)
        };
        url.query_pairs_mut().append_pair(name, value);
    }
    url.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_loopback_alone() {
        for text in [
            "https://api.vdab.be/v1",
            "http://localhost:8090/v1",
            "http://127.0.0.1:8090/v1/",
            "http://127.1.2.3",
            "http://[::1]:8090",
        ] {
            assert!(http(text).is_ok(), "{text}");
        }
        for text in [
            "http://api.vdab.be/v1",
            "http://localhost.example.com",
            "http://10.0.0.1",
            "ftp://localhost",
            "localhost:8090",
            "https://",
            "https://me@api.vdab.be",
            "https://api.vdab.be/v1?",
            "https://api.vdab.be/v1#a",
        ] {
            assert!(http(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_shown_database_url_keeps_everything_but_the_password() {
        assert_eq!(
            masked_postgres("postgres://me:canary@db:5432/cv?sslmode=require&password=canary"),
            "postgres://me:********@db:5432/cv?sslmode=require&%E2%80%A6=********"
        );
        assert_eq!(
            masked_postgres("postgresql:///cv?host=%2Frun"),
            "postgresql:///cv?host=%2Frun"
        );
    }

    #[test]
    fn a_password_that_cuts_its_url_is_refused_and_not_shown() {
        for text in [
            "postgres://me:12/canary@db/cv",
            "postgres://me:12?canary@db/cv",
            "postgres://me:12#canary@db/cv",
            "postgres://me:12#canary",
            "postgres:canary",
            "canary",
            "mysql://me:canary@db/cv",
        ] {
            assert!(postgres(text).is_err(), "{text}");
            assert_eq!(masked_postgres(text), MASK, "{text}");
        }
    }

    fn refused(parameters: &str) -> String {
        postgres(&format!("postgres://me@db/cv?{parameters}")).unwrap_err()
    }

    #[test]
    fn database_url_parameter_is_heeded_without_effect_or_refused_by_name() {
        let url = "postgres://me:p%3Dw@db/cv?sslmode=require&application_name=x";
        let read = postgres(url).unwrap();
        assert_eq!(
            (&*read.text, read.has_sslmode, read.has_name),
            (url, true, true)
        );
        let read = postgres(
            "postgres://me@db/cv?connect_timeout=10&target_session_attrs=read-write&options=-c%20jit%3Doff&keepalives=1&channel_binding=",
        );
        let read = read.unwrap();
        assert_eq!(read.text, "postgres://me@db/cv?options=-c%20jit%3Doff");
        assert!(!read.has_sslmode);
        let names = [
            "connect_timeout",
            "target_session_attrs",
            "keepalives",
            "channel_binding",
        ];
        assert_eq!(read.without_effect, names);
        assert_eq!(
            postgres("postgres:///cv?keepalives=0").unwrap().text,
            "postgres:///cv"
        );
        for (parameters, named) in [
            ("sslpassword=canary", "`sslpassword`"),
            ("ssl%70assword=canary", "`sslpassword`"),
            ("SSLMODE=canary", "`SSLMODE`; the nearest is sslmode"),
            ("ssl-mode=canary", "`ssl-mode`; the nearest is sslmode"),
            (
                "statement-cache-capacity=1&x=canary",
                "`statement-cache-capacity`",
            ),
            ("options[canary]=x&x=y", "`options[canary]`"),
            ("foo=canary", "`foo`"),
            ("sslmode=canary", "sslmode that must be one of disable"),
            ("sslmode=", "sslmode that must have a value"),
            ("sslmode=disable&ssl%6Dode=verify-full", "`sslmode` twice"),
            ("password=canary&password=canary", "`password` twice"),
            ("keepalives=1&keepalives=0", "`keepalives` twice"),
            ("port=canary", "port that must be an integer"),
            ("port=0", "port that must be an integer"),
            ("hostaddr=canary", "hostaddr that must be an IP address"),
            ("host=a,b", "host that must name one host"),
            (
                "target_session_attrs=standby",
                "target_session_attrs that must be one of any",
            ),
        ] {
            let problem = refused(parameters);
            assert!(problem.contains(named), "{parameters}: {problem}");
            let value = parameters.contains("=canary") && problem.contains("canary");
            assert!(!value, "{problem}");
        }
    }

    #[test]
    fn rest_of_a_password_that_looks_like_a_parameter_is_not_shown() {
        for parameters in [
            "canary",
            "=canary",
            "password=a&canary=b",
            "sslmode=require&password=a&b+canary",
            "%63anary%20=x",
        ] {
            assert!(!refused(parameters).contains("canary"), "{parameters}");
        }
    }
}
