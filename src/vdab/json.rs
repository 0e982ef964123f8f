//! JSON as gateways and backends write it: with a byte order mark, with names in any case, with numbers as text.

use serde::Deserialize;
use serde_json::{Map, Value};

/// The byte order mark in UTF-8. RFC 8259 allows a reader to ignore it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A body without its byte order mark.
#[must_use]
pub(crate) fn without_mark(mut body: &[u8]) -> &[u8] {
    while let Some(rest) = body.strip_prefix(BYTE_ORDER_MARK) {
        body = rest;
    }
    body
}

/// A body as text without its byte order mark; `None` unless it is UTF-8 throughout.
pub(crate) fn text(body: &[u8]) -> Option<&str> {
    std::str::from_utf8(without_mark(body)).ok()
}

/// A whole object of JSON, in UTF-8 throughout.
///
/// serde alone would also read a list, as the fields in their order. And it would not check the bytes of unknown fields.
pub(crate) fn object<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Option<T> {
    let text = text(body)?;
    text.trim_ascii_start()
        .starts_with('{')
        .then(|| serde_json::from_str(text).ok())?
}

/// A whole number from 0 on, also as text or with `.0`.
#[must_use]
pub(crate) fn count(value: &Value) -> Option<u64> {
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

/// Compares two names of fields. .NET writes names in upper or lower case, depending on its settings.
pub(crate) fn is_called(name: &str, wanted: &str) -> bool {
    name.eq_ignore_ascii_case(wanted)
}

pub(crate) fn field<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    fields.get(field_name(fields, name)?)
}

/// The name under which an object has a field. A name in exactly this spelling goes first.
pub(crate) fn field_name<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    let exact = fields.get_key_value(name).map(|(name, _)| name);
    exact
        .or_else(|| fields.keys().find(|key| is_called(key, name)))
        .map(String::as_str)
}
