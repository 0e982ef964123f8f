//! A list response as the contract writes it, for `cvsync conformance`.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::json::{count, is_called, without_mark};
use super::page::{has_id, is_nothing, list, result};
use crate::model::Names;

/// Rewrites a list response in the contract's form, and returns the other forms that it had.
///
/// [`page`](super::page::page) says what a response proves.
pub(crate) fn in_usual_form(body: &[u8], value: Value) -> (Value, BTreeSet<&'static str>) {
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
