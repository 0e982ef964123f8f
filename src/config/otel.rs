//! What is pushed by OTLP, and how: the standard `OTEL_*` variables, as far as they decide that.
//!
//! Addresses, headers, time-outs, samplers and the rest are read by OpenTelemetry's own SDK, from the process' environment.

use super::env::Env;
use super::problem::Problem;

/// What is pushed; nothing unless an endpoint is named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Otel {
    /// Traces, over this protocol.
    pub traces: Option<Protocol>,
    /// Metrics, over this protocol; they can be scraped all the same.
    pub metrics: Option<Protocol>,
}

/// How OTLP is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `http/protobuf`, the standard's default.
    Http,
    /// `grpc`.
    Grpc,
}

impl Otel {
    /// The variables that name an endpoint, with their values.
    pub(super) fn endpoints(env: &Env) -> impl Iterator<Item = (&'static str, String)> {
        let names = [
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
        ];
        names
            .into_iter()
            .filter_map(|name| Some((name, env.standard(name)?)))
    }

    /// # Errors
    /// One problem for each variable whose value is not one that we know.
    pub(super) fn read(env: &Env) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut word = |name: &str, known: &[&str], example| {
            let value = env.standard(name)?.to_ascii_lowercase();
            if known.contains(&&*value) {
                return Some(value);
            }
            let what = format!("is none of {}", known.join(", "));
            problems.push(Problem::standard(name, what, example));
            None
        };
        let disabled = word("OTEL_SDK_DISABLED", &["true", "false"], "true");
        let mut signal = |signal: &str| {
            let exporter = word(
                &format!("OTEL_{signal}_EXPORTER"),
                &["otlp", "none"],
                "none",
            );
            let protocols = ["http/protobuf", "grpc"];
            let protocol = [
                format!("OTEL_EXPORTER_OTLP_{signal}_PROTOCOL"),
                "OTEL_EXPORTER_OTLP_PROTOCOL".to_owned(),
            ]
            .iter()
            .find_map(|name| word(name, &protocols, "grpc"));
            let endpoint = env.standard(&format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"));
            endpoint.or(env.standard("OTEL_EXPORTER_OTLP_ENDPOINT"))?;
            if exporter.as_deref() == Some("none") || disabled.as_deref() == Some("true") {
                return None;
            }
            Some(match protocol.as_deref() {
                Some("grpc") => Protocol::Grpc,
                _ => Protocol::Http,
            })
        };
        let otel = Self {
            traces: signal("TRACES"),
            metrics: signal("METRICS"),
        };
        problems.dedup();
        if problems.is_empty() {
            Ok(otel)
        } else {
            Err(problems)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn otel(pairs: &[(&str, &str)]) -> Result<Otel, Vec<Problem>> {
        Otel::read(&Env::new(pairs.iter().copied()))
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318");

    #[test]
    fn nothing_is_pushed_unless_an_endpoint_is_named() {
        assert_eq!(otel(&[]).unwrap(), Otel::default());
        let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
        assert_eq!(otel(&[grpc]).unwrap(), Otel::default());
        let both = otel(&[ENDPOINT]).unwrap();
        assert_eq!(both.traces, Some(Protocol::Http));
        assert_eq!(both.metrics, Some(Protocol::Http));
        let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://localhost/x");
        let traces_alone = otel(&[traces]).unwrap();
        assert_eq!(traces_alone.traces, Some(Protocol::Http));
        assert_eq!(traces_alone.metrics, None);
    }

    #[test]
    fn each_signal_can_be_switched_off_and_has_its_protocol() {
        let found = otel(&[
            ENDPOINT,
            ("OTEL_METRICS_EXPORTER", "none"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc"),
        ])
        .unwrap();
        assert_eq!(found.metrics, None);
        assert_eq!(found.traces, Some(Protocol::Grpc));
        let disabled = otel(&[ENDPOINT, ("OTEL_SDK_DISABLED", "true")]).unwrap();
        assert_eq!(disabled, Otel::default());
    }

    #[test]
    fn what_nobody_knows_is_told_with_an_example() {
        let problems = otel(&[ENDPOINT, ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")]).unwrap_err();
        let text: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            text,
            [
                "OTEL_EXPORTER_OTLP_PROTOCOL: is none of http/protobuf, grpc; for example OTEL_EXPORTER_OTLP_PROTOCOL=grpc"
            ]
        );
    }
}
