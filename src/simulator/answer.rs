//! An answer before it is on the wire.

use bytes::Bytes;
use serde::Serialize;

use crate::contract::GatewayError;

/// Status, headers and body. Sent as JSON unless the headers say otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Headers beside `Date` and `Content-Length`; what is no valid header is left out.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Bytes,
}

impl Answer {
    /// An answer of this status and body.
    #[must_use]
    pub fn new(status: u16, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    /// The same with one more header.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// 200 and this value.
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
