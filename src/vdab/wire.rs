//! VDAB's answers, read as tolerantly as the contract allows.

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// A page of an answer that is paged.
#[derive(Debug, Deserialize)]
#[serde(from = "Written<T>", bound(deserialize = "T: Deserialize<'de>"))]
pub struct Page<T> {
    /// The total on all pages: the larger one where the answer has two.
    pub total: Option<u64>,
    /// What is on this page.
    pub items: Vec<T>,
}

/// A page of the ids in a window.
pub type BulkPage = Page<BulkItem>;

/// A page of what a search found: each result with its `cvId` and the fields that were selected.
pub type SearchPage = Page<Map<String, Value>>;

/// As VDAB writes it: the total is `aantal` in this API, and `totaalAantalResultaten` in the sister API's v4.
#[derive(Deserialize)]
struct Written<T> {
    #[serde(default, deserialize_with = "count")]
    aantal: Option<u64>,
    #[serde(rename = "totaalAantalResultaten", default, deserialize_with = "count")]
    of_sister: Option<u64>,
    resultaten: Vec<T>,
}

impl<T> From<Written<T>> for Page<T> {
    fn from(page: Written<T>) -> Self {
        Self {
            total: page.aantal.max(page.of_sister),
            items: page.resultaten,
        }
    }
}

/// One listed CV.
#[derive(Debug, Deserialize)]
pub struct BulkItem {
    /// An id, or garbage; empty where there is none.
    #[serde(rename = "cvId", default, deserialize_with = "text")]
    pub cv_id: Option<String>,
    /// A status word, if the answer has one.
    #[serde(default, deserialize_with = "text")]
    pub status: Option<String>,
}

/// An error of the gateway or of the API behind it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Failure {
    #[serde(rename = "moreInformation", deserialize_with = "text")]
    more_information: Option<String>,
    #[serde(rename = "httpMessage", deserialize_with = "text")]
    http_message: Option<String>,
    #[serde(deserialize_with = "text")]
    message: Option<String>,
}

/// The message of an error answer, whole; `None` if the body is no JSON object.
#[must_use]
pub fn failure_message(body: &[u8]) -> Option<String> {
    let failure: Failure = object(body)?;
    Some(
        [
            failure.more_information,
            failure.message,
            failure.http_message,
        ]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join("; "),
    )
}

/// Whether an error answer is an object with the words of the gateway or the API (contract, "Errors"), and not just any JSON
/// of whatever stands before them.
#[must_use]
pub fn is_gateway_error(body: &[u8]) -> bool {
    object(body).is_some_and(|failure: Failure| {
        let says = |words: Option<String>| words.is_some_and(|words| !words.is_empty());
        says(failure.more_information) || says(failure.http_message)
    })
}

/// A whole object of JSON, in UTF-8 throughout. serde alone would also read a list, as the fields in their order, and would
/// not look at the bytes of fields that it does not know.
pub fn object<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Option<T> {
    let text = std::str::from_utf8(body).ok()?;
    text.trim_ascii_start()
        .starts_with('{')
        .then(|| serde_json::from_str(text).ok())?
}

/// A number, or a string that holds one; anything else is no total at all.
fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    })
}

/// A string; anything else is none.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) => Some(text),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_under_both_names_as_text_and_not_at_all() {
        for (body, total) in [
            (r#"{"aantal":2,"resultaten":[]}"#, Some(2)),
            (r#"{"totaalAantalResultaten":3,"resultaten":[]}"#, Some(3)),
            (r#"{"aantal":"4","resultaten":[]}"#, Some(4)),
            (
                r#"{"aantal":2,"totaalAantalResultaten":7,"resultaten":[]}"#,
                Some(7),
            ),
            (r#"{"aantal":-1,"resultaten":[]}"#, None),
            (r#"{"aantal":1e99,"resultaten":[]}"#, None),
            (r#"{"aantal":null,"resultaten":[]}"#, None),
            (r#"{"resultaten":[],"nieuw":{}}"#, None),
        ] {
            let page: BulkPage = serde_json::from_str(body).unwrap();
            assert_eq!(page.total, total, "{body}");
        }
    }

    #[test]
    fn items_without_an_id_are_kept_to_be_counted() {
        let body = r#"{"resultaten":[{"cvId":"a","status":"OPEN"},{"cvId":7},{}]}"#;
        let page: BulkPage = serde_json::from_str(body).unwrap();
        let ids: Vec<_> = page
            .items
            .iter()
            .map(|item| item.cv_id.as_deref())
            .collect();
        assert_eq!(ids, [Some("a"), None, None]);
    }

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
