//! PostgreSQL URLs: the accepted forms and parameters, and masking of the password.

use std::net::IpAddr;

use url::{ParseError, Url, form_urlencoded};

use super::{MASK, rules};

/// A PostgreSQL URL, split into the parts that cvsync interprets and the rest, which sqlx reads.
#[derive(Debug)]
pub(super) struct Postgres {
    /// The URL without the parameters of TLS and without those that have no effect.
    pub text: String,
    /// A host name, an address or the directory of a socket.
    pub host: Option<String>,
    pub mode: Option<SslMode>,
    /// `sslrootcert`: a path, or `system`.
    pub root_cert: Option<String>,
    /// `sslcert`: a path.
    pub client_cert: Option<String>,
    /// `sslkey`: a path.
    pub client_key: Option<String>,
    /// Whether it has both a host and a `hostaddr`, which replaces the host.
    pub host_is_replaced: bool,
    /// Whether it has an `application_name` of its own.
    pub has_name: bool,
    /// Parameters that have no effect, or request the behaviour that cvsync has anyway.
    pub without_effect: Vec<&'static str>,
}

/// libpq's modes of TLS, from the weakest to the strongest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    /// No TLS.
    Disable,
    /// No TLS, because cvsync does not retry with TLS.
    Allow,
    /// TLS if the server supports it, with any certificate.
    Prefer,
    /// TLS with any certificate.
    Require,
    /// TLS with a certificate of a known issuer, for any host.
    VerifyCa,
    /// TLS with a certificate of a known issuer for this host.
    VerifyFull,
}

impl SslMode {
    pub(super) const ALL: [Self; 6] = [
        Self::Disable,
        Self::Allow,
        Self::Prefer,
        Self::Require,
        Self::VerifyCa,
        Self::VerifyFull,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Allow => "allow",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }
}

/// Supported parameters, which docs/database.md explains.
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

/// Parameters that many URLs contain, without an effect here.
const WITHOUT_EFFECT: [&str; 7] = [
    "channel_binding",
    "connect_timeout",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "target_session_attrs",
];

/// Parameters that cvsync interprets instead of sqlx.
const TLS: [&str; 4] = ["sslcert", "sslkey", "sslmode", "sslrootcert"];

/// Accepted values of `target_session_attrs`: cvsync needs a server that accepts writes.
const SESSION_ATTRS: [&str; 3] = ["any", "read-write", "primary"];

/// Splits and checks a PostgreSQL URL. An error reads on from the name of the variable, and shows nothing of the value.
pub(super) fn postgres(text: &str) -> Result<Postgres, String> {
    let url = postgres_url(text)?;
    let mut read = Postgres {
        text: String::new(),
        host: url.host_str().and_then(decoded),
        mode: None,
        root_cert: None,
        client_cert: None,
        client_key: None,
        host_is_replaced: false,
        has_name: false,
        without_effect: Vec::new(),
    };
    let mut address = None;
    let mut kept: Vec<String> = Vec::new();
    let mut names: Vec<String> = Vec::new();
    for raw in url.query().unwrap_or_default().split('&') {
        // As in libpq, a + is not a space.
        let raw = raw.replace('+', "%2B");
        let Some((name, value)) = form_urlencoded::parse(raw.as_bytes()).next() else {
            continue;
        };
        let place = names.len() + 1;
        let shown = shown_name(&name, &raw, &names).unwrap_or_else(|| format!("number {place}"));
        if names.contains(&name.to_string()) {
            return Err(format!("has the parameter {shown} twice"));
        }
        if let Some(known) = WITHOUT_EFFECT.iter().find(|known| **known == name) {
            if name == "target_session_attrs" && !SESSION_ATTRS.contains(&&*value) {
                let allowed = SESSION_ATTRS.join(", ");
                return Err(format!("has a {name} that must be one of {allowed}"));
            }
            read.without_effect.push(*known);
        } else if HEEDED.contains(&&*name) {
            let encoded = raw.split_once('=').map_or("", |(_, value)| value);
            heeded(&name, encoded, &value)?;
            let value = value.into_owned();
            match &*name {
                "sslmode" => read.mode = SslMode::named(&value),
                "sslrootcert" => read.root_cert = Some(value),
                "sslcert" => read.client_cert = Some(value),
                "sslkey" => read.client_key = Some(value),
                "host" => read.host = Some(value),
                "hostaddr" => address = Some(value),
                "application_name" => read.has_name = true,
                _ => {}
            }
            if !TLS.contains(&&*name) {
                kept.push(format!("{name}={encoded}"));
            }
        } else {
            return Err(unsupported(&name, &shown));
        }
        names.push(name.into_owned());
    }
    if address.is_some() {
        read.host_is_replaced = read.host.is_some();
        read.host = address;
        kept.retain(|raw| !raw.starts_with("host="));
    }
    let before = text.split_once('?').map_or(text, |(before, _)| before);
    let mark = if kept.is_empty() { "" } else { "?" };
    read.text = format!("{before}{mark}{}", kept.join("&"));
    Ok(read)
}

fn unsupported(name: &str, shown: &str) -> String {
    const ALL: &str = "docs/database.md lists the supported parameters";
    if LIBPQ.contains(&name) {
        return format!("has the parameter {shown}, which cvsync does not support; {ALL}");
    }
    let known = HEEDED.iter().chain(&WITHOUT_EFFECT).copied();
    let nearest = rules::nearest(shown, known);
    format!("has the unknown parameter {shown}; the nearest is {nearest}, and {ALL}")
}

fn postgres_url(text: &str) -> Result<Url, String> {
    const ENCODE: &str = "in a password, write %2F for /, %3F for ?, %23 for # and %40 for @";
    const FORM: &str = "must be a URL such as postgres://user:password@host:5432/database";
    const ONE_HOST: &str = "must name one host: cvsync does not choose among several; name the address that always leads to the primary";
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(ParseError::RelativeUrlWithoutBase) => {
            return Err(format!(
                "{FORM}; the form \"host=… dbname=…\" is not supported"
            ));
        }
        Err(_) if has_hosts(text) => return Err(ONE_HOST.to_owned()),
        Err(ParseError::InvalidPort) => {
            return Err(format!(
                "has a port that must be an integer between 1 and 65535; {ENCODE}"
            ));
        }
        Err(ParseError::EmptyHost) => {
            return Err(
                "has a user but no host; write postgres:///database?user=NAME&host=HOST".to_owned(),
            );
        }
        Err(error) => return Err(format!("must be a URL; {error}; {ENCODE}")),
    };
    if !matches!(url.scheme(), "postgres" | "postgresql") || url.cannot_be_a_base() {
        return Err(format!("{FORM}; other schemes are not supported"));
    }
    // An @ after the host ends a password with an unencoded / or ?.
    let cut = url.path().contains('@') || url.query().is_some_and(|query| query.contains('@'));
    if cut || url.fragment().is_some() {
        return Err(format!("has an @ or # after its host; {ENCODE}"));
    }
    if has_hosts(text) {
        return Err(ONE_HOST.to_owned());
    }
    if url.port() == Some(0) {
        return Err("has a port that must be an integer between 1 and 65535".to_owned());
    }
    let database = url.path().trim_start_matches('/');
    for (part, text) in [
        ("user", url.username()),
        ("password", url.password().unwrap_or_default()),
        ("host", url.host_str().unwrap_or_default()),
        ("database", database),
    ] {
        if decoded(text).is_none() {
            return Err(format!(
                "has a {part} with a % that does not start an encoded UTF-8 character; write %25 for a %"
            ));
        }
    }
    if database.contains('/') {
        return Err("has a / in its database name; write %2F for it".to_owned());
    }
    Ok(url)
}

/// Whether the host part has a comma, which libpq reads as a list of hosts.
fn has_hosts(text: &str) -> bool {
    let behind = text.split_once("://").map_or("", |(_, rest)| rest);
    let end = behind.find(['/', '?', '#']).unwrap_or(behind.len());
    let (authority, rest) = behind.split_at(end);
    let host = authority.rsplit('@').next().unwrap_or_default();
    // With an @ in the rest, the authority is the start of a password.
    host.contains(',') && !rest.contains('@')
}

/// Decodes percent-encoded text; `None` if libpq would refuse it or it is not UTF-8.
fn decoded(text: &str) -> Option<String> {
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
fn heeded(name: &str, encoded: &str, value: &str) -> Result<(), String> {
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

/// The name of a parameter, if it is safe to show: an & or ? in a password ends it, and the rest of it looks like a name.
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

/// A PostgreSQL URL without its password; fully masked if the password cannot be found.
pub(super) fn masked_postgres(text: &str) -> String {
    /// sqlx also reads a password from a parameter, and passes on any `options`.
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
        assert_eq!(read.text, "postgres://me:p%3Dw@db/cv?application_name=x");
        assert_eq!((read.mode, read.has_name), (Some(SslMode::Require), true));
        let read = postgres(
            "postgres://me@db/cv?connect_timeout=10&target_session_attrs=read-write&options=-c%20jit%3Doff&keepalives=1&channel_binding=",
        );
        let read = read.unwrap();
        assert_eq!(read.text, "postgres://me@db/cv?options=-c%20jit%3Doff");
        assert_eq!(read.mode, None);
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
            (
                "sslmode=no-verify",
                "one of disable, allow, prefer, require, verify-ca, verify-full",
            ),
            ("sslmode=REQUIRE", "sslmode that must be one of disable"),
            ("ssl=true", "`ssl`"),
            (
                "load_balance_hosts=random",
                "`load_balance_hosts`, which cvsync does not support",
            ),
            ("dbname=%canary", "dbname that must be percent-encoded"),
            ("user=%ff", "user that must be percent-encoded"),
            ("port=65536", "port that must be an integer"),
            ("host=a&host=b", "`host` twice"),
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

    #[test]
    fn url_of_an_unsupported_form_is_refused_with_the_supported_one() {
        for (text, what) in [
            ("host=db dbname=cv password=canary", "such as postgres://"),
            (
                "jdbc:postgresql://db/cv?password=canary",
                "such as postgres://",
            ),
            (
                "postgresql+psycopg://me:canary@db/cv",
                "such as postgres://",
            ),
            ("mysql://me:canary@db/cv", "such as postgres://"),
            ("postgres:canary", "such as postgres://"),
            ("canary", "such as postgres://"),
            ("postgres://me:canary@db1,db2/cv", "one host"),
            ("postgres://me:canary@db1:5432,db2:5433/cv", "one host"),
            ("postgres://me:canary@db1,db2:5433/cv", "one host"),
            ("postgres://me:canary@[::1],[::2]/cv", "one host"),
            ("postgres://me:canary@[::1]:5432,db2:5432/cv", "one host"),
            ("postgres://me:canary@db:99999/cv", "between 1 and 65535"),
            ("postgres://me:canary@db:0/cv", "between 1 and 65535"),
            ("postgres://me:canary@/cv?host=db", "user=NAME&host=HOST"),
            ("postgres://me:can/ary@db/cv", "in a password, write"),
            ("postgres://me:50%canary@db/cv", "password with a %"),
            ("postgres://me:%FFcanary@db/cv", "password with a %"),
            ("postgres://me%2:canary@db/cv", "user with a %"),
            ("postgres://me:canary@db/c%v", "database with a %"),
            ("postgres://me:canary@db/cv/other", "/ in its database"),
        ] {
            let problem = postgres(text).unwrap_err();
            assert!(problem.contains(what), "{text}: {problem}");
            assert!(!problem.contains("canary"), "{problem}");
        }
    }

    #[test]
    fn comma_in_a_password_is_no_list_of_hosts() {
        let read = postgres("postgres://me:a,b@db/cv").unwrap();
        assert_eq!(read.host.as_deref(), Some("db"));
        let problem = postgres("postgres://me:a,b/c@db/cv").unwrap_err();
        assert!(problem.contains("in a password, write"), "{problem}");
    }

    #[test]
    fn hostaddr_decides_before_host() {
        let read = postgres("postgres://me@a/cv?hostaddr=10.0.0.7&host=b").unwrap();
        assert_eq!(read.host.as_deref(), Some("10.0.0.7"));
        assert!(read.host_is_replaced);
        assert_eq!(read.text, "postgres://me@a/cv?hostaddr=10.0.0.7");
        assert!(
            !postgres("postgres:///cv?hostaddr=10.0.0.7")
                .unwrap()
                .host_is_replaced
        );
    }

    #[test]
    fn plus_in_a_parameter_is_no_space() {
        let read = postgres("postgres://me@db/cv?password=a+b").unwrap();
        assert_eq!(read.text, "postgres://me@db/cv?password=a%2Bb");
    }
}
