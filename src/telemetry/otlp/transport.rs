//! Connections to a collector: by HTTP or gRPC, directly or through a proxy.

use std::thread;

use async_trait::async_trait;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Matcher;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{
    Compression, MetricExporter, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig,
};
use opentelemetry_sdk::metrics;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use secrecy::ExposeSecret;
use tonic::metadata::MetadataMap;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::config::{Protocol, Proxies, Target, Temporality};
use crate::outbound;

pub(super) fn traces(target: &Target, proxies: &Proxies) -> Result<SpanExporter, String> {
    let builder = SpanExporter::builder();
    let built = match target.protocol {
        Protocol::Http => over_http(builder.with_http(), target, proxies)?.build(),
        Protocol::Grpc => over_grpc(builder.with_tonic(), target, proxies)?.build(),
    };
    built.map_err(|_| malformed(target))
}

pub(super) fn metrics(
    target: &Target,
    proxies: &Proxies,
    temporality: Temporality,
) -> Result<MetricExporter, String> {
    let builder = MetricExporter::builder().with_temporality(match temporality {
        Temporality::Cumulative => metrics::Temporality::Cumulative,
        Temporality::Delta => metrics::Temporality::Delta,
        Temporality::LowMemory => metrics::Temporality::LowMemory,
    });
    let built = match target.protocol {
        Protocol::Http => over_http(builder.with_http(), target, proxies)?.build(),
        Protocol::Grpc => over_grpc(builder.with_tonic(), target, proxies)?.build(),
    };
    built.map_err(|_| malformed(target))
}

fn over_http<B>(builder: B, target: &Target, proxies: &Proxies) -> Result<B, String>
where
    B: WithExportConfig + WithHttpConfig,
{
    let builder = builder
        .with_http_client(Authorized {
            client: blocking(target, proxies)?,
            headers: headers(target),
        })
        .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
        .with_endpoint(target.url())
        .with_timeout(target.timeout);
    Ok(if target.gzip {
        builder.with_compression(Compression::Gzip)
    } else {
        builder
    })
}

fn over_grpc<B>(builder: B, target: &Target, proxies: &Proxies) -> Result<B, String>
where
    B: WithExportConfig + WithTonicConfig,
{
    let builder = builder
        .with_channel(channel(target, proxies)?)
        .with_timeout(target.timeout)
        .with_interceptor(authorize(headers(target)));
    Ok(if target.gzip {
        builder.with_compression(Compression::Gzip)
    } else {
        builder
    })
}

pub(super) fn client(target: &Target, proxies: &Proxies) -> Result<reqwest::ClientBuilder, String> {
    let mut builder = outbound::client(proxies);
    if let Some(pem) = &target.roots {
        let roots = reqwest::Certificate::from_pem_bundle(pem);
        builder = builder.tls_certs_merge(roots.map_err(|error| unusable(target, error))?);
    }
    if let Some(identity) = &target.identity {
        let pem = [
            identity.certificate.as_slice(),
            b"\n",
            identity.key.expose_secret(),
        ]
        .concat();
        let identity = reqwest::Identity::from_pem(&pem);
        builder = builder.identity(identity.map_err(|error| unusable(target, error))?);
    }
    Ok(builder)
}

/// The reason why no client can be built.
pub(super) fn unusable(target: &Target, error: reqwest::Error) -> String {
    if target.roots.is_some() || target.identity.is_some() {
        "OTEL_EXPORTER_OTLP_CERTIFICATE, _CLIENT_CERTIFICATE and _CLIENT_KEY must name valid PEM files"
            .to_owned()
    } else {
        outbound::NoRoots::from(error).to_string()
    }
}

fn malformed(target: &Target) -> String {
    format!("{} must be the URL of a collector", target.variable)
}

/// A blocking client, because the exporters' threads have no runtime. It must not be built within one.
fn blocking(target: &Target, proxies: &Proxies) -> Result<reqwest::blocking::Client, String> {
    let builder = client(target, proxies)?.timeout(target.timeout);
    let built = thread::scope(|scope| {
        let build = || reqwest::blocking::ClientBuilder::from(builder).build();
        scope.spawn(build).join()
    });
    match built {
        Ok(client) => client.map_err(|error| unusable(target, error)),
        Err(_) => Err("cannot build an HTTP client".to_owned()),
    }
}

fn channel(target: &Target, proxies: &Proxies) -> Result<Channel, String> {
    let mut url = target.url();
    // A tunnel request needs the port.
    let port = url.port_or_known_default();
    let origin = format!(
        "{}://{}:{}",
        url.scheme(),
        url.host_str().unwrap_or_default(),
        port.unwrap_or_default()
    );
    let proxy = proxies.of(&url);
    let is_tls = url.scheme() == "https";
    url.set_fragment(None);
    let endpoint = Endpoint::from_shared(format!("{origin}{}", url.path()));
    let mut endpoint = endpoint
        .map_err(|_| malformed(target))?
        .timeout(target.timeout)
        .connect_timeout(target.timeout);
    if is_tls {
        let mut tls = ClientTlsConfig::new().with_native_roots();
        if let Some(pem) = &target.roots {
            tls = tls.ca_certificate(Certificate::from_pem(pem));
        }
        if let Some(identity) = &target.identity {
            let key = identity.key.expose_secret();
            tls = tls.identity(Identity::from_pem(&identity.certificate, key));
        }
        endpoint = endpoint.tls_config(tls).map_err(|_| {
            "TLS cannot be set up; check OTEL_EXPORTER_OTLP_CERTIFICATE and the root certificates of this machine"
                .to_owned()
        })?;
    }
    let Some(proxy) = proxy else {
        return Ok(endpoint.connect_lazy());
    };
    let through = Matcher::builder().all(proxy.url().to_owned()).build();
    let uri = endpoint.uri().clone();
    let through = through.intercept(&uri).filter(|_| !proxy.is_tls());
    let through = through.ok_or_else(|| {
        format!("gRPC cannot use the proxy {proxy}, because the connection to the proxy uses TLS; set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf, or name the collector in NO_PROXY")
    })?;
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    let mut tunnel = Tunnel::new(through.uri().clone(), http);
    if let Some(credentials) = through.basic_auth() {
        tunnel = tunnel.with_auth(credentials.clone());
    }
    Ok(endpoint.connect_with_connector_lazy(tunnel))
}

pub(super) fn headers(target: &Target) -> HeaderMap {
    let headers = target.headers.iter().filter_map(|(name, value)| {
        let mut value = HeaderValue::from_str(value.expose_secret()).ok()?;
        value.set_sensitive(true);
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, value))
    });
    headers.collect()
}

/// A client that sends these headers. The library also reads headers from the environment, but keeps quotation marks and
/// invalid values.
#[derive(Debug)]
struct Authorized {
    client: reqwest::blocking::Client,
    headers: HeaderMap,
}

#[async_trait]
impl HttpClient for Authorized {
    async fn send_bytes(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        for (name, value) in &self.headers {
            request.headers_mut().insert(name, value.clone());
        }
        self.client.send_bytes(request).await
    }
}

/// The same for gRPC.
fn authorize(
    headers: HeaderMap,
) -> impl Clone + FnMut(tonic::Request<()>) -> tonic::Result<tonic::Request<()>> {
    move |mut request| {
        let mut metadata = std::mem::take(request.metadata_mut()).into_headers();
        for (name, value) in &headers {
            metadata.insert(name, value.clone());
        }
        *request.metadata_mut() = MetadataMap::from_headers(metadata);
        Ok(request)
    }
}
