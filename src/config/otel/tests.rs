use super::*;

fn otel(pairs: &[(&str, &str)]) -> Otel {
    Otel::read(&Env::new(pairs.iter().copied()))
}

/// The reasons why variables are not obeyed, beside an endpoint.
fn ignored(pairs: &[(&str, &str)]) -> Vec<String> {
    otel(&[&[ANY], pairs].concat()).ignored
}

const ANY: (&str, &str) = (ENDPOINT, "http://localhost:4318");

#[test]
fn nothing_is_pushed_unless_an_endpoint_is_named_or_the_exporter_asked_for() {
    let is_silent = |pairs: &[(&str, &str)]| {
        let otel = otel(pairs);
        otel.traces.is_none() && otel.metrics.is_none()
    };
    assert!(is_silent(&[]));
    assert!(is_silent(&[
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        (ENDPOINT, " ")
    ]));
    assert!(is_silent(&[ANY, ("OTEL_SDK_DISABLED", "TRUE")]));
    assert!(!is_silent(&[ANY]));
    let asked = otel(&[("OTEL_TRACES_EXPORTER", "otlp")]);
    assert_eq!(
        asked.traces.unwrap().url().as_str(),
        "http://localhost:4318/v1/traces"
    );
    assert!(asked.metrics.is_none());
}

#[test]
fn path_of_a_signal_is_appended_to_the_general_endpoint_only() {
    let urls = |pairs: &[(&str, &str)]| {
        let otel = otel(pairs);
        [otel.traces, otel.metrics].map(|target| target.map(|target| target.url().to_string()))
    };
    let both = |base: &str| {
        [
            Some(format!("{base}/v1/traces")),
            Some(format!("{base}/v1/metrics")),
        ]
    };
    assert_eq!(urls(&[(ENDPOINT, "http://c:4318")]), both("http://c:4318"));
    assert_eq!(
        urls(&[(ENDPOINT, "https://c/otlp/")]),
        both("https://c/otlp")
    );
    let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t:1/x");
    let [traces, metrics] = urls(&[ANY, own]);
    assert_eq!(traces.as_deref(), Some("http://t:1/x"));
    assert_eq!(metrics.as_deref(), Some("http://localhost:4318/v1/metrics"));
    let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let plain = |insecure| {
        let insecure = ("OTEL_EXPORTER_OTLP_INSECURE", insecure);
        urls(&[(ENDPOINT, "c:4317"), grpc, insecure])[0]
            .clone()
            .unwrap()
    };
    assert_eq!(plain("true"), "http://c:4317/");
    assert_eq!(plain("false"), "https://c:4317/");
}

#[test]
fn each_signal_has_its_own_variables_before_the_general_ones() {
    let otel = otel(&[
        ANY,
        ("OTEL_METRICS_EXPORTER", "none"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "5000"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "7000"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "6000"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=b"),
        (
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
            "Authorization=Bearer%20x%3D , b = c",
        ),
    ]);
    assert!(otel.metrics.is_none());
    let traces = otel.traces.unwrap();
    assert_eq!(traces.protocol, Protocol::Grpc);
    assert_eq!(traces.timeout, Duration::from_secs(6));
    assert!(traces.gzip);
    let headers = traces
        .headers
        .iter()
        .map(|(name, value)| (&**name, value.expose_secret()));
    let headers: Vec<_> = headers.collect();
    assert_eq!(headers, [("authorization", "Bearer x="), ("b", "c")]);
    assert_eq!(otel.ignored, [""; 0]);
}

#[test]
fn variable_that_is_obeyed_is_not_named() {
    let obeyed = [
        ("OTEL_SERVICE_NAME", "cv"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=x, a = b%20c"),
        ("OTEL_METRICS_EXPORTER", "otlp,prometheus"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "DELTA"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "1000"),
        ("OTEL_METRIC_EXPORT_TIMEOUT", "1000"),
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "10"),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
        ("OTEL_ATTRIBUTE_COUNT_LIMIT", "7"),
        ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "8"),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "9"),
        // Asked for what is so anyway.
        ("OTEL_PROPAGATORS", "none"),
        ("OTEL_LOGS_EXPORTER", "none"),
        // Of a Kubernetes service.
        ("OTEL_COLLECTOR_SERVICE_HOST", "10.0.0.1"),
        ("OTEL_COLLECTOR_PORT_4317_TCP", "tcp://10.0.0.1:4317"),
    ];
    let otel = otel(&[&[ANY][..], &obeyed].concat());
    assert_eq!(otel.ignored, [""; 0]);
    let attributes = [("service.name", "x"), ("a", "b c"), ("service.name", "cv")];
    let found = otel
        .attributes
        .iter()
        .map(|(name, value)| (&**name, &**value));
    assert!(found.eq(attributes));
    assert_eq!(otel.temporality, Temporality::Delta);
    assert_eq!(otel.interval, Some(Duration::from_secs(1)));
    assert_eq!(otel.tracing.sampler, Some(Sampler { ratio: 0.25 }));
    assert_eq!(otel.tracing.attributes, [Some(7), Some(7), Some(8)]);
    assert_eq!(otel.tracing.events_and_links, [Some(9), None]);
    assert_eq!(otel.tracing.queue, Some(100));
}

#[test]
fn variable_that_is_not_obeyed_is_named_with_the_reason_and_the_rest_holds() {
    for (name, value, reason) in [
        ("OTEL_LOG_LEVEL", "debug", "set CVSYNC_LOG instead"),
        (
            "OTEL_PROPAGATORS",
            "tracecontext,baggage",
            "cvsync propagates no trace",
        ),
        ("OTEL_LOGS_EXPORTER", "otlp", "cvsync pushes no logs"),
        (
            "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
            "http://x",
            "cvsync pushes no logs",
        ),
        ("OTEL_BLRP_SCHEDULE_DELAY", "1", "cvsync pushes no logs"),
        ("OTEL_CONFIG_FILE", "/x", "set the variables themselves"),
        ("OTEL_SOMETHING_NEW", "1", "unknown"),
        ("OTEL_EXPORTER_OTLP_ENDPOINTS", "1", "unknown"),
        ("OTEL_SDK_DISABLED", "yes", "must be one of true, false"),
        ("OTEL_TRACES_EXPORTER", "console", "must be otlp or none"),
        (
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "http/json",
            "must be http/protobuf or grpc",
        ),
        (
            "OTEL_EXPORTER_OTLP_COMPRESSION",
            "zstd",
            "must be gzip or none",
        ),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "must be milliseconds"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "-1", "must be milliseconds"),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "a=b,canary",
            "item 2 must be NAME=VALUE",
        ),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "a=canary%zz",
            "item 1 must be NAME=VALUE",
        ),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "a=canary%0a",
            "item 1 must be NAME=VALUE",
        ),
        (
            "OTEL_EXPORTER_OTLP_CERTIFICATE",
            "/canary",
            "the file cannot be read",
        ),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/dev/null", "needs both"),
        (
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
            "x",
            "must be one of",
        ),
        (
            "OTEL_TRACES_SAMPLER",
            "jaeger_remote",
            "must be one of always_on",
        ),
        (
            "OTEL_BSP_MAX_QUEUE_SIZE",
            "0",
            "must be an integer between 1",
        ),
        ("OTEL_METRIC_EXPORT_INTERVAL", "1m", "must be milliseconds"),
        (
            "OTEL_SPAN_LINK_COUNT_LIMIT",
            "many",
            "must be an integer between 0",
        ),
        (
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "canary:4318",
            "must be a URL",
        ),
    ] {
        let told = ignored(&[(name, value)]);
        assert_eq!(told.len(), 1, "{name}={value}: {told:?}");
        assert!(
            told[0].starts_with(&format!("{name} ({reason}")),
            "{told:?}"
        );
        assert!(!told[0].contains("canary"), "{told:?}");
        assert!(otel(&[ANY, (name, value)]).metrics.is_some(), "{name}");
    }
}

#[test]
fn one_warning_names_all_variables_that_are_not_obeyed() {
    let ratio = [
        ("OTEL_TRACES_SAMPLER", "traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "2"),
    ];
    assert!(ignored(&ratio)[0].starts_with("OTEL_TRACES_SAMPLER_ARG (must be a number"));
    let wrong = otel(&[("OTEL_LOG_LEVEL", "x"), (ENDPOINT, "localhost:4318")]);
    let warning = wrong.warning().unwrap();
    assert!(
        warning.contains("OTEL_EXPORTER_OTLP_ENDPOINT (must be a URL"),
        "{warning}"
    );
    assert!(
        warning.contains("OTEL_LOG_LEVEL (set CVSYNC_LOG"),
        "{warning}"
    );
    assert!(otel(&[ANY]).warning().is_none());
}

#[test]
fn no_secret_of_a_collector_is_printed() {
    let otel = otel(&[
        (ENDPOINT, "https://me:canary@c/?token=canary"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=canary"),
    ]);
    assert!(otel.traces.is_some());
    let printed = format!("{otel:?}");
    assert!(!printed.contains("canary"), "{printed}");
}

#[test]
fn credentials_in_an_endpoint_become_a_header() {
    let with = |pairs: &[(&str, &str)]| {
        let target = otel(pairs).traces.unwrap();
        let headers = target.headers.iter();
        let headers: Vec<_> = headers
            .map(|(name, value)| format!("{name}: {}", value.expose_secret()))
            .collect();
        (target.url().to_string(), headers)
    };
    let (url, headers) = with(&[(ENDPOINT, "https://me:p%40ss@c:4318")]);
    assert_eq!(url, "https://c:4318/v1/traces");
    assert_eq!(headers, ["authorization: Basic bWU6cEBzcw=="]);
    let own = ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20t");
    let (_, headers) = with(&[(ENDPOINT, "https://me:p@c:4318"), own]);
    assert_eq!(headers, ["authorization: Bearer t"]);
    assert!(with(&[ANY]).1.is_empty());
}
