//! Settings of OTLP, from the standard `OTEL_*` variables. An invalid one never stops a command: one warning names all
//! variables that cvsync ignores, and the others take effect.

mod names;
mod read;
#[cfg(test)]
mod tests;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use url::Url;

pub use self::names::{NO_EFFECT, OBEYED};
use self::read::{Variables, attributes, decoded, headers, ratio};
use super::env::Env;
use super::proxy::Proxies;

/// Nothing is pushed without an endpoint.
#[derive(Clone, Debug, Default)]
pub struct Otel {
    pub traces: Option<Target>,
    /// Metrics can be scraped at the same time.
    pub metrics: Option<Target>,
    pub attributes: Vec<(String, String)>,
    pub tracing: Tracing,
    /// The time between two pushes of metrics.
    pub interval: Option<Duration>,
    pub temporality: Temporality,
    pub proxies: Proxies,
    /// The ignored variables, each with the reason.
    pub ignored: Vec<String>,
}

/// A collector, for one signal.
#[derive(Clone, Debug)]
pub struct Target {
    /// The variable with its URL.
    pub variable: &'static str,
    pub protocol: Protocol,
    is_of_traces: bool,
    /// May contain credentials.
    url: SecretString,
    pub headers: Vec<(String, SecretString)>,
    /// The timeout of one request.
    pub timeout: Duration,
    pub gzip: bool,
    /// Root certificates in addition to those of this machine, in PEM.
    pub roots: Option<Vec<u8>>,
    pub identity: Option<Identity>,
}

impl Target {
    /// Whether it receives traces; otherwise it receives metrics.
    #[must_use]
    pub fn is_of_traces(&self) -> bool {
        self.is_of_traces
    }

    /// # Panics
    /// Never, because the URL was parsed when it was read.
    #[must_use]
    pub fn url(&self) -> Url {
        Url::parse(self.url.expose_secret()).expect("a URL stays one")
    }
}

/// A client's certificate and its key, in PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    pub certificate: Vec<u8>,
    pub key: SecretSlice<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `http/protobuf`, the standard's default.
    Http,
    /// `grpc`.
    Grpc,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Temporality {
    /// From the start of the process.
    #[default]
    Cumulative,
    /// From the last push.
    Delta,
    /// From the last push, if that needs less memory.
    LowMemory,
}

/// Settings of traces; `None` where the variables do not say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tracing {
    pub sampler: Option<Sampler>,
    /// Maximum attributes of a span, of an event and of a link.
    pub attributes: [Option<u32>; 3],
    /// Maximum events and links of a span.
    pub events_and_links: [Option<u32>; 2],
    /// Maximum time that a span waits.
    pub delay: Option<Duration>,
    /// Maximum number of waiting spans.
    pub queue: Option<usize>,
    /// Maximum number of spans per push.
    pub batch: Option<usize>,
}

/// The share of traces that are recorded. cvsync is always the root of its traces, so a sampler that follows a parent is the
/// same as its fallback.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    /// From 0 (none) to 1 (all).
    pub ratio: f64,
}

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// One of the two signals.
struct Signal {
    word: &'static str,
    endpoint: &'static str,
    path: &'static str,
    /// The variable that limits the time of an export.
    export_timeout: &'static str,
}

const TRACES: Signal = Signal {
    word: "TRACES",
    endpoint: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    path: "v1/traces",
    export_timeout: "OTEL_BSP_EXPORT_TIMEOUT",
};

const METRICS: Signal = Signal {
    word: "METRICS",
    endpoint: "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    path: "v1/metrics",
    export_timeout: "OTEL_METRIC_EXPORT_TIMEOUT",
};

impl Otel {
    #[must_use]
    pub fn read(env: &Env) -> Self {
        let mut variables = Variables::new(env);
        let proxies = Proxies::read(env).unwrap_or_default();
        if variables
            .word("OTEL_SDK_DISABLED", &["true", "false"])
            .as_deref()
            == Some("true")
        {
            return Self::default();
        }
        let attributes = variables.read("OTEL_RESOURCE_ATTRIBUTES", attributes);
        let mut attributes = attributes.unwrap_or_default();
        if let Some(name) = variables.text("OTEL_SERVICE_NAME") {
            attributes.push(("service.name".to_owned(), name));
        }
        let tracing = Tracing::read(&mut variables);
        let interval = variables.millis("OTEL_METRIC_EXPORT_INTERVAL");
        let temporality = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
        let temporality = variables.word(temporality, &["cumulative", "delta", "lowmemory"]);
        let otel = Self {
            traces: Target::read(&TRACES, &mut variables),
            metrics: Target::read(&METRICS, &mut variables),
            attributes,
            tracing,
            interval,
            temporality: match temporality.as_deref() {
                Some("delta") => Temporality::Delta,
                Some("lowmemory") => Temporality::LowMemory,
                _ => Temporality::Cumulative,
            },
            proxies,
            ignored: Vec::new(),
        };
        Self {
            ignored: variables.ignored(),
            ..otel
        }
    }

    /// One warning that names all ignored variables.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        (!self.ignored.is_empty()).then(|| {
            format!(
                "cvsync ignores these variables of OpenTelemetry: {}; see docs/environment.md",
                self.ignored.join(", ")
            )
        })
    }
}

impl Tracing {
    fn read(variables: &mut Variables<'_>) -> Self {
        let mut count = |name: &'static str| variables.number(name, 0..=u32::MAX);
        let general = count("OTEL_ATTRIBUTE_COUNT_LIMIT");
        let attributes = [
            count("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT").or(general),
            count("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT").or(general),
            count("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT").or(general),
        ];
        let events_and_links = [
            count("OTEL_SPAN_EVENT_COUNT_LIMIT"),
            count("OTEL_SPAN_LINK_COUNT_LIMIT"),
        ];
        let queue = variables.number("OTEL_BSP_MAX_QUEUE_SIZE", 1..=1_000_000);
        Self {
            sampler: sampler(variables),
            attributes,
            events_and_links,
            delay: variables.millis("OTEL_BSP_SCHEDULE_DELAY"),
            queue,
            batch: variables.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 1..=1_000_000),
        }
    }
}

fn sampler(variables: &mut Variables<'_>) -> Option<Sampler> {
    const ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";
    let known = [
        "always_on",
        "always_off",
        "traceidratio",
        "parentbased_always_on",
        "parentbased_always_off",
        "parentbased_traceidratio",
    ];
    let word = variables.word("OTEL_TRACES_SAMPLER", &known);
    let argument = variables.text(ARGUMENT);
    let word = word?;
    let ratio = match word.trim_start_matches("parentbased_") {
        "always_off" => 0.0,
        "traceidratio" => match argument.as_deref().map(ratio) {
            Some(None) => {
                variables.refuse(
                    ARGUMENT,
                    "must be a number from 0 to 1, so that all traces are made",
                );
                1.0
            }
            found => found.flatten().unwrap_or(1.0),
        },
        _ => 1.0,
    };
    Some(Sampler { ratio })
}

impl Target {
    fn read(signal: &Signal, variables: &mut Variables<'_>) -> Option<Self> {
        let exporter = variables.exporter(signal.word);
        let own = |what: &str| {
            let of_signal = format!("OTEL_EXPORTER_OTLP_{}_{what}", signal.word);
            [of_signal, format!("OTEL_EXPORTER_OTLP_{what}")]
        };
        let protocol = variables.first(&own("PROTOCOL"), |value| {
            match &*value.to_ascii_lowercase() {
                "grpc" => Ok(Protocol::Grpc),
                "http/protobuf" => Ok(Protocol::Http),
                _ => Err("must be http/protobuf or grpc".to_owned()),
            }
        });
        let protocol = protocol.unwrap_or(Protocol::Http);
        let insecure = variables.first(&own("INSECURE"), |value| {
            match &*value.to_ascii_lowercase() {
                "true" => Ok(true),
                "false" => Ok(false),
                _ => Err("must be true or false".to_owned()),
            }
        });
        let mut headers = variables
            .first(&own("HEADERS"), headers)
            .unwrap_or_default();
        let timeout = variables.first(&own("TIMEOUT"), read::millis);
        let most = variables.millis(signal.export_timeout);
        let timeout = timeout.unwrap_or(DEFAULT_TIMEOUT);
        let gzip = variables.first(&own("COMPRESSION"), |value| {
            match &*value.to_ascii_lowercase() {
                "gzip" => Ok(true),
                "none" => Ok(false),
                _ => Err("must be gzip or none".to_owned()),
            }
        });
        let roots = variables.first(&own("CERTIFICATE"), read::certificates);
        let certificate = variables.first(&own("CLIENT_CERTIFICATE"), read::content);
        let key = variables.first(&own("CLIENT_KEY"), read::content);
        let identity = match (certificate, key) {
            (Some(certificate), Some(key)) => Some(Identity {
                certificate,
                key: key.into(),
            }),
            (None, None) => None,
            _ => {
                variables.refuse_pair(&own("CLIENT_CERTIFICATE"), &own("CLIENT_KEY"));
                None
            }
        };
        let (variable, mut url) = endpoint(signal, protocol, insecure, exporter, variables)?;
        let has_own = headers.iter().any(|(name, _)| name == "authorization");
        headers.extend(credentials(&mut url).filter(|_| !has_own));
        (exporter != Some(false)).then(|| Self {
            variable,
            is_of_traces: signal.word == TRACES.word,
            protocol,
            url: String::from(url).into(),
            headers,
            timeout: most.map_or(timeout, |most| most.min(timeout)),
            gzip: gzip.unwrap_or(false),
            roots,
            identity,
        })
    }
}

/// The header for the user name and password of a URL, which are removed from it.
fn credentials(url: &mut Url) -> Option<(String, SecretString)> {
    let part = |text: &str| decoded(text).unwrap_or_else(|| text.to_owned());
    let (user, password) = (
        part(url.username()),
        part(url.password().unwrap_or_default()),
    );
    url.set_username("").ok()?;
    url.set_password(None).ok()?;
    let basic = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
    (user.len() + password.len() > 0).then(|| ("authorization".to_owned(), basic.into()))
}

/// The endpoint and its variable. An endpoint for all signals gets the path of each signal. If the exporter is requested by
/// name, there is a default.
fn endpoint(
    signal: &Signal,
    protocol: Protocol,
    insecure: Option<bool>,
    exporter: Option<bool>,
    variables: &mut Variables<'_>,
) -> Option<(&'static str, Url)> {
    let own = variables.text(signal.endpoint);
    let general = variables.text(ENDPOINT);
    let (name, text) = match (own, general) {
        (Some(own), _) => (signal.endpoint, own),
        (None, Some(general)) => (ENDPOINT, general),
        (None, None) if exporter == Some(true) => {
            let port = if protocol == Protocol::Grpc {
                4317
            } else {
                4318
            };
            (ENDPOINT, format!("http://localhost:{port}"))
        }
        (None, None) => return None,
    };
    let text = match (protocol, text.contains("://")) {
        (Protocol::Grpc, false) if insecure == Some(true) => format!("http://{text}"),
        (Protocol::Grpc, false) => format!("https://{text}"),
        _ => text,
    };
    let url = Url::parse(&text).ok();
    let is_usable =
        |url: &Url| matches!(url.scheme(), "http" | "https") && !text.contains(char::is_whitespace);
    let Some(mut url) = url.filter(is_usable) else {
        variables.refuse(name, "must be a URL that starts with http:// or https://");
        return None;
    };
    if name == ENDPOINT && protocol == Protocol::Http {
        let path = format!("{}/{}", url.path().trim_end_matches('/'), signal.path);
        url.set_path(&path);
    }
    Some((name, url))
}
