//! One attempt at a call: it is signed, sent, timed, counted and classified.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use reqwest::RequestBuilder;
use url::Url;

use super::answer::Raw;
use super::auth::Auth;
use super::error::ApiError;
use super::gate::Pass;
use super::operation::{Operation, Properties};
use super::quota::Permit;
use super::request::{API, Http};
use super::source_time::SourceTime;
use super::traffic::Traffic;
use super::{headers, names};
use crate::model::Names;
use crate::telemetry::Metrics;

/// A response, and the source time at which its request started: it reflects every change before that.
#[derive(Debug)]
pub struct Answer<T> {
    /// Lower bound of the source's time at the start of the request.
    pub as_of: DateTime<Utc>,
    pub value: T,
}

/// The outcome of one attempt, which is not reported to the gate yet.
pub(super) struct Reply<T> {
    pub(super) outcome: Result<Answer<T>, ApiError>,
    /// How long to wait, if the response says that it was the last one in the quota.
    nothing_left: Option<Duration>,
}

impl<T> Reply<T> {
    pub(super) fn report_to(&self, pass: Pass<'_>) {
        match (&self.outcome, self.nothing_left) {
            (Ok(_), Some(wait)) => pass.report_last(wait),
            (outcome, _) => pass.report(outcome.as_ref().err()),
        }
    }
}

/// Sends requests to VDAB, and learns the time and the quota from the headers of each response.
#[derive(Debug)]
pub(super) struct Transport {
    pub(super) http: Http,
    pub(super) base_url: Url,
    pub(super) auth: Auth,
    /// The names of fields at VDAB, where they are not the contract's.
    pub(super) names: Names,
    pub(super) per_minute: NonZeroU32,
    pub(super) time: SourceTime,
    pub(super) metrics: Metrics,
}

impl Transport {
    /// A GET request for the path of these segments below the base URL; `..` leaves out the last one before it.
    pub(super) fn get(&self, segments: &[&str]) -> RequestBuilder {
        let mut url = self.base_url.clone();
        // Cannot fail: the configuration takes http and https URLs only, which have a path.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty();
            for segment in segments {
                match *segment {
                    ".." => path.pop(),
                    segment => path.push(segment),
                };
            }
        }
        self.http.get(url)
    }

    pub(super) async fn attempt<T>(
        &self,
        traffic: &Traffic,
        pass: &Pass<'_>,
        mut permit: Permit<'_>,
        request: RequestBuilder,
        classify: impl FnOnce(&Raw) -> Result<T, ApiError>,
    ) -> Reply<T> {
        let asked = Instant::now();
        let operation = traffic.operation;
        let Properties {
            template, limit, ..
        } = operation.properties();
        let under_way = traffic.begin();
        let raw = match self.auth.sign(&self.http, request).await {
            Ok(request) => {
                let again = async || {
                    permit.renew().await;
                    pass.holds()
                };
                self.http.send(API, request, limit, again).await
            }
            Err(error) => Err(error),
        };
        permit.end();
        traffic.end(under_way);
        let received = Instant::now();
        if let Ok(raw) = &raw {
            self.observe(operation, raw, asked, received);
        }
        // The reader of a good response knows VDAB's names. Errors are read under the contract's names.
        let raw = raw.map(|raw| match &self.names {
            names if names.is_empty() || raw.status == 200 => raw,
            names => names::in_contracts(raw, names),
        });
        let outcome = raw.as_ref().map_err(Clone::clone).and_then(classify);
        self.metrics.http_request(
            &self.base_url,
            template,
            received - asked,
            raw.as_ref().ok().map(|raw| raw.status.as_u16()),
            outcome.as_ref().err().map(ApiError::class),
        );
        if outcome.as_ref().is_err_and(ApiError::is_of_credentials) {
            self.auth.doubt();
        }
        Reply {
            outcome: outcome.map(|value| Answer {
                as_of: self.time.at(asked),
                value,
            }),
            nothing_left: raw.as_ref().ok().and_then(nothing_left),
        }
    }

    fn observe(&self, operation: Operation, raw: &Raw, asked: Instant, received: Instant) {
        self.time
            .learn(headers::date(&raw.headers), asked, received);
        let configured = u64::from(self.per_minute.get());
        self.metrics.quota(
            operation.name(),
            headers::rate_limit(&raw.headers).unwrap_or(configured),
            headers::rate_limit_remaining(&raw.headers),
        );
    }
}

/// How long to wait, if a good response says that it was the last one in the quota.
fn nothing_left(raw: &Raw) -> Option<Duration> {
    (headers::rate_limit_remaining(&raw.headers) == Some(0))
        .then(|| headers::rate_limit_reset(&raw.headers))
        .flatten()
}
