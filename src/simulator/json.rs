//! Writes JSON directly into a string, because a document is rendered for each request.

use serde::Serialize;

/// Unfinished JSON. Keys are not escaped.
pub(super) struct Json(Vec<u8>);

impl Json {
    /// One object, filled by `fill`; `capacity` is a guess of its size in bytes.
    pub(super) fn document(capacity: usize, fill: impl FnOnce(&mut Self)) -> String {
        let mut json = Self(Vec::with_capacity(capacity));
        json.object(fill);
        // serde_json writes UTF-8.
        String::from_utf8(json.0).unwrap_or_default()
    }

    /// An element of an array: an object.
    pub(super) fn object(&mut self, fill: impl FnOnce(&mut Self)) {
        self.separate();
        self.0.push(b'{');
        fill(self);
        self.0.push(b'}');
    }

    pub(super) fn object_at(&mut self, key: &str, fill: impl FnOnce(&mut Self)) {
        self.key(key);
        self.object(fill);
    }

    pub(super) fn array_at(&mut self, key: &str, fill: impl FnOnce(&mut Self)) {
        self.key(key);
        self.0.push(b'[');
        fill(self);
        self.0.push(b']');
    }

    pub(super) fn value_at(&mut self, key: &str, value: impl Serialize) {
        self.key(key);
        // Writing plain values to memory cannot fail.
        let _ = serde_json::to_writer(&mut self.0, &value);
    }

    fn key(&mut self, key: &str) {
        self.separate();
        self.0.push(b'"');
        self.0.extend_from_slice(key.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    fn separate(&mut self) {
        if !matches!(self.0.last(), None | Some(b'{' | b'[' | b':')) {
            self.0.push(b',');
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
            json.value_at("a", hard);
            json.value_at("b", [hard, ""]);
            json.array_at("c", |json| {
                json.object(|_| ());
                json.object(|json| json.value_at("d", 1.5));
            });
        });
        let read: serde_json::Value = serde_json::from_str(&written).unwrap();
        assert_eq!(
            read,
            serde_json::json!({"a": hard, "b": [hard, ""], "c": [{}, {"d": 1.5}]})
        );
    }
}
