//! The body of an error response, from the gateway, the API behind it or a server of OAuth tokens.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::json::object;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Failure {
    #[serde(rename = "moreInformation", deserialize_with = "words")]
    more_information: Option<String>,
    #[serde(rename = "httpMessage", deserialize_with = "words")]
    http_message: Option<String>,
    #[serde(deserialize_with = "words")]
    message: Option<String>,
    /// Of a server of OAuth tokens (RFC 6749).
    #[serde(deserialize_with = "words")]
    error: Option<String>,
    #[serde(deserialize_with = "words")]
    error_description: Option<String>,
}

/// The whole message of an error response; `None` unless the body is a JSON object.
#[must_use]
pub(crate) fn failure_message(body: &[u8]) -> Option<String> {
    let failure: Failure = object(body)?;
    Some(
        [
            failure.more_information,
            failure.message,
            failure.http_message,
            failure.error,
            failure.error_description,
        ]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join("; "),
    )
}

/// Whether an error response is an object in the form of the gateway or the API (docs/contract.md, "Errors").
///
/// Any proxy before them may also answer in JSON.
#[must_use]
pub(crate) fn is_gateway_error(body: &[u8]) -> bool {
    object(body).is_some_and(|failure: Failure| {
        let says = |words: Option<String>| words.is_some_and(|words| !words.is_empty());
        says(failure.more_information) || says(failure.http_message)
    })
}

/// A string; `None` for a value of any other type.
fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) => Some(text),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_errors() {
        let gateway = br#"{"httpCode":"401","httpMessage":"Unauthorized","moreInformation":"Invalid client id or secret."}"#;
        assert_eq!(
            failure_message(gateway).unwrap(),
            "Invalid client id or secret.; Unauthorized"
        );
        assert_eq!(failure_message(b"{}").unwrap(), "");
        assert_eq!(failure_message(b"<html>"), None);
        assert_eq!(failure_message(b"[]"), None);
    }
}
