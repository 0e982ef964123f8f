//! The instruments of cvsync: name, unit, help, buckets.

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter};

use super::STDERR;

/// The commit of the source, if the build knows it.
const COMMIT: &str = match option_env!("CVSYNC_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// Bounds in seconds: OpenTelemetry's conventions for HTTP durations, extended to a minute.
const SECONDS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0, 60.0,
];

/// Bounds in seconds for durations of minutes to days.
const LONG_SECONDS: &[f64] = &[
    0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 600.0, 900.0, 3_600.0, 14_400.0, 86_400.0, 604_800.0,
];

/// Bounds in seconds, from OpenTelemetry's conventions for database calls.
const QUERY_SECONDS: &[f64] = &[0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

#[derive(Clone, Debug)]
pub(super) struct Instruments {
    pub durations: Durations,
    pub windows: Counter<u64>,
    pub listed: Counter<u64>,
    pub records: Counter<u64>,
    pub retries: Counter<u64>,
    pub late_arrivals: Counter<u64>,
    pub page_drift: Counter<u64>,
    pub gate_closed: Counter<f64>,
    pub history_lost: Counter<u64>,
    pub webhook: Counter<u64>,
    pub accessed: Counter<u64>,
    pub http_refused: Counter<u64>,
    pub quota_limit: Gauge<u64>,
    pub quota_remaining: Gauge<u64>,
}

impl Instruments {
    pub(super) fn new(meter: &Meter) -> Self {
        let count = |name: &'static str, description: &'static str| {
            meter
                .u64_counter(name)
                .with_description(description)
                .build()
        };
        let gauge = |name: &'static str, description: &'static str| {
            meter.u64_gauge(name).with_description(description).build()
        };
        tell_what_runs(meter);
        count_dropped_lines(meter);
        Self {
            durations: Durations::new(meter),
            windows: count("cvsync.windows", "Windows by how they ended"),
            listed: count(
                "cvsync.listed",
                "Ids that the source listed, by what their status says",
            ),
            records: count("cvsync.records", "Ids by what became of them"),
            late_arrivals: count(
                "cvsync.late.arrivals",
                "Ids that only a second listing showed",
            ),
            page_drift: count(
                "cvsync.page.drift",
                "How often paging by offset moved under the reader",
            ),
            retries: count("cvsync.retries", "Attempts that had to be repeated"),
            gate_closed: meter
                .f64_counter("cvsync.gate.closed")
                .with_unit("s")
                .with_description("Time in which no calls were made, by reason")
                .build(),
            history_lost: count(
                "cvsync.history.lost",
                "Times that the database lost commits it had acknowledged",
            ),
            webhook: count(
                "cvsync.webhook.deliveries",
                "Requests to the webhook, by how they ended",
            ),
            accessed: count(
                "cvsync.access.records",
                "CVs that the mirror gave or refused to give, by what became of their records",
            ),
            http_refused: count(
                "cvsync.http.refused",
                "Requests and connections that the HTTP server refused, by reason",
            ),
            quota_limit: gauge("cvsync.quota.limit", "Calls allowed in a minute"),
            quota_remaining: gauge(
                "cvsync.quota.remaining",
                "Calls left in this minute, as VDAB's last answer said",
            ),
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Durations {
    pub http_request: Histogram<f64>,
    pub query: Histogram<f64>,
    pub http_served: Histogram<f64>,
    pub apply_delay: Histogram<f64>,
    pub window_duration: Histogram<f64>,
    pub late_arrival_delay: Histogram<f64>,
}

impl Durations {
    fn new(meter: &Meter) -> Self {
        let seconds = |name: &'static str, bounds: &[f64], description: &'static str| {
            meter
                .f64_histogram(name)
                .with_unit("s")
                .with_description(description)
                .with_boundaries(bounds.to_vec())
                .build()
        };
        Self {
            http_request: seconds(
                "http.client.request.duration",
                SECONDS,
                "Requests to VDAB, each attempt",
            ),
            query: seconds(
                "db.client.operation.duration",
                QUERY_SECONDS,
                "Transactions in PostgreSQL, by what they are for",
            ),
            http_served: seconds(
                "http.server.request.duration",
                SECONDS,
                "Requests to this daemon",
            ),
            apply_delay: seconds(
                "cvsync.apply.delay",
                LONG_SECONDS,
                "From the earliest time at which VDAB can have shown a change to its commit",
            ),
            window_duration: seconds(
                "cvsync.window.duration",
                LONG_SECONDS,
                "From the start of a window's listing to its end",
            ),
            late_arrival_delay: seconds(
                "cvsync.late.arrival.delay",
                LONG_SECONDS,
                "How long after its time a change was not visible yet",
            ),
        }
    }
}

/// Log lines are dropped when writing them would make cvsync wait.
fn count_dropped_lines(meter: &Meter) {
    meter
        .u64_observable_counter("cvsync.log.lines.dropped")
        .with_description(
            "Log lines that were not written: their reader on stderr is too slow, stuck or gone",
        )
        .with_callback(|counter| counter.observe(STDERR.dropped(), &[]))
        .build();
}

fn tell_what_runs(meter: &Meter) {
    let labels = [
        KeyValue::new("version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("commit", COMMIT),
    ];
    meter
        .u64_gauge("cvsync.build.info")
        .with_description("Always 1; the version is a label")
        .build()
        .record(1, &labels);
}
