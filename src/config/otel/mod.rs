//! What is pushed by OTLP, and how: the standard `OTEL_*` variables. None of them stops a command: what cannot be obeyed is named in
//! one warning, and the rest holds.

mod read;
#[cfg(test)]
mod tests;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use url::Url;

pub use self::read::{NO_EFFECT, OBEYED};
use self::read::{Variables, attributes, decoded, headers, ratio};
use super::env::Env;
use super::proxy::Proxies;

/// What is pushed, and how; nothing unless an endpoint is named.
#[derive(Clone, Debug, Default)]
pub struct Otel {
    /// Where traces go.
    pub traces: Option<Target>,
    /// Where metrics go; they can be scraped all the same.
    pub metrics: Option<Target>,
    /// Attributes of the service.
    pub attributes: Vec<(String, String)>,
    /// How traces are made.
    pub tracing: Tracing,
    /// How often metrics are pushed.
    pub interval: Option<Duration>,
    /// What a pushed counter counts from.
    pub temporality: Temporality,
    /// The proxies on the way.
    pub proxies: Proxies,
    /// The variables that are not obeyed, each with the reason.
    pub ignored: Vec<String>,
}

/// A collector, for one signal.
#[derive(Clone, Debug)]
pub struct Target {
    /// The variable that names it.
    pub variable: &'static str,
    /// How it is spoken to.
    pub protocol: Protocol,
    is_of_traces: bool,
    /// May hold credentials.
    url: SecretString,
    /// Sent with each request.
    pub headers: Vec<(String, SecretString)>,
    /// One request.
    pub timeout: Duration,
    /// Whether requests are compressed.
    pub gzip: bool,
    /// Root certificates beside those of this machine, in PEM.
    pub roots: Option<Vec<u8>>,
    /// Who we are by TLS.
    pub identity: Option<Identity>,
}

impl Target {
    /// Whether it takes traces; else it takes metrics.
    #[must_use]
    pub fn is_of_traces(&self) -> bool {
        self.is_of_traces
    }

    /// Where it is.
    ///
    /// # Panics
    /// Never: it was a URL when it was read.
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

/// How OTLP is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `http/protobuf`, the standard's default.
    Http,
    /// `grpc`.
    Grpc,
}

/// What a pushed counter counts from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Temporality {
    /// The start of the process.
    #[default]
    Cumulative,
    /// The last push.
    Delta,
    /// The last push where that needs less memory.
    LowMemory,
}

/// How traces are made, as far as the variables say so.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tracing {
    /// Which traces are made.
    pub sampler: Option<Sampler>,
    /// Attributes of a span, of an event and of a link.
    pub attributes: [Option<u32>; 3],
    /// Events and links of a span.
    pub events_and_links: [Option<u32>; 2],
    /// How long spans wait at most.
    pub delay: Option<Duration>,
    /// So many spans wait at most.
    pub queue: Option<usize>,
    /// So many spans are pushed at once at most.
    pub batch: Option<usize>,
}

/// Which traces are made: `ratio` of them. cvsync is always the root of its traces, so a sampler that follows a parent is the same
/// as the one that it falls back to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    /// From 0 for none to 1 for all.
    pub ratio: f64,
}

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// One of the two signals that are pushed.
struct Signal {
    word: &'static str,
    endpoint: &'static str,
    path: &'static str,
    /// The variable that limits an export as a whole.
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
    /// Reads everything.
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

    /// The one warning about the variables that are not obeyed.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        (!self.ignored.is_empty()).then(|| {
            format!(
                "cvsync does not obey these variables of OpenTelemetry: {}; see docs/environment.md",
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

/// The header for the user name and the password of a URL, which are taken off.
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

/// The endpoint, and the variable that names it. One for all signals gets the path of each; where the exporter is asked for by name,
/// there is a default.
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
