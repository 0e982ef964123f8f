//! The kind of a response, for every operation alike: a plain function over status, headers and body.

use reqwest::StatusCode;
use reqwest::header::HeaderMap;

use super::error::ApiError;
use super::failure::{self, Said};
use super::{headers, json};

/// A response as it was received. Its body is whole and within its limit.
#[derive(Clone, Debug)]
pub struct Raw {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// Decompressed.
    pub body: Vec<u8>,
}

impl Raw {
    #[cfg(test)]
    pub(super) fn of(status: u16, headers: &[(&str, &str)], body: &str) -> Self {
        let headers = headers.iter();
        Self {
            status: StatusCode::from_u16(status).unwrap(),
            headers: headers
                .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
                .collect(),
            body: body.into(),
        }
    }

    /// The body of a 200 that claims to be JSON, without a byte order mark (docs/contract.md, "Quota" and "Errors").
    ///
    /// The operation decides what a 404 or another 4xx means. They are returned as [`ApiError::Refused`].
    pub fn json(&self) -> Result<&[u8], ApiError> {
        match self.status.as_u16() {
            200 if headers::is_json(&self.headers) => Ok(json::without_mark(&self.body)),
            200 => Err(ApiError::NotAnAnswer("status 200, but it is not JSON")),
            status @ (401 | 403) => Err(ApiError::KeyRefused {
                status,
                said: self.said(),
            }),
            429 => Err(ApiError::OverQuota {
                wait: headers::retry_after(&self.headers)
                    .or_else(|| headers::rate_limit_reset(&self.headers)),
            }),
            407 => Err(ApiError::Unreachable(
                "a proxy on the way asks for credentials (407); ask the network's administrator"
                    .to_owned(),
            )),
            408 => Err(ApiError::Incomplete("status 408")),
            status @ 400..=499 => Err(ApiError::Refused {
                status,
                said: self.said(),
            }),
            status @ 500..=599 => Err(ApiError::Server {
                status,
                wait: headers::retry_after(&self.headers),
            }),
            300..=399 => Err(ApiError::NotAnAnswer("a redirect, which is not followed")),
            _ => Err(ApiError::NotAnAnswer("a status that is not expected")),
        }
    }

    /// Whether the body is an error object of the API, and not a page of a proxy before it.
    #[must_use]
    pub fn is_api_error(&self) -> bool {
        headers::is_json(&self.headers) && failure::is_gateway_error(&self.body)
    }

    /// The message of an error response.
    pub(super) fn said(&self) -> Said {
        Said::read(&self.body)
    }
}
