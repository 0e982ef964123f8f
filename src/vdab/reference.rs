//! Reads a list of codes and their labels (docs/contract.md, "Referentie API").

use serde_json::Value;

use super::answer::Raw;
use super::error::ApiError;
use super::page;
use crate::model::{Names, is_hidden, one_line};

/// The largest list that is read, in bytes.
pub const LARGEST_LIST: usize = 8 << 20;

/// In characters; a longer text is not a code.
const LONGEST_CODE: usize = 100;

/// In characters; a longer label is cut.
const LONGEST_LABEL: usize = 500;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// As documents have it.
    pub code: String,
    /// The text that people read, if the entry has one.
    pub label: Option<String>,
}

/// Reads a list: an array, or a page as `page::page` reads it. Entries without a code are left out.
///
/// `label_field` is the field of an entry that people read. An empty array is a list here: it deletes no code.
pub fn classify(answer: &Raw, label_field: &str, names: &Names) -> Result<Vec<Entry>, ApiError> {
    let body = answer.json()?;
    let entries = if let Ok(Value::Array(entries)) = serde_json::from_slice(body) {
        entries
    } else {
        match page::page(body, 0, names) {
            Ok(page) => page.items,
            Err(why) => wrapped(body).ok_or(ApiError::NotAnAnswer(why))?,
        }
    };
    let entries = entries.iter();
    Ok(entries
        .filter_map(|entry| {
            Some(Entry {
                code: code(entry.get("code")?)?,
                label: entry.get(label_field).and_then(label),
            })
        })
        .collect())
}

/// The only array in an object, if its entries have codes, whatever it is called.
fn wrapped(body: &[u8]) -> Option<Vec<Value>> {
    let Ok(Value::Object(fields)) = serde_json::from_slice(body) else {
        return None;
    };
    let mut arrays = fields.into_iter().filter_map(|(_, value)| match value {
        Value::Array(entries) => Some(entries),
        _ => None,
    });
    let (only, other) = (arrays.next()?, arrays.next());
    let has_codes = only
        .first()
        .is_some_and(|entry| entry.get("code").is_some());
    (other.is_none() && has_codes).then_some(only)
}

/// A string, or a number, as documents have both.
fn code(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let is_code = !text.is_empty() && !text.contains(is_hidden);
    (is_code && text.chars().count() <= LONGEST_CODE).then_some(text)
}

fn label(value: &Value) -> Option<String> {
    let text = one_line(value.as_str()?, LONGEST_LABEL);
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classified(status: u16, content_type: &str, body: &str) -> Result<Vec<Entry>, ApiError> {
        let answer = Raw::of(status, &[("content-type", content_type)], body);
        classify(&answer, "omschrijving", &Names::default())
    }

    fn read(body: &str) -> Vec<(String, Option<String>)> {
        let entries = classified(200, "application/json", body).unwrap();
        entries.into_iter().map(|e| (e.code, e.label)).collect()
    }

    #[test]
    fn entries_as_the_contract_shows_them_and_near_it() {
        let b = |label: &str| vec![("B".to_owned(), Some(label.to_owned()))];
        for body in [
            r#"[{"code":"B","omschrijving":"Rijbewijs B"}]"#,
            r#"[{"omschrijving":" Rijbewijs\n B\u0000","nieuw":{},"code":" B "}]"#,
            r#"{"aantal":1,"resultaten":[{"code":"B","omschrijving":"Rijbewijs B"}]}"#,
            r#"{"resultaten":{"1":{"code":"B","omschrijving":"Rijbewijs B"}}}"#,
            r#"{"sjablonen":[{"code":"B","omschrijving":"Rijbewijs B"}],"versie":3}"#,
            "\u{feff}[{\"code\":\"B\",\"omschrijving\":\"Rijbewijs B\"}]",
            r#"[{"omschrijving":"zonder code"},{"code":{}},{"code":""},7,{"code":"B","omschrijving":"Rijbewijs B"}]"#,
        ] {
            assert_eq!(read(body), b("Rijbewijs B"), "{body}");
        }
        assert_eq!(read("[]"), []);
        assert_eq!(
            read(r#"[{"code":13,"label":"x"}]"#),
            [("13".to_owned(), None)]
        );
        assert_eq!(read(r#"[{"code":"a\u0000b"}]"#), []);
        let long = format!(r#"[{{"code":"{}"}}]"#, "x".repeat(101));
        assert_eq!(read(&long), []);
    }

    #[test]
    fn what_is_no_whole_list_is_no_answer() {
        let body = r#"[{"code":"B","omschrijving":"Rijbewijs B"}]"#;
        for cut in 0..body.len() {
            let error = classified(200, "application/json", &body[..cut]).unwrap_err();
            assert_eq!(error.class(), "not_an_answer");
        }
        for nonsense in [
            "{}",
            "null",
            "7",
            r#"{"resultaten":7}"#,
            r#"{"fouten":[{"melding":"x"}]}"#,
            r#"{"a":[{"code":"B"}],"b":[{"code":"C"}]}"#,
        ] {
            let error = classified(200, "application/json", nonsense).unwrap_err();
            assert_eq!(error.class(), "not_an_answer", "{nonsense}");
        }
        let html = classified(200, "text/html", body).unwrap_err();
        assert_eq!(html.class(), "not_an_answer");
        let absent = classified(404, "application/json", "{}").unwrap_err();
        assert_eq!(absent.class(), "refused");
    }
}
