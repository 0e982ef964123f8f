//! Lists and errors in the contract's names, where the source has names of its own.

use serde_json::{Map, Value};

use super::answer::Raw;
use super::wire;
use crate::model::Names;

/// The same answer in our names. What is no object of JSON stays as it is.
pub fn in_ours(raw: Raw, names: &Names) -> Raw {
    let Some(mut body) = wire::object::<Map<String, Value>>(&raw.body) else {
        return raw;
    };
    rename(&mut body, names, &["resultaten", "moreInformation"]);
    if let Some(Value::Array(items)) = body.get_mut("resultaten") {
        for item in items.iter_mut().filter_map(Value::as_object_mut) {
            rename(item, names, &["cvId", "status"]);
        }
    }
    Raw {
        body: Value::Object(body).to_string().into_bytes(),
        ..raw
    }
}

/// All at once: one of theirs may be the word for another of ours.
fn rename(fields: &mut Map<String, Value>, names: &Names, ours: &[&str]) {
    let renamed = ours.iter().filter(|name| names.of(name) != **name);
    let values: Vec<_> = renamed
        .map(|name| (*name, fields.remove(names.of(name))))
        .collect();
    for (name, value) in values {
        match value {
            Some(value) => fields.insert(name.to_owned(), value),
            None => fields.remove(name),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renamed(body: &str, pairs: &[(&'static str, &str)]) -> String {
        let mut names = Names::default();
        for (ours, theirs) in pairs {
            names.set(ours, theirs);
        }
        let raw = Raw::told(200, &[], body);
        String::from_utf8(in_ours(raw, &names).body).unwrap()
    }

    #[test]
    fn what_has_another_name_gets_ours_and_the_rest_stays() {
        let pairs = [
            ("resultaten", "results"),
            ("cvId", "id"),
            ("status", "state"),
        ];
        assert_eq!(
            renamed(
                r#"{"aantal":1,"results":[{"id":"x","state":"OPEN","status":"ok"},7]}"#,
                &pairs
            ),
            r#"{"aantal":1,"resultaten":[{"cvId":"x","status":"OPEN"},7]}"#
        );
        for whole in ["<html>", "[1]", r#"{"results":["#] {
            assert_eq!(renamed(whole, &pairs), whole);
        }
    }

    #[test]
    fn names_can_change_places() {
        let pairs = [("cvId", "status"), ("status", "cvId")];
        assert_eq!(
            renamed(r#"{"resultaten":[{"cvId":"OPEN","status":"x"}]}"#, &pairs),
            r#"{"resultaten":[{"cvId":"x","status":"OPEN"}]}"#
        );
    }

    #[test]
    fn a_field_that_means_something_else_at_the_source_is_not_taken_for_ours() {
        assert_eq!(
            renamed(r#"{"resultaten":[{"status":"x"}]}"#, &[("status", "state")]),
            r#"{"resultaten":[{}]}"#
        );
    }
}
