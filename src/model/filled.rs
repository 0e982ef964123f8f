//! The fields of a document that hold a value; pure.

use std::collections::BTreeMap;

use serde_json::Value;

/// The path of each field that is neither null nor empty, such as `ervaringen.functieTitel`, with the number of its values.
#[must_use]
pub(crate) fn filled(document: &Value) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    collect(document, "", &mut found);
    found
}

fn collect(value: &Value, path: &str, found: &mut BTreeMap<String, u64>) {
    match value {
        Value::Null => {}
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                collect(value, &path, found);
            }
        }
        Value::Array(values) => {
            for value in values {
                collect(value, path, found);
            }
        }
        Value::String(text) if text.trim().is_empty() => {}
        Value::String(_) | Value::Bool(_) | Value::Number(_) => {
            *found.entry(path.to_owned()).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_fields_with_a_value_are_named_and_those_of_lists_are_counted() {
        let document = json!({
            "cvId": "1",
            "natuurlijkPersoon": {"email": "a@b.be", "gsm": null, "website": " ", "officieelAdres": {}},
            "ervaringen": [{"functieTitel": "kok", "werkgever": {"naam": "X"}}, {"functieTitel": "ober"}, null],
            "opleidingen": [],
            "talen": ["N", "F"],
            "eigenWagen": false,
        });
        let filled = filled(&document);
        let found: Vec<_> = filled.iter().map(|(path, n)| (path.as_str(), *n)).collect();
        assert_eq!(
            found,
            [
                ("cvId", 1),
                ("eigenWagen", 1),
                ("ervaringen.functieTitel", 2),
                ("ervaringen.werkgever.naam", 1),
                ("natuurlijkPersoon.email", 1),
                ("talen", 2),
            ]
        );
    }
}
