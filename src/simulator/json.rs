//! Writes JSON straight into one string: a document is rendered for each request, so it must be cheap.

use std::fmt::{Display, Write as _};

/// JSON under construction. Keys are written as they are; values are escaped.
pub(super) struct Json(String);

impl Json {
    /// One object, filled by `fill`; `capacity` is a guess of its size in bytes.
    pub(super) fn document(capacity: usize, fill: impl FnOnce(&mut Self)) -> String {
        let mut json = Self(String::with_capacity(capacity));
        json.object(fill);
        json.0
    }

    /// An element of an array: an object.
    pub(super) fn object(&mut self, fill: impl FnOnce(&mut Self)) {
        self.separate();
        self.0.push('{');
        fill(self);
        self.0.push('}');
    }

    pub(super) fn object_at(&mut self, key: &str, fill: impl FnOnce(&mut Self)) {
        self.key(key);
        self.object(fill);
    }

    pub(super) fn array_at(&mut self, key: &str, fill: impl FnOnce(&mut Self)) {
        self.key(key);
        self.0.push('[');
        fill(self);
        self.0.push(']');
    }

    pub(super) fn texts_at<'a>(&mut self, key: &str, values: impl IntoIterator<Item = &'a str>) {
        self.array_at(key, |json| {
            values.into_iter().for_each(|value| json.text(value));
        });
    }

    pub(super) fn text_at(&mut self, key: &str, value: &str) {
        self.key(key);
        self.text(value);
    }

    /// A number or a boolean: whatever needs no quotes.
    pub(super) fn plain_at(&mut self, key: &str, value: impl Display) {
        self.key(key);
        // Writing to a string cannot fail.
        let _ = write!(self.0, "{value}");
    }

    fn key(&mut self, key: &str) {
        self.separate();
        self.0.push('"');
        self.0.push_str(key);
        self.0.push_str("\":");
    }

    fn text(&mut self, value: &str) {
        self.separate();
        self.0.push('"');
        if value.bytes().any(|b| b < 0x20 || b == b'"' || b == b'\\') {
            value.chars().for_each(|c| self.escaped(c));
        } else {
            self.0.push_str(value);
        }
        self.0.push('"');
    }

    fn escaped(&mut self, c: char) {
        match c {
            '"' => self.0.push_str("\\\""),
            '\\' => self.0.push_str("\\\\"),
            '\n' => self.0.push_str("\\n"),
            c if c < ' ' => {
                let _ = write!(self.0, "\\u{:04x}", u32::from(c));
            }
            c => self.0.push(c),
        }
    }

    fn separate(&mut self) {
        if !self.0.is_empty() && !self.0.ends_with(['{', '[', ':']) {
            self.0.push(',');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_stands_in_a_text_is_read_back() {
        let hard = "quote \" back \\ line\nbell \u{7} é 😀 {[:";
        let written = Json::document(0, |json| {
            json.text_at("a", hard);
            json.texts_at("b", [hard, ""]);
            json.array_at("c", |json| {
                json.object(|_| ());
                json.object(|json| json.plain_at("d", 1.5));
            });
        });
        let read: serde_json::Value = serde_json::from_str(&written).unwrap();
        assert_eq!(
            read,
            serde_json::json!({"a": hard, "b": [hard, ""], "c": [{}, {"d": 1.5}]})
        );
    }
}
