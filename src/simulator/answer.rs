//! A response before it is sent.

use bytes::Bytes;
use serde::Serialize;

use crate::contract::GatewayError;

/// Status, headers and body. Sent as JSON unless the headers say otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Headers in addition to `Date` and `Content-Length`; invalid ones are not sent.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

impl Answer {
    #[must_use]
    pub fn new(status: u16, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Status 200 with this value as JSON.
    pub(super) fn json(value: &impl Serialize) -> Self {
        serde_json::to_vec(value).map_or_else(|_| Self::new(500, ""), |body| Self::new(200, body))
    }
}

impl From<GatewayError> for Answer {
    fn from(error: GatewayError) -> Self {
        Self {
            status: error.http_code.parse().unwrap_or(500),
            ..Self::json(&error)
        }
    }
}
