//! Every metric in one list: name, unit, labels. Names are public; labels come from closed sets and hold no ids.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter, MeterProvider};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Registry, TextEncoder};

/// Bounds in seconds, from OpenTelemetry's conventions for HTTP durations, and on to a minute.
const SECONDS: [f64; 16] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0, 60.0,
];

/// Bounds in seconds for what takes minutes to days.
const LONG_SECONDS: [f64; 12] = [
    0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 86_400.0, 604_800.0,
];

/// A gauge that is read when somebody scrapes: name, unit, meaning.
#[derive(Clone, Copy, Debug)]
pub struct Watched(&'static str, &'static str, &'static str);

/// Source time up to which all is applied or parked.
pub const WATERMARK: Watched = Watched(
    "cvsync.watermark.timestamp",
    "s",
    "Source time up to which every change is applied or parked, as a Unix time",
);
/// The number to alert on.
pub const SOURCE_LAG: Watched = Watched(
    "cvsync.source.lag",
    "s",
    "The source's time now minus the watermark",
);
/// Silence, apart from lag.
pub const LAST_SUCCESS: Watched = Watched(
    "cvsync.last.success.timestamp",
    "s",
    "When the last run of this job succeeded, as a Unix time",
);
/// Good to a second.
pub const CLOCK_OFFSET: Watched = Watched(
    "cvsync.source.clock.offset",
    "s",
    "This machine's clock minus the source's",
);
/// By error class.
pub const PARKED: Watched = Watched("cvsync.parked", "", "CVs set aside to be retried later");
/// 1 on the instance that leads; over all of them the sum must be 1.
pub const LEADER: Watched = Watched("cvsync.leader", "", "Whether this instance leads");
/// A person is needed.
pub const DELETES_WITHHELD: Watched = Watched(
    "cvsync.deletes.withheld",
    "",
    "Deletes that the brake holds back until a person decides",
);
/// 0 is the goal.
pub const RECONCILE_DIFFERENCE: Watched = Watched(
    "cvsync.reconcile.difference",
    "",
    "What the latest comparison of the whole source with the database found",
);
/// An estimate where they are many.
pub const STORED: Watched = Watched("cvsync.stored", "", "CVs in the database, by their state");
/// Ids that wait for a worker, and outcomes that wait for the writer.
pub const QUEUE_DEPTH: Watched = Watched("cvsync.queue.depth", "", "Items waiting in this queue");
/// The bound of the same queues.
pub const QUEUE_CAPACITY: Watched = Watched(
    "cvsync.queue.capacity",
    "",
    "The most that this queue can hold",
);

/// The instruments that the pipeline writes to. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    meter: Meter,
    /// Keeps the instruments alive.
    _provider: SdkMeterProvider,
    http_request: Histogram<f64>,
    http_served: Histogram<f64>,
    apply_delay: Histogram<f64>,
    window_duration: Histogram<f64>,
    windows: Counter<u64>,
    listed: Counter<u64>,
    records: Counter<u64>,
    retries: Counter<u64>,
    late_arrivals: Counter<u64>,
    late_arrival_delay: Histogram<f64>,
    gate_closed: Counter<f64>,
    quota_limit: Gauge<u64>,
    quota_remaining: Gauge<u64>,
}

impl Metrics {
    /// A registry of its own, so that several daemons in one process (tests) do not mix.
    ///
    /// # Errors
    /// Only if two instruments have the same name.
    pub fn new() -> anyhow::Result<Self> {
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .scope_info_enabled(false)
            .build()?;
        let resource = Resource::builder()
            .with_service_name("cvsync")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkMeterProvider::builder()
            .with_reader(exporter)
            .with_resource(resource)
            .build();
        let meter = provider.meter("cvsync");
        let seconds = |name: &'static str, bounds: &[f64], description: &'static str| {
            meter
                .f64_histogram(name)
                .with_unit("s")
                .with_description(description)
                .with_boundaries(bounds.to_vec())
                .build()
        };
        let count = |name: &'static str, description: &'static str| {
            meter
                .u64_counter(name)
                .with_description(description)
                .build()
        };
        let gauge = |name: &'static str, description: &'static str| {
            meter.u64_gauge(name).with_description(description).build()
        };
        meter
            .u64_gauge("cvsync.build.info")
            .with_description("Always 1; the version is a label")
            .build()
            .record(1, &[KeyValue::new("version", env!("CARGO_PKG_VERSION"))]);
        let metrics = Self {
            http_request: seconds(
                "http.client.request.duration",
                &SECONDS,
                "Requests to VDAB, each attempt",
            ),
            http_served: seconds(
                "http.server.request.duration",
                &SECONDS,
                "Requests to this daemon",
            ),
            apply_delay: seconds(
                "cvsync.apply.delay",
                &LONG_SECONDS,
                "From listed to committed",
            ),
            window_duration: seconds(
                "cvsync.window.duration",
                &LONG_SECONDS,
                "From the start of a window's listing to its end",
            ),
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
            late_arrival_delay: seconds(
                "cvsync.late.arrival.delay",
                &LONG_SECONDS,
                "How long after its time a change was not visible yet",
            ),
            retries: count("cvsync.retries", "Attempts that had to be repeated"),
            gate_closed: meter
                .f64_counter("cvsync.gate.closed")
                .with_unit("s")
                .with_description("Time in which no calls were made, by reason")
                .build(),
            quota_limit: gauge("cvsync.quota.limit", "Calls allowed in a minute"),
            quota_remaining: gauge(
                "cvsync.quota.remaining",
                "Calls left in this minute, as VDAB's last answer said",
            ),
            registry,
            meter: meter.clone(),
            _provider: provider,
        };
        metrics.start_at_zero();
        Ok(metrics)
    }

    /// A counter that is absent until its first event cannot be alerted on.
    fn start_at_zero(&self) {
        for outcome in ["settled", "failed"] {
            self.window_ended(outcome, 0);
        }
        self.tally(&crate::model::Tally::default());
        for reason in ["rate_limit", "auth", "outage"] {
            self.gate_closed(reason, Duration::ZERO);
        }
    }

    /// Registers a gauge that `read` tells at each scrape: values with their labels.
    pub fn watch(
        &self,
        Watched(name, unit, description): Watched,
        read: impl Fn() -> Vec<(f64, Vec<KeyValue>)> + Send + Sync + 'static,
    ) {
        self.meter
            .f64_observable_gauge(name)
            .with_unit(unit)
            .with_description(description)
            .with_callback(move |gauge| {
                for (value, labels) in read() {
                    gauge.observe(value, &labels);
                }
            })
            .build();
    }

    /// One attempt to VDAB: its template, its status or the class of its error.
    pub fn http_request(
        &self,
        template: &'static str,
        took: Duration,
        end: Result<u16, &'static str>,
    ) {
        let end = match end {
            Ok(status) => KeyValue::new("http.response.status_code", i64::from(status)),
            Err(class) => KeyValue::new("error.type", class),
        };
        let labels = [
            KeyValue::new("http.request.method", "GET"),
            KeyValue::new("url.template", template),
            end,
        ];
        self.http_request.record(took.as_secs_f64(), &labels);
    }

    /// One request answered by this daemon.
    pub fn http_served(&self, route: String, took: Duration, status: u16) {
        let labels = [
            KeyValue::new("http.route", route),
            KeyValue::new("http.response.status_code", i64::from(status)),
        ];
        self.http_served.record(took.as_secs_f64(), &labels);
    }

    /// One CV, from listed to committed; `kind` is `upsert` or `delete`.
    pub fn applied(&self, kind: &'static str, delay: Duration) {
        self.apply_delay
            .record(delay.as_secs_f64(), &[KeyValue::new("kind", kind)]);
    }

    /// So many windows ended: `settled` or `failed`.
    pub fn window_ended(&self, outcome: &'static str, windows: u64) {
        self.windows
            .add(windows, &[KeyValue::new("outcome", outcome)]);
    }

    /// How long a window took.
    pub fn window_took(&self, took: Duration) {
        self.window_duration.record(took.as_secs_f64(), &[]);
    }

    /// Listed ids whose status says `live`, `gone` or `unknown`, or that are `invalid_id`.
    pub fn listed(&self, status: &'static str, ids: u64) {
        self.listed.add(ids, &[KeyValue::new("status", status)]);
    }

    /// Ids that only a second listing showed, and for how long they were known not to be visible.
    pub fn arrived_late(&self, horizon: &'static str, ids: u64, late: Option<Duration>) {
        self.late_arrivals
            .add(ids, &[KeyValue::new("horizon", horizon)]);
        if let Some(late) = late {
            self.late_arrival_delay.record(late.as_secs_f64(), &[]);
        }
    }

    /// What became of some ids. `listed` is counted apart.
    pub fn tally(&self, tally: &crate::model::Tally) {
        for (result, ids) in [
            ("inserted", tally.inserted),
            ("updated", tally.updated),
            ("unchanged", tally.unchanged),
            ("deleted", tally.deleted),
            ("skipped", tally.skipped),
            ("superseded", tally.superseded),
            ("parked", tally.parked),
        ] {
            self.records.add(ids, &[KeyValue::new("result", result)]);
        }
    }

    /// An attempt of `stage` (`list`, `fetch`, `write`) that has to be repeated.
    pub fn retry(&self, stage: &'static str, error: &'static str) {
        let labels = [
            KeyValue::new("stage", stage),
            KeyValue::new("error_type", error),
        ];
        self.retries.add(1, &labels);
    }

    /// Time in which the gate was closed.
    pub fn gate_closed(&self, reason: &'static str, time: Duration) {
        self.gate_closed
            .add(time.as_secs_f64(), &[KeyValue::new("reason", reason)]);
    }

    /// The quota of an operation, and what VDAB says is left of it.
    pub fn quota(&self, operation: &'static str, limit: u32, remaining: Option<u64>) {
        let labels = [KeyValue::new("operation", operation)];
        self.quota_limit.record(u64::from(limit), &labels);
        if let Some(remaining) = remaining {
            self.quota_remaining.record(remaining, &labels);
        }
    }

    /// Everything in Prometheus' text format.
    ///
    /// # Errors
    /// Only if a metric cannot be encoded.
    pub fn render(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_dashboards_hang_on() {
        let metrics = Metrics::new().unwrap();
        metrics.http_request("/kandidaten/{id}", Duration::from_millis(7), Ok(200));
        metrics.http_served("/livez".into(), Duration::from_millis(1), 200);
        metrics.applied("upsert", Duration::from_secs(2));
        metrics.window_took(Duration::from_secs(3));
        metrics.listed("live", 2);
        metrics.retry("fetch", "incomplete");
        metrics.quota("detail", 2_000, Some(1_999));
        for watched in [
            WATERMARK,
            SOURCE_LAG,
            LAST_SUCCESS,
            CLOCK_OFFSET,
            PARKED,
            QUEUE_DEPTH,
            QUEUE_CAPACITY,
        ] {
            metrics.watch(watched, || vec![(1.0, vec![])]);
        }
        let text = metrics.render().unwrap();
        for name in [
            "cvsync_build_info{",
            "cvsync_watermark_timestamp_seconds 1",
            "cvsync_source_lag_seconds 1",
            "cvsync_last_success_timestamp_seconds 1",
            "cvsync_source_clock_offset_seconds 1",
            "cvsync_parked 1",
            "cvsync_queue_depth 1",
            "cvsync_queue_capacity 1",
            r#"cvsync_apply_delay_seconds_bucket{kind="upsert",le="5"} 1"#,
            "cvsync_window_duration_seconds_bucket{",
            r#"cvsync_windows_total{outcome="settled"} 0"#,
            r#"cvsync_listed_total{status="live"} 2"#,
            r#"cvsync_records_total{result="parked"} 0"#,
            r#"cvsync_retries_total{error_type="incomplete",stage="fetch"} 1"#,
            r#"cvsync_gate_closed_seconds_total{reason="auth"} 0"#,
            r#"cvsync_quota_limit{operation="detail"} 2000"#,
            r#"cvsync_quota_remaining{operation="detail"} 1999"#,
            "http_client_request_duration_seconds_bucket{",
            "http_server_request_duration_seconds_bucket{",
        ] {
            assert!(text.contains(name), "{name} is missing from\n{text}");
        }
    }
}
