//! The kind of a response, for every operation alike: a plain function over status, headers and body.

use reqwest::StatusCode;
use reqwest::header::HeaderMap;

use super::error::ApiError;
use super::{failure, headers, json};

/// A response as it was received. Its body is whole and within its limit.
#[derive(Clone, Debug)]
pub struct Raw {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// Decompressed.
    pub body: Vec<u8>,
}

impl Raw {
    #[cfg(test)]
    pub(super) fn of(status: u16, headers: &[(&str, &str)], body: &str) -> Self {
        let headers = headers.iter();
        Self {
            status: StatusCode::from_u16(status).unwrap(),
            headers: headers
                .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
                .collect(),
            body: body.into(),
        }
    }

    /// The body of a 200 that claims to be JSON, without a byte order mark (docs/contract.md, "Quota" and "Errors").
    ///
    /// The operation decides what a 404 or another 4xx means. They are returned as [`ApiError::Refused`].
    pub fn json(&self) -> Result<&[u8], ApiError> {
        match self.status.as_u16() {
            200 if headers::is_json(&self.headers) => Ok(json::without_mark(&self.body)),
            200 => Err(ApiError::NotAnAnswer("status 200, but it is not JSON")),
            status @ (401 | 403) => Err(ApiError::KeyRefused {
                status,
                message: self.message(),
            }),
            429 => Err(ApiError::OverQuota {
                wait: headers::retry_after(&self.headers)
                    .or_else(|| headers::rate_limit_reset(&self.headers)),
            }),
            407 => Err(ApiError::Unreachable(
                "a proxy on the way asks for credentials (407); ask the network's administrator"
                    .to_owned(),
            )),
            408 => Err(ApiError::Incomplete("status 408")),
            status @ 400..=499 => Err(ApiError::Refused {
                status,
                message: self.message(),
            }),
            status @ 500..=599 => Err(ApiError::Server {
                status,
                wait: headers::retry_after(&self.headers),
            }),
            300..=399 => Err(ApiError::NotAnAnswer("a redirect, which is not followed")),
            _ => Err(ApiError::NotAnAnswer("a status that is not expected")),
        }
    }

    /// Whether the body is an error object of the API, and not a page of a proxy before it.
    #[must_use]
    pub fn is_api_error(&self) -> bool {
        headers::is_json(&self.headers) && failure::is_gateway_error(&self.body)
    }

    /// The message of the gateway, short and printable.
    pub(super) fn message(&self) -> String {
        failure::failure_message(&self.body)
            .filter(|message| !message.is_empty())
            .map_or_else(
                || "no reason given".to_owned(),
                |message| words_alone(&message),
            )
    }
}

/// A message without personal data: words with a digit or an `@` in them, such as ids and addresses, are left out.
fn words_alone(message: &str) -> String {
    let words = message.split_whitespace().map(|word| {
        let foreign = |c: char| c.is_ascii_digit() || c == '@' || c.is_control();
        if word.contains(foreign) { "…" } else { word }
    });
    let message: String = words.collect::<Vec<_>>().join(" ");
    message.chars().take(120).collect()
}

/// A text from outside for a person's screen: one line of at most `most` characters, without those that move the cursor or
/// change the direction of the text.
#[must_use]
pub fn one_line(text: &str, most: usize) -> String {
    let visible = |c: &char| {
        !c.is_control()
            && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(word.chars().filter(visible));
    }
    match line.char_indices().nth(most) {
        None => line,
        Some((end, _)) => {
            line.truncate(end);
            line.pop();
            line + "…"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_hold_no_ids_and_no_addresses() {
        assert_eq!(
            words_alone("Invalid client id or secret."),
            "Invalid client id or secret."
        );
        assert_eq!(
            words_alone("30dbfef1-59df-4521-a111-964bf0208e68 is geen bestaande kandidaat"),
            "… is geen bestaande kandidaat"
        );
        assert_eq!(
            words_alone("mail jan@voorbeeld.be\n of bel 0470"),
            "mail … of bel …"
        );
        assert_eq!(words_alone(&"x".repeat(1_000)).len(), 120);
    }
    #[test]
    fn a_line_is_one_line_and_has_an_end() {
        assert_eq!(one_line("  een\n\ttwee\u{1b}[31m ", 80), "een twee[31m");
        assert_eq!(one_line("\u{202e}abc\0", 80), "abc");
        assert_eq!(one_line("éééé", 4), "éééé");
        assert_eq!(one_line("ééééé", 4), "ééé…");
        assert_eq!(one_line(&"x ".repeat(9_000), 300).chars().count(), 300);
    }
}
