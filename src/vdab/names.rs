//! Errors in the contract's names, where the source has names of its own. Lists and documents are read with their names.

use serde_json::{Map, Value};

use super::answer::Raw;
use super::wire;
use crate::model::Names;

/// The field of an error that holds its message.
const MESSAGE: &str = "moreInformation";

/// The same error in our names. What is no object of JSON stays as it is.
pub(super) fn in_ours(raw: Raw, names: &Names) -> Raw {
    let Some(mut body) = wire::object::<Map<String, Value>>(&raw.body) else {
        return raw;
    };
    let theirs = names.of(MESSAGE);
    if theirs != MESSAGE {
        match body.remove(theirs) {
            Some(message) => body.insert(MESSAGE.to_owned(), message),
            None => body.remove(MESSAGE),
        };
    }
    Raw {
        body: Value::Object(body).to_string().into_bytes(),
        ..raw
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_our_name_and_the_rest_stays() {
        let mut names = Names::default();
        names.set(MESSAGE, "error");
        let renamed = |body: &str| {
            let raw = Raw::told(404, &[], body);
            String::from_utf8(in_ours(raw, &names).body).unwrap()
        };
        assert_eq!(
            renamed(r#"{"code":1,"error":"x"}"#),
            r#"{"code":1,"moreInformation":"x"}"#
        );
        assert_eq!(renamed(r#"{"moreInformation":"not ours"}"#), "{}");
        for whole in ["<html>", "[1]", r#"{"error":"#] {
            assert_eq!(renamed(whole), whole);
        }
    }
}
