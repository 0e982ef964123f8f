//! The body of an error response, from the gateway, the API behind it or a server of OAuth tokens.

use std::collections::BTreeSet;
use std::fmt;

use reqwest::StatusCode;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::json::object;
use crate::model::one_line;
use crate::model::words::count;

/// The sentences of the contract (docs/contract.md, "Errors"). A message that contains one is shown as this sentence.
const SENTENCES: [&str; 6] = [
    "Invalid client id or secret",
    "Rate Limit exceeded",
    "Not registered to plan",
    "No resources match requested URI",
    "Invalid string syntax",
    "is geen bestaande",
];

/// The codes of a server of OAuth tokens (RFC 6749, section 5.2).
const CODES: [&str; 6] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
];

/// The longest text of an error response that is kept, in characters.
const LONGEST: usize = 300;

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

/// The message of an error response: its texts, each on one line.
///
/// A text may be about a person. `Display` and `Debug` show the sentences of the contract, and of any other text its length.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Said(Vec<String>);

impl Said {
    /// Nothing, unless the body is a JSON object with texts in the fields of an error.
    #[must_use]
    pub(super) fn read(body: &[u8]) -> Self {
        let failure: Failure = object(body).unwrap_or_default();
        let texts = [
            failure.more_information,
            failure.message,
            failure.http_message,
            failure.error,
            failure.error_description,
        ];
        let lines = texts.into_iter().flatten();
        let lines = lines.map(|text| one_line(&text, LONGEST));
        Self(lines.filter(|line| !line.is_empty()).collect())
    }

    /// Whether a text contains `words`, in lower or upper case.
    #[must_use]
    pub(crate) fn says(&self, words: &str) -> bool {
        let words = words.to_lowercase();
        self.0
            .iter()
            .any(|line| line.to_lowercase().contains(&words))
    }

    /// The whole text on one line, for the terminal of a person; `None` if `Display` shows all of it.
    #[must_use]
    pub(crate) fn in_full(&self) -> Option<String> {
        let is_unknown = |line: &String| known(line).is_none();
        self.0
            .iter()
            .any(is_unknown)
            .then(|| one_line(&self.0.join("; "), LONGEST))
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = BTreeSet::new();
        let mut parts = Vec::new();
        let mut hidden = 0;
        for line in &self.0 {
            match known(line) {
                Some(sentence) if shown.insert(sentence) => parts.push(sentence.to_owned()),
                Some(_) => {}
                None => hidden += line.chars().count(),
            }
        }
        if hidden > 0 {
            parts.push(format!("{} not shown", count(hidden, "character")));
        }
        if parts.is_empty() {
            parts.push("no reason given".to_owned());
        }
        f.write_str(&parts.join("; "))
    }
}

impl fmt::Debug for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Said({self})")
    }
}

/// The sentence of the contract, the code, or the name of an HTTP status that a text stands for.
fn known(line: &str) -> Option<&'static str> {
    let lower = line.to_lowercase();
    let contained = SENTENCES
        .into_iter()
        .find(|sentence| lower.contains(&sentence.to_lowercase()));
    let is_line = |name: &&str| name.eq_ignore_ascii_case(line);
    let status = || {
        (400..600)
            .filter_map(|code| StatusCode::from_u16(code).ok()?.canonical_reason())
            .find(is_line)
    };
    contained
        .or_else(|| CODES.into_iter().find(is_line))
        .or_else(status)
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

    fn shown(body: &str) -> String {
        Said::read(body.as_bytes()).to_string()
    }

    #[test]
    fn sentences_of_the_contract_are_shown() {
        for (body, text) in [
            (
                r#"{"httpCode":"401","httpMessage":"Unauthorized","moreInformation":"Invalid client id or secret."}"#,
                "Invalid client id or secret; Unauthorized",
            ),
            (
                r#"{"moreInformation":"30dbfef1-59df-4521-a111-964bf0208e68 is Geen bestaande kandidaat"}"#,
                "is geen bestaande",
            ),
            (r#"{"error":"invalid_client"}"#, "invalid_client"),
            (
                r#"{"httpMessage":"Bad Request","message":"Bad request"}"#,
                "Bad Request",
            ),
            ("{}", "no reason given"),
            ("<html>", "no reason given"),
            ("[]", "no reason given"),
            (
                r#"{"moreInformation":["Marie"],"httpMessage":{"a":"Marie"}}"#,
                "no reason given",
            ),
            (r#"{"moreInformation":"\u202e\n"}"#, "no reason given"),
        ] {
            assert_eq!(shown(body), text, "{body}");
            assert_eq!(Said::read(body.as_bytes()).in_full(), None, "{body}");
        }
    }

    #[test]
    fn other_words_of_vdab_are_counted_and_not_shown() {
        let body = r#"{"httpMessage":"Bad Request","moreInformation":"Kandidaat Marie Janssens\nis niet zichtbaar\u202e\u200b"}"#;
        assert_eq!(shown(body), "Bad Request; 42 characters not shown");
        let said = Said::read(body.as_bytes());
        assert!(!format!("{said:?}").contains("Marie"));
        assert_eq!(
            said.in_full().unwrap(),
            "Kandidaat Marie Janssens is niet zichtbaar; Bad Request"
        );
        assert!(said.says("MARIE janssens") && !said.says("geen bestaande"));
        for field in [
            "moreInformation",
            "httpMessage",
            "message",
            "error",
            "error_description",
        ] {
            let body = format!(r#"{{"{field}":"Marie"}}"#);
            assert_eq!(shown(&body), "5 characters not shown");
        }
        let long = format!(r#"{{"message":"{}"}}"#, "woord ".repeat(1_000));
        assert_eq!(shown(&long), "300 characters not shown");
        let in_full = Said::read(long.as_bytes()).in_full().unwrap();
        assert_eq!(in_full.chars().count(), LONGEST);
    }

    #[test]
    fn the_contract_has_each_sentence_that_is_shown() {
        let contract = include_str!("../../docs/contract.md");
        for sentence in SENTENCES.iter().chain(&CODES) {
            assert!(contract.contains(sentence), "{sentence}");
        }
    }
}
