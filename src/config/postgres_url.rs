//! PostgreSQL URLs: the accepted forms and parameters, and masking of the password.

use url::{ParseError, Url, form_urlencoded};

use super::MASK;
use super::postgres_parameters::{
    HEEDED, TLS, WITHOUT_EFFECT, decoded, heeded, ignored, shown_name, unsupported,
};
use super::ssl_mode::SslMode;

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

impl Postgres {
    /// Keeps the value of a supported parameter that cvsync interprets.
    fn take(&mut self, name: &str, value: String) {
        match name {
            "sslmode" => self.mode = SslMode::named(&value),
            "sslrootcert" => self.root_cert = Some(value),
            "sslcert" => self.client_cert = Some(value),
            "sslkey" => self.client_key = Some(value),
            "host" => self.host = Some(value),
            "application_name" => self.has_name = true,
            _ => {}
        }
    }
}

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
            ignored(&name, &value)?;
            read.without_effect.push(*known);
        } else if HEEDED.contains(&&*name) {
            let encoded = raw.split_once('=').map_or("", |(_, value)| value);
            heeded(&name, encoded, &value)?;
            if name == "hostaddr" {
                address = Some(value.into_owned());
            } else {
                read.take(&name, value.into_owned());
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
