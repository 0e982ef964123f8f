//! VDAB's responses exactly as docs/contract.md shows them; the mirror and the simulator write them.

use serde::Serialize;
use serde_json::{Map, Value};

/// The header that carries the API key.
pub(crate) const KEY_HEADER: &str = "x-ibm-client-id";
/// The widest window of `/kandidaten/bulk`, in days.
pub(crate) const MAX_WINDOW_DAYS: i64 = 5;
/// The largest page of `/kandidaten/bulk`.
pub(crate) const MAX_BULK_PAGE: usize = 2000;
/// The default page of `/kandidaten/bulk`.
pub(crate) const DEFAULT_BULK_PAGE: usize = 100;
/// The largest page of `/kandidaten`.
pub(crate) const MAX_SEARCH_PAGE: usize = 200;
/// The default page of `/kandidaten`.
pub(crate) const DEFAULT_SEARCH_PAGE: usize = 20;
/// The maximum number of fields in `velden`.
pub(crate) const MAX_VELDEN: usize = 5;
/// The maximum number of diplomas that a keyword finds.
pub(crate) const MAX_DIPLOMAS: usize = 10;

/// The status of a live CV.
pub(crate) const OPEN: &str = "OPEN";
/// The status of a removed CV.
pub(crate) const VERWIJDERD: &str = "VERWIJDERD";

/// One page of `/kandidaten/bulk`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BulkPage {
    /// The number of CVs in the whole window, not on this page.
    pub aantal: usize,
    /// The page's items, oldest change first.
    pub resultaten: Vec<BulkItem>,
}

/// A CV that was created, changed or removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BulkItem {
    /// The id of the CV; text, because VDAB has listed ids that are not UUIDs.
    #[serde(rename = "cvId")]
    pub cv_id: String,
    /// `OPEN`, `VERWIJDERD` or another word; absent if VDAB gives none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}

/// One page of `/kandidaten`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct SearchPage {
    /// The number of matching CVs on all pages.
    pub aantal: usize,
    /// Each with `cvId` and the fields that `velden` selected.
    pub resultaten: Vec<Map<String, Value>>,
}

/// An entry of a reference list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Code {
    /// The value in documents.
    pub code: String,
    pub omschrijving: String,
}

/// The gateway's response in case of an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayError {
    /// The status code, as text.
    pub http_code: String,
    pub http_message: String,
    pub more_information: String,
}

impl GatewayError {
    /// An error of this HTTP status, with the gateway's words for it.
    #[must_use]
    pub fn new(status: u16, more_information: impl Into<String>) -> Self {
        Self {
            http_code: status.to_string(),
            http_message: reason(status).to_owned(),
            more_information: more_information.into(),
        }
    }

    /// 401: the key is missing or wrong.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self::new(401, "Invalid client id or secret.")
    }

    /// 404: a CV that is gone or never existed.
    #[must_use]
    pub fn no_such_cv(id: &str) -> Self {
        Self::new(404, format!("{id} is geen bestaande kandidaat"))
    }

    /// 400: an id that is not a UUID.
    #[must_use]
    pub fn malformed_id() -> Self {
        Self::new(400, "Invalid string syntax")
    }

    /// 429: more calls than the quota allows.
    #[must_use]
    pub fn over_quota() -> Self {
        Self::new(429, "Rate Limit exceeded")
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        410 => "Gone",
        429 => "Too Many Requests",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_written_as_the_contract_shows_them() {
        let page = BulkPage {
            aantal: 2,
            resultaten: vec![
                BulkItem {
                    cv_id: "a".into(),
                    status: Some(OPEN.into()),
                },
                BulkItem {
                    cv_id: "b".into(),
                    status: None,
                },
            ],
        };
        assert_eq!(
            serde_json::to_string(&page).unwrap(),
            r#"{"aantal":2,"resultaten":[{"cvId":"a","status":"OPEN"},{"cvId":"b"}]}"#
        );
        assert_eq!(
            serde_json::to_string(&GatewayError::over_quota()).unwrap(),
            r#"{"httpCode":"429","httpMessage":"Too Many Requests","moreInformation":"Rate Limit exceeded"}"#
        );
    }
}
