//! Renames the fields of an error to the contract's names, if VDAB uses others. Lists and documents are read under VDAB's names.

use serde_json::{Map, Value};

use super::answer::Raw;
use super::json;
use crate::model::Names;

/// The contract's name for the message of an error.
const MESSAGE: &str = "moreInformation";

/// The same error under the contract's names. A body that is not a JSON object stays as it is.
pub(super) fn in_contracts(raw: Raw, names: &Names) -> Raw {
    let Some(mut body) = json::object::<Map<String, Value>>(&raw.body) else {
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
    fn a_message_gets_the_name_of_the_contract_and_the_rest_stays() {
        let mut names = Names::default();
        names.set(MESSAGE, "error");
        let renamed = |body: &str| {
            let raw = Raw::of(404, &[], body);
            String::from_utf8(in_contracts(raw, &names).body).unwrap()
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
