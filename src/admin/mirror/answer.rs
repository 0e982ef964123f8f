//! Errors in the shape of VDAB's gateway, and the header that each answer has.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};

use crate::contract::GatewayError;
use crate::model::window::instant;
use crate::store::StoreError;

/// A time such that the answer has every change that arrived in the database before it.
const AS_OF: HeaderName = HeaderName::from_static("x-cvsync-as-of");

/// The header of an answer from a snapshot that holds every change before `at`. Rounds down to milliseconds.
pub(super) fn as_of(at: DateTime<Utc>) -> [(HeaderName, String); 1] {
    [(AS_OF, instant(at))]
}

#[derive(Debug)]
pub(in crate::admin) struct Refusal {
    error: GatewayError,
    /// Whether a retry may succeed.
    later: bool,
    /// Whether the response closes the connection.
    close: bool,
}

impl Refusal {
    /// Status and text.
    pub(in crate::admin) fn into_parts(self) -> (u16, String) {
        let status = self.error.http_code.parse().unwrap_or(500);
        (status, self.error.more_information)
    }

    /// 400: the request is invalid.
    pub(super) fn wrong(what: impl Into<String>) -> Self {
        GatewayError::new(400, what).into()
    }

    /// 503: too many requests, or the database is unavailable.
    pub(super) fn busy() -> Self {
        Self {
            error: GatewayError::new(503, "The service is unavailable"),
            later: true,
            close: false,
        }
    }

    /// 503: the client has too many connections.
    pub(super) fn no_room() -> Self {
        Self {
            close: true,
            ..Self::busy()
        }
    }
}

impl From<GatewayError> for Refusal {
    fn from(error: GatewayError) -> Self {
        Self {
            error,
            later: false,
            close: false,
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        tracing::debug!(%error, "the mirror cannot read the database");
        Self::busy()
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = self.error.http_code.parse().unwrap_or(500);
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self.error)).into_response();
        let headers = response.headers_mut();
        if self.later {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.close {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
