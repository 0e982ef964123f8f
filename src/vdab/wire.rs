//! VDAB's answers, read as tolerantly as services in Java, .NET and PHP write JSON, and no more tolerantly than is safe.
//!
//! A page without items settles a window, so it needs proof. [`page`] says which forms are a list, and which of them prove
//! that there is nothing.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::model::{CvId, Names};

/// The byte order mark in UTF-8. RFC 8259 allows a reader to ignore it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A page of an answer that is paged.
#[derive(Debug)]
pub struct Page<T> {
    /// The total on all pages: the larger one where the answer has two.
    pub total: Option<u64>,
    /// What is on this page.
    pub items: Vec<T>,
}

/// A page of the ids in a window.
pub(crate) type BulkPage = Page<BulkItem>;

/// A page of what a search found: each result with its `cvId` and the fields that were selected.
pub(crate) type SearchPage = Page<Map<String, Value>>;

/// One listed CV.
#[derive(Debug)]
pub struct BulkItem {
    /// An id, or garbage; `None` where the item has none.
    pub cv_id: Option<String>,
    /// A status word, if the answer has one.
    pub status: Option<String>,
}

/// A body without its byte order mark.
#[must_use]
pub(super) fn without_mark(mut body: &[u8]) -> &[u8] {
    while let Some(rest) = body.strip_prefix(BYTE_ORDER_MARK) {
        body = rest;
    }
    body
}

/// Reads a page. The error says why the answer is not a page.
///
/// The list stands under `resultaten` and the total under `aantal` or `totaalAantalResultaten`; upper and lower case do
/// not matter. These forms are a list:
/// - an array;
/// - an object with numbers for keys, or whose values are all CVs: PHP writes such arrays;
/// - one CV, as an object or as the text of its id: converters from XML write a list of one element so;
/// - an array without an object around it, if at least one item has an id.
///
/// An item can be of any type. Whoever reads the items counts each of them.
///
/// These forms prove that there is nothing from `offset` on:
/// - an empty array or an empty object under `resultaten`;
/// - null, an empty text or nothing at all in place of the list, if the answer has a total and it is not above `offset`.
///
/// All else proves nothing: no body, HTML, `{}`, `[]`, an error object, `false`, a list of null without a total. A gateway
/// or a broken backend can write each of them, and a window must not be settled for it.
pub(super) fn page(body: &[u8], offset: u64, names: &Names) -> Result<Page<Value>, &'static str> {
    let Some(text) = text(body) else {
        return Err("its body is not UTF-8");
    };
    if text.trim_ascii_start().starts_with('[') {
        let items: Vec<Value> = serde_json::from_str(text).map_err(|_| NOT_JSON)?;
        return if items.iter().any(|item| has_id(item, names)) {
            Ok(Page { total: None, items })
        } else {
            Err("it is an array that holds no CV")
        };
    }
    let Fields(fields) = serde_json::from_str(text).map_err(|_| NOT_JSON)?;
    let (mut total, mut items, mut is_list) = (None, Vec::new(), false);
    for (name, value) in fields {
        if is_called(&name, "aantal") || is_called(&name, "totaalAantalResultaten") {
            total = total.max(count(&value));
        } else if is_called(&name, names.of("resultaten")) && !is_nothing(&value) {
            items.extend(list(value, names).ok_or("its results are not a list")?);
            is_list = true;
        }
    }
    if is_list || total.is_some_and(|total| total <= offset) {
        Ok(Page { total, items })
    } else {
        Err("it has no list of results, and no total that says why")
    }
}

const NOT_JSON: &str = "its body is not JSON, or not whole";

impl BulkItem {
    /// Reads an item of any type. A number in place of an id is garbage, and is kept so that it can be told from others.
    #[must_use]
    pub fn read(item: &Value, names: &Names) -> Self {
        let (id, status) = match item {
            Value::Object(fields) => (
                field(fields, names.of("cvId")),
                field(fields, names.of("status")),
            ),
            _ => (Some(item), None),
        };
        Self {
            cv_id: match id {
                Some(Value::String(text)) => Some(text.trim().to_owned()),
                Some(Value::Number(number)) => Some(number.to_string()),
                _ => None,
            },
            status: status.and_then(Value::as_str).map(str::to_owned),
        }
    }
}

/// Reads a search result of any type: its fields, with id and status under our names; empty where it has none.
#[must_use]
pub(super) fn result(item: Value, names: &Names) -> Map<String, Value> {
    match item {
        Value::Object(mut fields) => {
            let found = ["cvId", "status"].map(|ours| {
                let theirs = field_name(&fields, names.of(ours))?.to_owned();
                Some((ours, theirs))
            });
            let values: Vec<_> = found
                .into_iter()
                .flatten()
                .map(|(ours, theirs)| (ours, fields.remove(&theirs)))
                .collect();
            for ours in ["cvId", "status"] {
                if names.of(ours) != ours {
                    fields.remove(ours);
                }
            }
            fields.extend(
                values
                    .into_iter()
                    .filter_map(|(ours, value)| Some((ours.to_owned(), value?))),
            );
            fields
        }
        Value::String(id) if CvId::parse(id.trim()).is_some() => {
            Map::from_iter([("cvId".to_owned(), Value::String(id.trim().to_owned()))])
        }
        _ => Map::new(),
    }
}

/// The items of what stands in place of a list; see [`page`].
pub(super) fn list(value: Value, names: &Names) -> Option<Vec<Value>> {
    match value {
        Value::Array(items) => Some(items),
        Value::Object(fields) if field_name(&fields, names.of("cvId")).is_some() => {
            Some(vec![Value::Object(fields)])
        }
        Value::Object(fields)
            if fields.keys().all(|key| is_number(key))
                || fields.values().all(|item| has_id(item, names)) =>
        {
            Some(fields.into_iter().map(|(_, item)| item).collect())
        }
        Value::String(_) if has_id(&value, names) => Some(vec![value]),
        _ => None,
    }
}

/// Whether it stands for a list without items, in a place where a total says that there are none.
pub(super) fn is_nothing(value: &Value) -> bool {
    value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty())
}

/// A whole number from 0 on, also as text or with `.0`; anything else is no total at all.
#[must_use]
pub(super) fn count(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => {
            let is_whole = |number: &f64| number.fract() == 0.0 && (0.0..1e15).contains(number);
            number.as_u64().or_else(|| {
                let number = number.as_f64().filter(is_whole)?;
                format!("{number:.0}").parse().ok()
            })
        }
        Value::String(text) => {
            let text = text.trim();
            text.strip_suffix(".0").unwrap_or(text).parse().ok()
        }
        _ => None,
    }
}

/// A list answer as the contract writes it, and the other forms that it had. For those who look at answers; [`page`] says what
/// an answer proves.
pub(super) fn in_usual_form(body: &[u8], value: Value) -> (Value, BTreeSet<&'static str>) {
    let names = Names::default();
    let mut forms = BTreeSet::new();
    if without_mark(body).len() < body.len() {
        forms.insert("a byte order mark");
    }
    let mut fields = match value {
        Value::Object(fields) => fields,
        Value::Array(items) if items.iter().any(|item| has_id(item, &names)) => {
            forms.insert("an array without an object around it");
            Map::from_iter([("resultaten".to_owned(), Value::Array(items))])
        }
        other => return (other, forms),
    };
    let mut is_nothing_left = false;
    for (name, value) in &mut fields {
        if is_called(name, "aantal") || is_called(name, "totaalAantalResultaten") {
            let total = count(value);
            is_nothing_left |= total == Some(0);
            if let Some(total) =
                total.filter(|_| !matches!(value, Value::Number(number) if number.is_u64()))
            {
                forms.insert("a total that is text, or has a point");
                *value = total.into();
            }
        }
    }
    let is_list =
        |(name, value): (&String, &Value)| value.is_array() || is_called(name, "resultaten");
    if is_nothing_left && !fields.iter().any(is_list) {
        fields.insert("resultaten".to_owned(), Value::Null);
    }
    for (name, value) in &mut fields {
        let is_results = is_called(name, "resultaten");
        let is_keyed = value
            .as_object()
            .is_some_and(|items| is_results || !items.is_empty());
        if is_results && is_nothing_left && is_nothing(value) {
            forms.insert("no array where there is nothing");
            *value = Value::Array(Vec::new());
        } else if is_keyed && let Some(items) = list(value.clone(), &names) {
            if is_results || items.iter().any(|item| has_id(item, &names)) {
                forms.insert("an object in place of an array");
                *value = Value::Array(items);
            }
        } else if is_results && value.is_string() && has_id(value, &names) {
            forms.insert("an id in place of an array");
            *value = Value::Array(vec![value.take()]);
        }
        for item in value.as_array_mut().into_iter().flatten() {
            if item.is_string() && has_id(item, &names) {
                forms.insert("ids in place of objects");
                *item = Value::Object(result(item.take(), &names));
            }
        }
    }
    (Value::Object(fields), forms)
}

fn has_id(item: &Value, names: &Names) -> bool {
    let id = BulkItem::read(item, names).cv_id;
    id.as_deref().and_then(CvId::parse).is_some()
}

fn is_number(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_digit())
}

/// .NET writes names in upper or lower case, depending on its settings.
fn is_called(name: &str, wanted: &str) -> bool {
    name.eq_ignore_ascii_case(wanted)
}

fn field<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    fields.get(field_name(fields, name)?)
}

/// A field of exactly this name goes first.
fn field_name<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    let exact = fields.get_key_value(name).map(|(name, _)| name);
    exact
        .or_else(|| fields.keys().find(|key| is_called(key, name)))
        .map(String::as_str)
}

/// The fields of an object in their order. A name that comes twice is there twice.
struct Fields(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(Read)
    }
}

/// An error of the gateway or of the API behind it.
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

/// The message of an error answer, whole; `None` if the body is no JSON object.
#[must_use]
pub(super) fn failure_message(body: &[u8]) -> Option<String> {
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

/// Whether an error answer is an object with the words of the gateway or the API (docs/contract.md, "Errors"), and not just any JSON
/// of whatever stands before them.
#[must_use]
pub(super) fn is_gateway_error(body: &[u8]) -> bool {
    object(body).is_some_and(|failure: Failure| {
        let says = |words: Option<String>| words.is_some_and(|words| !words.is_empty());
        says(failure.more_information) || says(failure.http_message)
    })
}

/// A whole object of JSON, in UTF-8 throughout. serde alone would also read a list, as the fields in their order, and would
/// not look at the bytes of fields that it does not know.
pub(super) fn object<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Option<T> {
    let text = text(body)?;
    text.trim_ascii_start()
        .starts_with('{')
        .then(|| serde_json::from_str(text).ok())?
}

/// UTF-8 without its byte order mark.
fn text(body: &[u8]) -> Option<&str> {
    std::str::from_utf8(without_mark(body)).ok()
}

/// A string; anything else is none.
fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) => Some(text),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "30dbfef1-59df-4521-a111-964bf0208e68";
    const OTHER: &str = "cb60cf85-1380-4a5a-adae-0b7bc6160661";

    fn at(offset: u64, body: &str) -> Result<Page<Value>, &'static str> {
        page(body.as_bytes(), offset, &Names::default())
    }

    fn read(body: &str) -> Option<Vec<(Option<String>, Option<String>)>> {
        let items = at(0, body).ok()?.items;
        let items = items.iter().map(|item| {
            let BulkItem { cv_id, status } = BulkItem::read(item, &Names::default());
            (cv_id, status)
        });
        Some(items.collect())
    }

    #[test]
    fn total_is_read_under_both_names_and_as_text() {
        for (body, total) in [
            (r#"{"aantal":2,"resultaten":[]}"#, Some(2)),
            (r#"{"totaalAantalResultaten":3,"resultaten":[]}"#, Some(3)),
            (r#"{"TotaalAantalResultaten":3,"Resultaten":[]}"#, Some(3)),
            (r#"{"aantal":"4","resultaten":[]}"#, Some(4)),
            (r#"{"aantal":" 4.0","resultaten":[]}"#, Some(4)),
            (r#"{"aantal":4.0,"resultaten":[]}"#, Some(4)),
            (r#"{"aantal":4e3,"resultaten":[]}"#, Some(4_000)),
            (
                r#"{"aantal":2,"totaalAantalResultaten":7,"resultaten":[]}"#,
                Some(7),
            ),
            (r#"{"aantal":2,"aantal":1,"resultaten":[]}"#, Some(2)),
            (r#"{"aantal":-1,"resultaten":[]}"#, None),
            (r#"{"aantal":"1.000","resultaten":[]}"#, None),
            (r#"{"aantal":1.5,"resultaten":[]}"#, None),
            (r#"{"aantal":1e99,"resultaten":[]}"#, None),
            (r#"{"aantal":{"x":1},"resultaten":[]}"#, None),
            (r#"{"aantal":null,"resultaten":[]}"#, None),
            (r#"{"resultaten":[],"nieuw":{}}"#, None),
        ] {
            assert_eq!(at(0, body).unwrap().total, total, "{body}");
        }
    }

    #[test]
    fn every_form_of_a_list_is_read() {
        let item = format!(r#"{{"cvId":"{ID}","status":"OPEN"}}"#);
        let open = (Some(ID.to_owned()), Some("OPEN".to_owned()));
        let bare = (Some(ID.to_owned()), None);
        for (body, expected) in [
            (format!(r#"{{"aantal":1,"resultaten":[{item}]}}"#), &open),
            (format!(r#"{{"aantal":1,"resultaten":{item}}}"#), &open),
            (format!(r#"{{"resultaten":{{"0":{item}}}}}"#), &open),
            (format!(r#"{{"resultaten":{{"{ID}":{item}}}}}"#), &open),
            (format!("[{item}]"), &open),
            (
                format!("\u{feff}\u{feff}{{\"resultaten\":[{item}]}}"),
                &open,
            ),
            (
                format!(r#"{{"Aantal":1,"Resultaten":[{{"CvId":" {ID} ","STATUS":"OPEN"}}]}}"#),
                &open,
            ),
            (format!(r#"{{"resultaten":["{ID}"]}}"#), &bare),
            (format!(r#"{{"resultaten":"{ID}"}}"#), &bare),
            (format!(r#"["{ID}"]"#), &bare),
            (
                format!(r#"{{"resultaten":[{{"cvId":"{ID}","status":7}}]}}"#),
                &bare,
            ),
            (
                format!(r#"{{"resultaten":[{{"cvId":"{ID}","status":null}}]}}"#),
                &bare,
            ),
        ] {
            assert_eq!(
                read(&body).unwrap(),
                std::slice::from_ref(expected),
                "{body}"
            );
        }
    }

    #[test]
    fn an_odd_item_is_an_item() {
        let body = format!(
            r#"{{"resultaten":[{{"cvId":"{ID}"}},null,7,"x",true,[],{{}},{{"cvId":null}},{{"cvId":7}},{{"cvId":{{"id":"{OTHER}"}}}}]}}"#
        );
        let ids: Vec<_> = read(&body).unwrap().into_iter().map(|(id, _)| id).collect();
        let texts = [
            Some(ID),
            None,
            Some("7"),
            Some("x"),
            None,
            None,
            None,
            None,
            Some("7"),
            None,
        ];
        assert_eq!(ids, texts.map(|text| text.map(str::to_owned)));
    }

    #[test]
    fn a_list_that_comes_twice_is_read_twice() {
        let body = format!(r#"{{"resultaten":["{ID}"],"aantal":2,"resultaten":["{OTHER}"]}}"#);
        assert_eq!(read(&body).unwrap().len(), 2);
    }

    #[test]
    fn an_empty_page_needs_proof() {
        for body in [
            r#"{"aantal":0,"resultaten":[]}"#,
            r#"{"aantal":0,"resultaten":{}}"#,
            r#"{"aantal":0,"resultaten":null}"#,
            r#"{"aantal":"0","resultaten":""}"#,
            r#"{"aantal":0.0}"#,
            r#"{"totaalAantalResultaten":0}"#,
            r#"{"resultaten":[]}"#,
            r#"{"resultaten":{}}"#,
        ] {
            assert!(at(0, body).unwrap().items.is_empty(), "{body}");
        }
        for body in [
            "",
            " ",
            "{}",
            "[]",
            "[[]]",
            "null",
            "0",
            r#"["error"]"#,
            r#"[{"httpCode":"500"}]"#,
            r#"{"httpCode":"500","httpMessage":"Internal Server Error"}"#,
            r#"{"resultaten":null}"#,
            r#"{"resultaten":""}"#,
            r#"{"aantal":null,"resultaten":null}"#,
            r#"{"aantal":-1,"resultaten":null}"#,
            r#"{"aantal":2,"resultaten":null}"#,
            r#"{"aantal":2}"#,
            r#"{"aantal":0,"resultaten":false}"#,
            r#"{"aantal":0,"resultaten":{"error":"x"}}"#,
            r#"{"aantal":0,"resultaten":"x"}"#,
            r#"{"aantal":0,"resultaten":7}"#,
            "<html>",
        ] {
            assert!(at(0, body).is_err(), "{body}");
        }
        let behind_the_last = r#"{"aantal":2,"resultaten":null}"#;
        assert!(at(2, behind_the_last).unwrap().items.is_empty());
        assert!(at(1, behind_the_last).is_err());
        assert!(
            page(
                &utf_16(r#"{"aantal":0,"resultaten":[]}"#),
                0,
                &Names::default()
            )
            .is_err()
        );
    }

    fn utf_16(text: &str) -> Vec<u8> {
        let mark = std::iter::once(0xfeff);
        mark.chain(text.encode_utf16())
            .flat_map(u16::to_le_bytes)
            .collect()
    }

    #[test]
    fn names_of_the_source_replace_ours() {
        let mut names = Names::default();
        for (ours, theirs) in [
            ("resultaten", "results"),
            ("cvId", "status"),
            ("status", "cvId"),
        ] {
            names.set(ours, theirs);
        }
        let body =
            format!(r#"{{"resultaten":[1,2],"results":[{{"status":"{ID}","cvId":"OPEN"}}]}}"#);
        let page = page(body.as_bytes(), 0, &names).unwrap();
        let item = BulkItem::read(&page.items[0], &names);
        assert_eq!(
            (item.cv_id.as_deref(), item.status.as_deref()),
            (Some(ID), Some("OPEN"))
        );
        assert_eq!(page.items.len(), 1);
        let result = result(page.items[0].clone(), &names);
        assert_eq!(
            (&result["cvId"], &result["status"]),
            (&ID.into(), &"OPEN".into())
        );
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
