//! Which HTTP URLs are accepted.

use url::{Host, Url};

/// An HTTP URL that a secret can be sent to.
pub(super) fn http(text: &str) -> Result<Url, String> {
    let url = encrypted(text)?;
    if url.query().is_some() {
        return Err("must hold no ? or #".to_owned());
    }
    Ok(url)
}

/// The same where the URL as a whole may be a secret, and have its token in the query.
pub(super) fn encrypted(text: &str) -> Result<Url, String> {
    refuse_spaces(text)?;
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
pub(super) fn anywhere(text: &str) -> Result<Url, String> {
    refuse_spaces(text)?;
    Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"))
        .ok_or_else(|| "is no URL that starts with https:// or http://".to_owned())
}

/// A URL with a space would be sent with `%20` in it.
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
