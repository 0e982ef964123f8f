//! Whether the client already holds the current content.

use axum::http::HeaderMap;
use axum::http::header::IF_NONE_MATCH;

/// Whether `If-None-Match` names the entity tag `"hex"`, or any content.
///
/// Proxies change tags when they compress: nginx makes them weak (`W/"hex"`), Apache and others append to them (`"hex-gzip"`,
/// `"hex--gzip"`, `"hex;br"`). `hex` is hexadecimal, so anything else behind it is such an addition.
pub(super) fn is_current(headers: &HeaderMap, hex: &str) -> bool {
    let lines = headers.get_all(IF_NONE_MATCH).into_iter();
    let tags = lines.filter_map(|line| line.to_str().ok());
    tags.flat_map(|line| line.split(',')).any(|tag| {
        let tag = tag.trim();
        let opaque = tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"');
        let is_addition = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric());
        tag == "*" || opaque.strip_prefix(hex).is_some_and(is_addition)
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn sent(lines: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(IF_NONE_MATCH, HeaderValue::from_str(line).unwrap());
        }
        is_current(&headers, "0a1b")
    }

    #[test]
    fn a_tag_that_a_compressing_proxy_changed_is_recognised() {
        for tag in [
            r#""0a1b""#,
            r#"W/"0a1b""#,
            r#""0a1b-gzip""#,
            r#"W/"0a1b-gzip""#,
            r#""0a1b--gzip""#,
            r#""0a1b;gzip""#,
            r#""0a1b:br""#,
            r#""0a1b"-gzip"#,
            "0a1b",
            "*",
        ] {
            assert!(sent(&[tag]), "{tag}");
            assert!(sent(&[r#""x""#, tag]), "{tag} on a second line");
            assert!(sent(&[&format!(r#""x", {tag} , "y""#)]), "{tag} in a list");
        }
    }

    #[test]
    fn another_tag_is_not_the_current_one() {
        for tag in [
            r#""0a1b2""#,
            r#""0a""#,
            r#""x0a1b""#,
            r#""0a1bgzip""#,
            r#""""#,
            "",
            "**",
        ] {
            assert!(!sent(&[tag]), "{tag}");
        }
        assert!(!sent(&[]));
    }
}
