//! Rules for HTTP URLs.

use url::{Host, Url};

/// A URL that secrets are sent to.
pub(super) fn http(text: &str) -> Result<Url, String> {
    let url = encrypted(text)?;
    if url.query().is_some() {
        return Err("must not contain ? or #".to_owned());
    }
    Ok(url)
}

/// The same for a URL that may be a secret itself, with a token in its query.
pub(super) fn encrypted(text: &str) -> Result<Url, String> {
    refuse_spaces(text)?;
    let url = Url::parse(text).map_err(|error| format!("must be a URL; {error}"))?;
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        "http" => {
            return Err(
                "must start with https://, because secrets and CVs are sent; only loopback hosts may have http://"
                    .to_owned(),
            );
        }
        _ => return Err("must start with https://".to_owned()),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not contain a user name or password".to_owned());
    }
    if url.fragment().is_some() {
        return Err("must not contain #".to_owned());
    }
    Ok(url)
}

/// A URL that no secret is sent to.
pub(super) fn anywhere(text: &str) -> Result<Url, String> {
    refuse_spaces(text)?;
    Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"))
        .ok_or_else(|| "must be a URL that starts with https:// or http://".to_owned())
}

/// A space would be sent as `%20`.
fn refuse_spaces(text: &str) -> Result<(), String> {
    if text.contains(char::is_whitespace) {
        return Err("must be one URL without spaces".to_owned());
    }
    Ok(())
}

/// Whether a URL names this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
        None => false,
    }
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
}
