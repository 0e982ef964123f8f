//! The names of the standard variables: supported ones, and ignored ones with the reason.

/// The supported variables. `*` is `TRACES_`, `METRICS_` or nothing.
pub const OBEYED: &[(&str, &str)] = &[
    ("OTEL_SDK_DISABLED", "`true` pushes nothing"),
    (
        "OTEL_SERVICE_NAME",
        "name of the service; `cvsync` if unset",
    ),
    ("OTEL_RESOURCE_ATTRIBUTES", "attributes of the service"),
    ("OTEL_TRACES_EXPORTER", "`otlp` or `none`"),
    (
        "OTEL_METRICS_EXPORTER",
        "`otlp`, `none` or `prometheus` (`/metrics` always has them)",
    ),
    (
        "OTEL_EXPORTER_OTLP_*ENDPOINT",
        "URL of the collector; turns pushing on",
    ),
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
        "timeout of one request, in milliseconds; 10000 if unset",
    ),
    ("OTEL_EXPORTER_OTLP_*COMPRESSION", "`gzip` or `none`"),
    (
        "OTEL_EXPORTER_OTLP_*CERTIFICATE",
        "a PEM file of root certificates, in addition to those of this machine",
    ),
    (
        "OTEL_EXPORTER_OTLP_*CLIENT_CERTIFICATE",
        "a PEM file with the client's certificate",
    ),
    (
        "OTEL_EXPORTER_OTLP_*CLIENT_KEY",
        "a PEM file with the client's key",
    ),
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
        "time between two pushes, in milliseconds; 60000 if unset",
    ),
    (
        "OTEL_METRIC_EXPORT_TIMEOUT",
        "timeout of one push of metrics, in milliseconds",
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
        "maximum time that spans wait, in milliseconds",
    ),
    (
        "OTEL_BSP_EXPORT_TIMEOUT",
        "timeout of one push of traces, in milliseconds",
    ),
    ("OTEL_BSP_MAX_QUEUE_SIZE", "maximum number of waiting spans"),
    (
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
        "maximum number of spans per push",
    ),
    (
        "OTEL_ATTRIBUTE_COUNT_LIMIT",
        "maximum attributes of a span, an event or a link",
    ),
    (
        "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
        "maximum attributes of a span",
    ),
    (
        "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
        "maximum attributes of an event",
    ),
    (
        "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
        "maximum attributes of a link",
    ),
    ("OTEL_SPAN_EVENT_COUNT_LIMIT", "maximum events of a span"),
    ("OTEL_SPAN_LINK_COUNT_LIMIT", "maximum links of a span"),
];

/// The other variables of the specification, each with the reason and a value that needs no warning. `*` at the end matches
/// anything.
pub const NO_EFFECT: &[(&str, &str, &str)] = &[
    ("OTEL_LOG_LEVEL", "set CVSYNC_LOG instead", ""),
    ("OTEL_PROPAGATORS", "cvsync propagates no trace", "none"),
    ("OTEL_LOGS_EXPORTER", "cvsync pushes no logs", "none"),
    ("OTEL_EXPORTER_OTLP_LOGS_*", "cvsync pushes no logs", ""),
    ("OTEL_BLRP_*", "cvsync pushes no logs", ""),
    ("OTEL_LOGRECORD_*", "cvsync pushes no logs", ""),
    (
        "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
        "cvsync never truncates values",
        "",
    ),
    (
        "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
        "cvsync never truncates values",
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

/// Whether the variable is supported.
pub(super) fn is_obeyed(name: &str) -> bool {
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
