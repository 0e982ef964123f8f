//! Which URLs are taken, and how the one with a password is shown.

use url::{Host, Url};

use super::MASK;

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

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// A PostgreSQL URL.
pub fn postgres(text: &str) -> Result<Url, String> {
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
    Ok(url)
}

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
    let Ok(mut url) = postgres(text) else {
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
}
