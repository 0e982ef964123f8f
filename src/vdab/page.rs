//! A page of a list, read as tolerantly as services in Java, .NET and PHP write JSON, and no more tolerantly than is safe.
//!
//! A page without items settles a window, so it needs proof. [`page`] says which forms are a list, and which of them prove
//! that there is nothing.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::json::{count, field, field_name, is_called, text};
use crate::model::{CvId, Names};

#[derive(Debug)]
pub struct Page<T> {
    /// The total on all pages: the larger one where the response has two.
    pub total: Option<u64>,
    pub items: Vec<T>,
}

/// A page of the ids in a window.
pub(crate) type BulkPage = Page<BulkItem>;

/// A page of search results: each with its `cvId` and the fields that were selected.
pub(crate) type SearchPage = Page<Map<String, Value>>;

#[derive(Debug)]
pub struct BulkItem {
    pub id: ListedId,
    /// The status word, as VDAB wrote it.
    pub status: Option<String>,
}

/// The id of a list item, read once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListedId {
    Valid(CvId),
    /// Text or a number that is not a UUID. It is kept, so that two of them can be told apart.
    Garbage(String),
    Missing,
}

/// Reads a page. The error says why the response is not a page.
///
/// The list stands under `resultaten` and the total under `aantal` or `totaalAantalResultaten`; upper and lower case do
/// not matter. These forms are a list:
/// - an array;
/// - an object with numbers for keys, or whose values are all CVs: PHP writes such arrays;
/// - one CV, as an object or as the text of its id: converters from XML write a list of one element so;
/// - an array without an object around it, if at least one item has an id.
///
/// An item can be of any type, and each counts.
///
/// These forms prove that there is nothing from `offset` on:
/// - an empty array or an empty object under `resultaten`;
/// - null, an empty text or nothing at all in place of the list, if the response has a total and it is not above `offset`.
///
/// Anything else proves nothing: no body, HTML, `{}`, `[]`, an error object, `false`, a list of null without a total. A
/// gateway or a broken backend can write each of them, and a window must not be settled for it.
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
    /// Reads an item of any type.
    #[must_use]
    pub fn read(item: &Value, names: &Names) -> Self {
        match item {
            Value::Object(fields) => Self {
                id: ListedId::read(field(fields, names.of("cvId"))),
                status: field(fields, names.of("status"))
                    .and_then(Value::as_str)
                    .map(str::to_owned),
            },
            _ => Self {
                id: ListedId::read(Some(item)),
                status: None,
            },
        }
    }
}

impl ListedId {
    fn read(id: Option<&Value>) -> Self {
        match id {
            Some(Value::String(text)) => {
                let text = text.trim();
                CvId::parse(text).map_or_else(|| Self::Garbage(text.to_owned()), Self::Valid)
            }
            Some(Value::Number(number)) => Self::Garbage(number.to_string()),
            _ => Self::Missing,
        }
    }

    #[must_use]
    pub fn valid(&self) -> Option<CvId> {
        match self {
            Self::Valid(id) => Some(*id),
            Self::Garbage(_) | Self::Missing => None,
        }
    }
}

/// The fields of a search result of any type, with id and status under the contract's names; empty if it has no fields.
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

/// The items of a value in the place of a list; see [`page`].
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

/// Whether a value means an empty list, if a total says that the list is empty.
pub(super) fn is_nothing(value: &Value) -> bool {
    value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty())
}

pub(crate) fn has_id(item: &Value, names: &Names) -> bool {
    BulkItem::read(item, names).id.valid().is_some()
}

fn is_number(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_digit())
}

/// The fields of an object in their order. A name that occurs twice is kept twice.
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

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "30dbfef1-59df-4521-a111-964bf0208e68";
    const OTHER: &str = "cb60cf85-1380-4a5a-adae-0b7bc6160661";

    fn at(offset: u64, body: &str) -> Result<Page<Value>, &'static str> {
        page(body.as_bytes(), offset, &Names::default())
    }

    fn read(body: &str) -> Option<Vec<(ListedId, Option<String>)>> {
        let items = at(0, body).ok()?.items;
        let items = items.iter().map(|item| {
            let BulkItem { id, status } = BulkItem::read(item, &Names::default());
            (id, status)
        });
        Some(items.collect())
    }

    fn valid(id: &str) -> ListedId {
        ListedId::Valid(CvId::parse(id).unwrap())
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
        let open = (valid(ID), Some("OPEN".to_owned()));
        let bare = (valid(ID), None);
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
        let garbage = |text: &str| ListedId::Garbage(text.to_owned());
        let expected = [
            valid(ID),
            ListedId::Missing,
            garbage("7"),
            garbage("x"),
            ListedId::Missing,
            ListedId::Missing,
            ListedId::Missing,
            ListedId::Missing,
            garbage("7"),
            ListedId::Missing,
        ];
        assert_eq!(ids, expected);
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
    fn names_of_the_source_replace_those_of_the_contract() {
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
        assert_eq!((item.id, item.status.as_deref()), (valid(ID), Some("OPEN")));
        assert_eq!(page.items.len(), 1);
        let result = result(page.items[0].clone(), &names);
        assert_eq!(
            (&result["cvId"], &result["status"]),
            (&ID.into(), &"OPEN".into())
        );
    }
}
