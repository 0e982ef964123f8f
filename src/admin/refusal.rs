//! The refusal of an action.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;

use crate::store::StoreError;
use crate::store::held_delete::NotDecided;

/// Nothing was done, and why.
pub(super) struct Refusal(pub StatusCode, pub String);

impl Refusal {
    pub(super) fn into_parts(self) -> (u16, String) {
        (self.0.as_u16(), self.1)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, self.1 + "\n").into_response()
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let status = match error {
            // The value came with the request.
            StoreError::Data(_) => StatusCode::BAD_REQUEST,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self(status, format!("nothing was done: {error}"))
    }
}

impl From<NotDecided> for Refusal {
    fn from(error: NotDecided) -> Self {
        match error {
            NotDecided::Store(error) => error.into(),
            NotDecided::NotHeld(_) => refused(
                StatusCode::NOT_FOUND,
                "nothing was done: not all of these deletes are held; GET /api/deletes lists those that are",
            ),
            NotDecided::Others(held) => refused(
                StatusCode::CONFLICT,
                format!("nothing was done: {held} deletes are held by now; look at them again"),
            ),
        }
    }
}

pub(super) fn refused(status: StatusCode, text: impl Into<String>) -> Refusal {
    Refusal(status, text.into())
}

/// An empty body means the default.
pub(super) fn body<T: DeserializeOwned + Default>(
    bytes: &[u8],
    example: &str,
) -> Result<T, Refusal> {
    if bytes.is_empty() {
        return Ok(T::default());
    }
    // serde's message may repeat the content of the body.
    serde_json::from_slice(bytes).map_err(|_| {
        let text = format!("nothing was done: the body must be JSON like {example}");
        refused(StatusCode::BAD_REQUEST, text)
    })
}
