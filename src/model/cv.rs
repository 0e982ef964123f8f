//! A CV's id and its document: parsed once, without excluded parts, in canonical form and hashed.

use std::fmt;

use chrono::{Datelike, NaiveDate};
use serde_json::Value;
use uuid::Uuid;

use super::Names;
use super::hash::sha256;
use super::shape::{self, DriftKind};

/// Digits that numbers may add to a stored document, beyond the length of the response.
const FREE_DIGITS: usize = 4_096;

/// Longest status word. Lists repeat the status for each CV.
const LONGEST_STATUS: usize = 100;

/// The id of a CV at VDAB, a UUID (docs/contract.md, "GET /kandidaten/{id}").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CvId(pub Uuid);

impl CvId {
    /// Parses an id of a bulk response; `None` for garbage such as `NOT_FOUND`.
    ///
    /// Accepts the hyphenated form only, as VDAB writes it: no braces, URNs or bare hex digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 36)
            .then(|| Uuid::try_parse(text).ok())
            .flatten()
            .map(Self)
    }
}

impl fmt::Display for CvId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A JSON pointer (RFC 6901) to a part that is dropped before the document is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonPointer {
    parent: String,
    last: String,
}

impl JsonPointer {
    /// Parses a pointer such as `/natuurlijkPersoon/email`; `None` unless it starts with `/` and its escapes are `~0` or `~1`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (parent, last) = text.rsplit_once('/')?;
        let is_escape = |rest: &str| rest.starts_with(['0', '1']);
        let is_pointer = parent.is_empty() || parent.starts_with('/');
        (is_pointer && text.split('~').skip(1).all(is_escape)).then(|| Self {
            parent: parent.to_owned(),
            last: last.replace("~1", "/").replace("~0", "~"),
        })
    }

    /// Its text, in canonical form.
    #[must_use]
    pub(crate) fn path(&self) -> String {
        let last = self.last.replace('~', "~0").replace('/', "~1");
        format!("{}/{last}", self.parent)
    }

    /// Whether it names the part that `other` names, or a part around it.
    #[must_use]
    pub(crate) fn contains(&self, other: &Self) -> bool {
        let (path, other) = (self.path(), other.path());
        let rest = other.strip_prefix(&path);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Whether it may name an element of a list. Without it, the next element has its place.
    #[must_use]
    pub(crate) fn is_positional(&self) -> bool {
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|it| it.is_ascii_digit());
        self.path().split('/').any(is_number)
    }

    fn remove_from(&self, document: &mut Value) {
        match document.pointer_mut(&self.parent) {
            Some(Value::Object(fields)) => {
                fields.remove(&self.last);
            }
            Some(Value::Array(items)) => {
                let place = self.last.parse().ok();
                // Digits without leading zeros.
                let place = place.filter(|place: &usize| place.to_string() == self.last);
                if let Some(place) = place.filter(|place| *place < items.len()) {
                    items.remove(place);
                }
            }
            _ => {}
        }
    }
}

/// A CV's document, ready to be stored. Its `Debug` shows a size, never a person.
#[derive(Clone, PartialEq, Eq)]
pub struct Document {
    /// Canonical JSON (sorted keys, no spaces), without excluded parts.
    json: String,
    /// SHA-256 of `json`: equal content has an equal hash, whatever the order of fields.
    hash: [u8; 32],
    status: Option<String>,
    wijzigings_datum: Option<NaiveDate>,
    drift: Vec<(DriftKind, String)>,
}

/// Why a response is not a document that can be stored. Holds no content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Not JSON, cut short, or nested deeper than 128 levels.
    #[error("not complete JSON")]
    NotJson,
    /// JSON without a `cvId`, such as an array or an error.
    #[error("no cvId")]
    NoCvId,
    /// JSON that PostgreSQL's `jsonb` rejects: a NUL character, or a number that is too large.
    #[error("a character or number that jsonb cannot store")]
    Unstorable,
}

impl Document {
    /// Parses the body of a detail response: its `cvId`, and the document without `exclude`.
    pub fn read(body: &[u8], exclude: &[JsonPointer]) -> Result<(String, Self), Unreadable> {
        Self::read_as(body, exclude, &Names::default())
    }

    /// As [`read`](Self::read), for a source with other names for the leading fields of a document.
    pub fn read_as(
        body: &[u8],
        exclude: &[JsonPointer],
        names: &Names,
    ) -> Result<(String, Self), Unreadable> {
        let mut value: Value = serde_json::from_slice(body).map_err(|_| Unreadable::NotJson)?;
        let cv_id = text_field(&value, names.of("document.cvId")).ok_or(Unreadable::NoCvId)?;
        let status = text_field(&value, names.of("document.status"))
            .filter(|status| status.len() <= LONGEST_STATUS);
        let wijzigings_datum = text_field(&value, names.of("document.wijzigingsDatum"))
            .and_then(|text| text.parse().ok())
            .filter(|date: &NaiveDate| (1..=9_999).contains(&date.year()));
        let mut drift = shape::drift(&value);
        drift.retain(|(_, path)| !names.lead_document(path));
        for pointer in exclude {
            pointer.remove_from(&mut value);
        }
        // Checked after the exclusions, because excluded parts need not be storable. The status has its own column.
        let digits = added_digits(&value).ok_or(Unreadable::Unstorable)?;
        let is_status_storable = status.as_ref().is_none_or(|word| !word.contains('\0'));
        if digits > body.len() + FREE_DIGITS || !is_status_storable {
            return Err(Unreadable::Unstorable);
        }
        let json = value.to_string();
        let hash = sha256(json.as_bytes());
        Ok((
            cv_id,
            Self {
                json,
                hash,
                status,
                wijzigings_datum,
                drift,
            },
        ))
    }

    /// A stored document without the parts that `exclude` names, as text and hash. Leaves out pointers to elements of lists.
    /// `None` if the document has none of these parts.
    #[must_use]
    pub(crate) fn strip(stored: &str, exclude: &[JsonPointer]) -> Option<(String, [u8; 32])> {
        let before: Value = serde_json::from_str(stored).ok()?;
        let mut value = before.clone();
        for pointer in exclude.iter().filter(|pointer| !pointer.is_positional()) {
            pointer.remove_from(&mut value);
        }
        let json = (value != before).then(|| value.to_string())?;
        let hash = sha256(json.as_bytes());
        Some((json, hash))
    }

    #[must_use]
    pub fn json(&self) -> &str {
        &self.json
    }

    #[must_use]
    pub fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// Its differences from the contract.
    #[must_use]
    pub fn drift(&self) -> &[(DriftKind, String)] {
        &self.drift
    }

    /// The status as received.
    #[must_use]
    pub fn status(&self) -> Option<&str> {
        self.status.as_deref()
    }

    /// `None` unless `wijzigingsDatum` is a date.
    #[must_use]
    pub fn wijzigings_datum(&self) -> Option<NaiveDate> {
        self.wijzigings_datum
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Document({} bytes)", self.json.len())
    }
}

fn text_field(value: &Value, name: &str) -> Option<String> {
    value.get(name)?.as_str().map(str::to_owned)
}

/// The digits that numbers gain when `jsonb` writes them out: `1e9` becomes `1000000000`. `None` if `jsonb` would reject the
/// document. PostgreSQL would quote pieces of a rejected document in its log.
fn added_digits(value: &Value) -> Option<usize> {
    let clean = |text: &str| (!text.contains('\0')).then_some(0);
    match value {
        Value::String(text) => clean(text),
        Value::Number(number) => exponent(&number.to_string()),
        Value::Array(items) => items.iter().map(added_digits).sum(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| Some(clean(name)? + added_digits(value)?))
            .sum(),
        Value::Null | Value::Bool(_) => Some(0),
    }
}

/// The absolute exponent of a number; `None` unless the number is well inside the limits of `numeric` (131,072 digits before
/// the decimal point, 16,383 after it).
fn exponent(number: &str) -> Option<usize> {
    let exponent = number.split(['e', 'E']).nth(1).unwrap_or("0");
    let exponent: usize = exponent.trim_start_matches(['+', '-']).parse().ok()?;
    (number.len() < 1_000 && exponent < 1_000).then_some(exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<(String, Document), Unreadable> {
        Document::read(body.as_bytes(), &[])
    }

    #[test]
    fn field_order_does_not_change_the_hash() {
        let one = read(r#"{"cvId":"x","a":{"b":1,"c":[{}]}}"#).unwrap().1;
        let other = read(r#"{ "a": {"c":[{}], "b":1}, "cvId":"x"}"#).unwrap().1;
        assert_eq!(one, other);
        let changed = read(r#"{"cvId":"x","a":{"b":2,"c":[{}]}}"#).unwrap().1;
        assert_ne!(one.hash(), changed.hash());
    }

    #[test]
    fn numbers_keep_every_digit() {
        let body =
            r#"{"big":123456789012345678901234567890,"cvId":"x","small":0.10000000000000000001}"#;
        assert_eq!(read(body).unwrap().1.json(), body);
    }

    #[test]
    fn documents_that_jsonb_rejects_are_rejected() {
        for (body, why) in [
            (r#"{"cvId":"x","a":"\u0000"}"#, Unreadable::Unstorable),
            (r#"{"cvId":"x","\u0000":1}"#, Unreadable::Unstorable),
            (r#"{"cvId":"x","a":1e400000}"#, Unreadable::Unstorable),
            (r#"{"cvId":"x","a":"\ud800"}"#, Unreadable::NotJson),
            (r#"{"cvId":"x""#, Unreadable::NotJson),
            ("<html></html>", Unreadable::NotJson),
            ("", Unreadable::NotJson),
            ("[]", Unreadable::NoCvId),
            ("{}", Unreadable::NoCvId),
            (r#"{"cvId":7}"#, Unreadable::NoCvId),
        ] {
            assert_eq!(read(body).unwrap_err(), why, "{body}");
        }
        let deep = format!(
            r#"{{"cvId":"x","a":{}{}}}"#,
            "[".repeat(20_000),
            "]".repeat(20_000)
        );
        assert_eq!(read(&deep).unwrap_err(), Unreadable::NotJson);
    }

    #[test]
    fn numbers_make_a_document_at_most_twice_as_long() {
        for number in ["1e999", "1E-999", "-7e+300"] {
            let body = format!(r#"{{"cvId":"x","a":{number}}}"#);
            assert!(read(&body).is_ok(), "one is stored");
            let many = vec![number; 10_000].join(",");
            let body = format!(r#"{{"cvId":"x","a":[{many}]}}"#);
            assert_eq!(read(&body).unwrap_err(), Unreadable::Unstorable);
        }
        for number in ["1e1000", "1e-1000000", "1e99999999999999999999"] {
            let body = format!(r#"{{"cvId":"x","a":{{"b":[{number}]}}}}"#);
            assert_eq!(read(&body).unwrap_err(), Unreadable::Unstorable);
        }
    }

    #[test]
    fn canonical_form_is_at_most_as_long_as_the_response() {
        for text in [
            r"\u00e9\u0041\ud83d\ude00",
            r"\u0001\u001f\n",
            r"\/\/",
            "é\u{7f}\u{2028}",
        ] {
            let body = format!(r#"{{"cvId":"x","a":"{text}","{text}":1}}"#);
            assert!(read(&body).unwrap().1.json().len() <= body.len(), "{text}");
        }
    }

    #[test]
    fn invalid_status_and_date_stay_in_the_document_only() {
        let long = "X".repeat(101);
        for (status, date) in [
            ("7", r#""0000-01-01""#),
            ("null", r#""-4800-01-01""#),
            (r#"["OPEN"]"#, r#""+99999-01-01""#),
            (&*format!("\"{long}\""), "20260131"),
        ] {
            let body = format!(r#"{{"cvId":"x","status":{status},"wijzigingsDatum":{date}}}"#);
            let (_, document) = read(&body).unwrap();
            assert_eq!(
                (document.status(), document.wijzigings_datum()),
                (None, None)
            );
            assert!(document.json().contains(status));
        }
    }

    #[test]
    fn exclusions_remove_parts_but_keep_status_and_date() {
        let pointers = [
            "/status",
            "/p/e~1mail",
            "/list/0",
            "/list/00",
            "/list/+0",
            "/nowhere/at/all",
            "/cvId/x",
        ]
        .map(|text| JsonPointer::parse(text).unwrap());
        let body = br#"{"cvId":"x","status":"OPEN","wijzigingsDatum":"2022-08-03","p":{"e/mail":1,"q":2},"list":[1,2]}"#;
        let (_, document) = Document::read(body, &pointers).unwrap();
        assert_eq!(
            document.json(),
            r#"{"cvId":"x","list":[2],"p":{"q":2},"wijzigingsDatum":"2022-08-03"}"#
        );
        assert_eq!(document.status(), Some("OPEN"));
        assert_eq!(
            document.wijzigings_datum(),
            NaiveDate::from_ymd_opt(2022, 8, 3)
        );
    }

    #[test]
    fn a_stored_document_is_stripped_as_a_response_is() {
        let pointers = ["/p/e~1mail", "/nowhere"].map(|text| JsonPointer::parse(text).unwrap());
        let body = br#"{"cvId":"x","p":{"e/mail":1,"q":2},"list":[1,2]}"#;
        let whole = Document::read(body, &[]).unwrap().1;
        let without = Document::read(body, &pointers).unwrap().1;
        let (json, hash) = Document::strip(whole.json(), &pointers).unwrap();
        assert_eq!((json.as_str(), &hash), (without.json(), without.hash()));
        assert_eq!(Document::strip(&json, &pointers), None);
        let first = JsonPointer::parse("/list/0").unwrap();
        assert_eq!(Document::strip(&json, &[first]), None);
    }

    #[test]
    fn a_pointer_contains_those_below_it() {
        let pointer = |text| JsonPointer::parse(text).unwrap();
        for (one, other, contains) in [
            ("/a", "/a", true),
            ("/a", "/a/b/c", true),
            ("/a/b", "/a", false),
            ("/a", "/ab", false),
            ("/a~1b", "/a~1b/c", true),
            ("/a", "/a~1b", false),
        ] {
            assert_eq!(
                pointer(one).contains(&pointer(other)),
                contains,
                "{one} {other}"
            );
        }
        assert!(pointer("/a/0").is_positional() && pointer("/0/a").is_positional());
        assert!(!pointer("/a0/b").is_positional());
    }

    #[test]
    fn invalid_pointers_are_rejected() {
        for text in ["", "a/b", "/a~2", "/a~"] {
            assert_eq!(JsonPointer::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn ids_other_than_uuids_are_rejected() {
        for text in [
            "",
            "NOT_FOUND",
            "../x",
            "30dbfef159df4521a111964bf0208e68",
            "{30dbfef1-59df-4521-a111-964bf0208e68}",
        ] {
            assert_eq!(CvId::parse(text), None, "{text:?}");
        }
        assert!(CvId::parse("30dbfef1-59df-4521-a111-964bf0208e68").is_some());
    }

    #[test]
    fn debug_shows_no_person() {
        let (_, document) = read(r#"{"cvId":"x","achternaam":"Peeters"}"#).unwrap();
        assert_eq!(format!("{document:?}"), "Document(35 bytes)");
    }
}
