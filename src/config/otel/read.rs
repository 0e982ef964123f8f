//! Parses the standard variables, and notes which ones are ignored.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;

use crate::config::env::Env;
use crate::config::file;

/// The supported variables. `*` is `TRACES_`, `METRICS_` or nothing.
pub const OBEYED: &[(&str, &str)] = &[
    ("OTEL_SDK_DISABLED", "`true` pushes nothing"),
    ("OTEL_SERVICE_NAME", "the service; `cvsync` where unset"),
    ("OTEL_RESOURCE_ATTRIBUTES", "attributes of the service"),
    ("OTEL_TRACES_EXPORTER", "`otlp` or `none`"),
    (
        "OTEL_METRICS_EXPORTER",
        "`otlp`, `none` or `prometheus` (they are at `/metrics` anyway)",
    ),
    ("OTEL_EXPORTER_OTLP_*ENDPOINT", "where to; turns pushing on"),
    (
        "OTEL_EXPORTER_OTLP_*PROTOCOL",
        "`http/protobuf` (the default) or `grpc`",
    ),
    (
        "OTEL_EXPORTER_OTLP_*HEADERS",
        "`name=value`, comma-separated, values percent-encoded; secret",
    ),
    (
        "OTEL_EXPORTER_OTLP_*TIMEOUT",
        "one request, in milliseconds; 10000 where unset",
    ),
    ("OTEL_EXPORTER_OTLP_*COMPRESSION", "`gzip` or `none`"),
    (
        "OTEL_EXPORTER_OTLP_*CERTIFICATE",
        "a PEM file of root certificates beside those of this machine",
    ),
    (
        "OTEL_EXPORTER_OTLP_*CLIENT_CERTIFICATE",
        "a PEM file with the client's certificate",
    ),
    ("OTEL_EXPORTER_OTLP_*CLIENT_KEY", "a PEM file with its key"),
    (
        "OTEL_EXPORTER_OTLP_*INSECURE",
        "`true`: no TLS for a gRPC endpoint without a scheme",
    ),
    (
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
        "`cumulative`, `delta` or `lowmemory`",
    ),
    (
        "OTEL_METRIC_EXPORT_INTERVAL",
        "between two pushes, in milliseconds; 60000 where unset",
    ),
    (
        "OTEL_METRIC_EXPORT_TIMEOUT",
        "one push of metrics, in milliseconds",
    ),
    (
        "OTEL_TRACES_SAMPLER",
        "`always_on`, `always_off`, `traceidratio`, or these with `parentbased_`",
    ),
    (
        "OTEL_TRACES_SAMPLER_ARG",
        "the share for `traceidratio`, from 0 to 1",
    ),
    (
        "OTEL_BSP_SCHEDULE_DELAY",
        "how long spans wait at most, in milliseconds",
    ),
    (
        "OTEL_BSP_EXPORT_TIMEOUT",
        "one push of traces, in milliseconds",
    ),
    ("OTEL_BSP_MAX_QUEUE_SIZE", "so many spans wait at most"),
    (
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
        "so many spans are pushed at once at most",
    ),
    (
        "OTEL_ATTRIBUTE_COUNT_LIMIT",
        "attributes of a span, an event or a link",
    ),
    ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "attributes of a span"),
    ("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "attributes of an event"),
    ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "attributes of a link"),
    ("OTEL_SPAN_EVENT_COUNT_LIMIT", "events of a span"),
    ("OTEL_SPAN_LINK_COUNT_LIMIT", "links of a span"),
];

/// The other variables of the specification, each with the reason and a value that needs no warning. `*` at the end matches
/// anything.
pub const NO_EFFECT: &[(&str, &str, &str)] = &[
    ("OTEL_LOG_LEVEL", "set CVSYNC_LOG instead", ""),
    ("OTEL_PROPAGATORS", "cvsync passes no trace on", "none"),
    ("OTEL_LOGS_EXPORTER", "cvsync pushes no logs", "none"),
    ("OTEL_EXPORTER_OTLP_LOGS_*", "cvsync pushes no logs", ""),
    ("OTEL_BLRP_*", "cvsync pushes no logs", ""),
    ("OTEL_LOGRECORD_*", "cvsync pushes no logs", ""),
    (
        "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
        "cvsync cuts no value",
        "",
    ),
    (
        "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
        "cvsync cuts no value",
        "",
    ),
    (
        "OTEL_METRICS_EXEMPLAR_FILTER",
        "metrics have no exemplars",
        "always_off",
    ),
    (
        "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
        "histograms have fixed buckets",
        "explicit_bucket_histogram",
    ),
    (
        "OTEL_EXPORTER_PROMETHEUS_*",
        "metrics are at /metrics of CVSYNC_HTTP_ADDR",
        "",
    ),
    ("OTEL_EXPORTER_ZIPKIN_*", "only OTLP is pushed", ""),
    ("OTEL_EXPORTER_JAEGER_*", "only OTLP is pushed", ""),
    ("OTEL_CONFIG_FILE", "set the variables themselves", ""),
    (
        "OTEL_EXPERIMENTAL_CONFIG_FILE",
        "set the variables themselves",
        "",
    ),
    ("OTEL_ENTITIES", "set OTEL_RESOURCE_ATTRIBUTES instead", ""),
    ("OTEL_*", "unknown", ""),
];

/// The variables, and the reasons why some are ignored.
pub(super) struct Variables<'a> {
    env: &'a Env,
    refused: BTreeMap<String, String>,
}

impl<'a> Variables<'a> {
    pub(super) fn new(env: &'a Env) -> Self {
        let given = env.otel_names().filter(|name| !is_obeyed(name));
        let refused = given.filter_map(|name| {
            let value = env.get(name).ok().flatten()?;
            let (_, reason, quiet) = NO_EFFECT.iter().find(|(known, ..)| {
                known
                    .strip_suffix('*')
                    .map_or(name == *known, |start| name.starts_with(start))
            })?;
            (!value.eq_ignore_ascii_case(quiet)).then(|| (name.to_owned(), (*reason).to_owned()))
        });
        Self {
            env,
            refused: refused.collect(),
        }
    }

    /// Notes why a variable is ignored. The reason does not show the value.
    pub(super) fn refuse(&mut self, name: &str, reason: &str) {
        self.refused.insert(name.to_owned(), reason.to_owned());
    }

    /// Notes that one of two variables is missing.
    pub(super) fn refuse_pair(&mut self, one: &[String; 2], other: &[String; 2]) {
        for name in one.iter().chain(other) {
            if self.env.sets(name) && !self.refused.contains_key(name) {
                self.refuse(name, "needs both a client certificate and its key");
            }
        }
    }

    /// The ignored variables with their reasons, ordered by name.
    pub(super) fn ignored(self) -> Vec<String> {
        let refused = self.refused.into_iter();
        refused
            .map(|(name, reason)| format!("{name} ({reason})"))
            .collect()
    }

    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        if let Ok(value) = self.env.get(name) {
            return value;
        }
        self.refuse(name, "must be Unicode text");
        None
    }

    pub(super) fn read<T>(
        &mut self,
        name: &str,
        rule: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.text(name)?;
        rule(&value)
            .map_err(|reason| self.refuse(name, &reason))
            .ok()
    }

    /// The first of two variables that is set and valid.
    pub(super) fn first<T>(
        &mut self,
        names: &[String; 2],
        rule: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        names.iter().find_map(|name| self.read(name, &rule))
    }

    /// One of these words, in lower case.
    pub(super) fn word(&mut self, name: &str, known: &[&str]) -> Option<String> {
        self.read(name, |value| {
            let value = value.to_ascii_lowercase();
            if known.contains(&&*value) {
                Ok(value)
            } else {
                Err(format!("must be one of {}", known.join(", ")))
            }
        })
    }

    pub(super) fn number<T>(&mut self, name: &str, range: RangeInclusive<T>) -> Option<T>
    where
        T: FromStr + PartialOrd + std::fmt::Display,
    {
        self.read(name, |value| {
            let number = value.parse().ok().filter(|number| range.contains(number));
            number.ok_or_else(|| {
                format!(
                    "must be an integer between {} and {}",
                    range.start(),
                    range.end()
                )
            })
        })
    }

    pub(super) fn millis(&mut self, name: &str) -> Option<Duration> {
        self.read(name, millis)
    }

    /// Whether a signal is pushed, if the variable says so. The list may name other exporters, which are ignored.
    pub(super) fn exporter(&mut self, signal: &str) -> Option<bool> {
        let name = format!("OTEL_{signal}_EXPORTER");
        let value = self.text(&name)?.to_ascii_lowercase();
        let words: Vec<_> = value
            .split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty())
            .collect();
        let is_known = |word: &&str| {
            matches!(*word, "otlp" | "none") || *word == "prometheus" && signal == "METRICS"
        };
        if !words.iter().all(is_known) {
            self.refuse(&name, "must be otlp or none");
        }
        Some(words.contains(&"otlp"))
    }
}

fn is_obeyed(name: &str) -> bool {
    OBEYED.iter().any(|(known, _)| match known.split_once('*') {
        None => name == *known,
        Some((start, end)) => {
            let rest = name.strip_prefix(start);
            let rest = rest.map(|rest| {
                let signal = ["TRACES_", "METRICS_"].into_iter();
                signal
                    .into_iter()
                    .find_map(|signal| rest.strip_prefix(signal))
                    .unwrap_or(rest)
            });
            rest == Some(end)
        }
    })
}

/// Milliseconds, up to a day.
pub(super) fn millis(text: &str) -> Result<Duration, String> {
    let most = 86_400_000;
    let number = text
        .parse()
        .ok()
        .filter(|number| (1..=most).contains(number));
    let number = number.ok_or_else(|| format!("must be milliseconds between 1 and {most}"));
    number.map(Duration::from_millis)
}

pub(super) fn ratio(text: &str) -> Option<f64> {
    let ratio = text.parse().ok();
    ratio.filter(|ratio| (0.0..=1.0).contains(ratio))
}

/// `name=value`, comma-separated; values are percent-encoded.
pub(super) fn attributes(text: &str) -> Result<Vec<(String, String)>, String> {
    let attribute = |item: &str| {
        let (name, value) = item.split_once('=')?;
        let name = name.trim();
        (!name.is_empty()).then_some((name.to_owned(), decoded(value.trim())?))
    };
    items(text, attribute)
}

pub(super) fn headers(text: &str) -> Result<Vec<(String, SecretString)>, String> {
    items(text, header)
}

fn items<T>(text: &str, rule: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, String> {
    let items = text
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty());
    let read = items.enumerate().map(|(at, item)| {
        let at = at + 1;
        rule(item)
            .ok_or_else(|| format!("item {at} must be NAME=VALUE with a percent-encoded value"))
    });
    read.collect()
}

fn header(item: &str) -> Option<(String, SecretString)> {
    let (name, value) = item.split_once('=')?;
    let name = name.trim();
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let value = decoded(value.trim())?;
    let is_value = value.bytes().all(|b| matches!(b, b' '..=b'~'));
    (!name.is_empty() && name.bytes().all(is_name) && is_value)
        .then(|| (name.to_ascii_lowercase(), value.into()))
}

/// Decodes percent-encoded text; a `+` stays a `+`.
pub(super) fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        let code = behind
            .get(..2)
            .filter(|code| code.bytes().all(|b| b.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(code, 16).ok()?);
        rest = &behind[2..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).ok()
}

pub(super) fn content(path: &str) -> Result<Vec<u8>, String> {
    let told = |what| format!("the file {what}");
    let content = file::bytes(path).map_err(told)?;
    file::refuse_utf16(&content).map_err(told)?;
    Ok(content)
}

pub(super) fn certificates(path: &str) -> Result<Vec<u8>, String> {
    file::certificates(path).map_err(|what| format!("the file {what}"))
}
