//! Tests whether a collector accepts data, with one empty request.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, TE};
use reqwest::{Client, RequestBuilder};

use super::transport;
use crate::config::{Protocol, Proxies, Target};
use crate::outbound::{self, Peer};

/// An empty gRPC message: not compressed, of length 0.
const NOTHING: &[u8] = &[0; 5];

/// Sends an empty request within `limit`.
///
/// # Errors
/// The problem and the remedy.
pub(crate) async fn probe(
    target: &Target,
    proxies: &Proxies,
    limit: Duration,
) -> Result<(), String> {
    let url = target.url();
    let proxy = proxies.of(&url);
    if let (Protocol::Grpc, Some(proxy), "http") = (target.protocol, proxy, url.scheme()) {
        return Err(format!("it cannot be tried through the proxy {proxy}"));
    }
    let builder = transport::client(target, proxies)?.timeout(limit.min(target.timeout));
    let is_grpc = target.protocol == Protocol::Grpc;
    let builder = if is_grpc {
        builder.http2_prior_knowledge()
    } else {
        builder
    };
    let client = builder
        .build()
        .map_err(|error| transport::unusable(target, error))?;
    let request = request(&client, target);
    let variable = target.variable;
    let response = request.send().await.map_err(|error| {
        let peer = Peer {
            url: variable,
            roots: "OTEL_EXPORTER_OTLP_CERTIFICATE",
        };
        outbound::cause(&error, peer, proxy)
    })?;
    let status = response.status().as_u16();
    let grpc = response.headers().get("grpc-status");
    let grpc = grpc.and_then(|status| status.to_str().ok()?.parse::<u16>().ok());
    if let (407, Some(proxy)) = (status, proxy) {
        return Err(outbound::refusal(proxy, status));
    }
    match (status, grpc) {
        (401 | 403, _) | (200, Some(7 | 16)) => Err(format!(
            "the collector refuses the credentials ({}); check OTEL_EXPORTER_OTLP_HEADERS",
            grpc.unwrap_or(status)
        )),
        (200..=299, None | Some(0)) => Ok(()),
        (_, Some(code)) => Err(format!(
            "the collector responds with gRPC status {code}; check {variable}"
        )),
        (status, None) => Err(format!(
            "the collector responds with status {status}; check host, port and path in {variable}"
        )),
    }
}

/// An empty export.
fn request(client: &Client, target: &Target) -> RequestBuilder {
    let mut url = target.url();
    let request = if target.protocol == Protocol::Grpc {
        let service = if target.is_of_traces() {
            "opentelemetry.proto.collector.trace.v1.TraceService/Export"
        } else {
            "opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
        };
        let path = format!("{}/{service}", url.path().trim_end_matches('/'));
        url.set_path(&path);
        let request = client.post(url).header(TE, "trailers").body(NOTHING);
        request.header(CONTENT_TYPE, "application/grpc")
    } else {
        client
            .post(url)
            .header(CONTENT_TYPE, "application/x-protobuf")
    };
    request.headers(transport::headers(target))
}
