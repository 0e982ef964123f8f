//! Every metric in one list: name, unit, labels. Names are public; labels come from closed sets and hold no ids.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter, MeterProvider};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Registry, TextEncoder};
use url::Url;

use super::STDERR;
use crate::config::Otel;

/// Of what source, where the build was told.
const COMMIT: &str = match option_env!("CVSYNC_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// Bounds in seconds, from OpenTelemetry's conventions for HTTP durations, and on to a minute.
const SECONDS: [f64; 16] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0, 60.0,
];

/// Bounds in seconds for what takes minutes to days.
const LONG_SECONDS: [f64; 12] = [
    0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 86_400.0, 604_800.0,
];

/// Bounds in seconds, from OpenTelemetry's conventions for database calls.
const QUERY_SECONDS: [f64; 9] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

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
/// By clock: source, local, database.
pub const CLOCK_DISAGREEMENT: Watched = Watched(
    "cvsync.clock.disagreement",
    "s",
    "How far this clock is ahead of the middle one of the three that cvsync compares",
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
/// Alert on this, not on how many there are.
pub const PARKED_OLDEST: Watched = Watched(
    "cvsync.parked.oldest.age",
    "s",
    "How long ago the parked CV that waits longest failed for the first time; 0 if there is none",
);
/// What holds everything up, at sight.
pub const WORKERS: Watched = Watched(
    "cvsync.workers",
    "",
    "Workers by what they are at: idle, waiting for the quota or a gate, fetching, or waiting for the writer",
);
/// Work ahead.
pub const WINDOWS_PENDING: Watched = Watched(
    "cvsync.windows.pending",
    "",
    "Windows of the run under way that are not settled: planned, being listed, or being applied",
);
/// How long ago documents were last confirmed, by share of the documents.
pub const CONFIRMED_AGE: Watched = Watched(
    "cvsync.confirmed.age",
    "s",
    "Age within which the source last confirmed this share of the documents",
);
/// [`CONFIRMED_AGE`] under its old name, for one release.
pub const VERIFIED_AGE: Watched = Watched(
    "cvsync.verified.age",
    "s",
    "Deprecated, use cvsync_confirmed_age_seconds: how long ago the source last confirmed documents, by quantile",
);

/// Prometheus reserves the label `quantile` for summaries, so the old name gets their type.
const OLD_TYPE: (&str, &str) = (
    "# TYPE cvsync_verified_age_seconds gauge\n",
    "# TYPE cvsync_verified_age_seconds summary\n",
);
/// Where the feed stands.
pub const FEED_SEQ: Watched = Watched(
    "cvsync.feed.seq",
    "",
    "The latest number given out in the change feed",
);
/// Of those that registered; of many, those that are furthest behind.
pub const FEED_CONSUMER_LAG: Watched = Watched(
    "cvsync.feed.consumer.lag",
    "",
    "How many numbers the change feed is ahead of this registered consumer",
);
/// Of the same consumers: what the status page calls late.
pub const FEED_CONSUMER_WAIT: Watched = Watched(
    "cvsync.feed.consumer.wait",
    "s",
    "Age of the oldest change that this registered consumer has not processed; 0 without one",
);
/// Their ids are in the table `cv_unsearchable`.
pub const UNSEARCHABLE: Watched = Watched(
    "cvsync.unsearchable",
    "",
    "CVs that searches do not find, because PostgreSQL cannot index their document",
);
/// So that alerts fit any schedule.
pub const SCHEDULE_INTERVAL: Watched = Watched(
    "cvsync.schedule.interval",
    "s",
    "Time between two ticks of this job's schedule",
);
/// So that alerts fit any setting of it.
pub const SETTLE_LAG: Watched = Watched(
    "cvsync.settle.lag",
    "s",
    "How far the watermark stays behind on purpose",
);
/// Against what is usual.
pub const CHANGES_LATELY: Watched = Watched(
    "cvsync.changes.lately",
    "",
    "Changes that VDAB listed in the six hours before the watermark",
);
/// The same hours of the weeks before.
pub const CHANGES_USUAL: Watched = Watched(
    "cvsync.changes.usual",
    "",
    "Changes that are usual in these hours of the week; absent while that is not known",
);
/// A person wanted it so.
pub const PAUSED: Watched = Watched("cvsync.paused", "", "Whether runs are paused");
/// As `/readyz` says.
pub const READY: Watched = Watched("cvsync.ready", "", "Whether this instance can do its work");
/// 0 is the goal.
pub const RECONCILE_DIFFERENCE: Watched = Watched(
    "cvsync.reconcile.difference",
    "",
    "What the latest comparison of the whole source with the database found",
);
/// By name in `/api/status`.
pub const SCHEMA_DRIFT: Watched = Watched(
    "cvsync.schema.drift",
    "",
    "Fields, status words and types that the contract does not have, seen since the process began",
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
    query: Histogram<f64>,
    http_served: Histogram<f64>,
    apply_delay: Histogram<f64>,
    window_duration: Histogram<f64>,
    windows: Counter<u64>,
    listed: Counter<u64>,
    records: Counter<u64>,
    retries: Counter<u64>,
    late_arrivals: Counter<u64>,
    late_arrival_delay: Histogram<f64>,
    page_drift: Counter<u64>,
    gate_closed: Counter<f64>,
    webhook: Counter<u64>,
    quota_limit: Gauge<u64>,
    quota_remaining: Gauge<u64>,
}

impl Metrics {
    /// A registry of its own, so that several daemons in one process (tests) do not mix.
    ///
    /// # Errors
    /// Only if two instruments have the same name.
    pub fn new() -> anyhow::Result<Self> {
        Self::pushed(&Otel::default())
    }

    /// The same, pushed as `otel` says. Within a runtime, if they are pushed.
    ///
    /// # Errors
    /// Only if two instruments have the same name.
    pub fn pushed(otel: &Otel) -> anyhow::Result<Self> {
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .scope_info_enabled(false)
            .build()?;
        let mut provider = SdkMeterProvider::builder()
            .with_reader(exporter)
            .with_resource(super::otlp::resource(otel));
        if let Some(reader) = super::otlp::pushed_metrics(otel) {
            provider = provider.with_reader(reader);
        }
        let provider = provider.build();
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
        tell_what_runs(&meter);
        count_dropped_lines(&meter);
        let metrics = Self {
            http_request: seconds(
                "http.client.request.duration",
                &SECONDS,
                "Requests to VDAB, each attempt",
            ),
            query: seconds(
                "db.client.operation.duration",
                &QUERY_SECONDS,
                "Transactions in PostgreSQL, by what they are for",
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
            webhook: count(
                "cvsync.webhook.deliveries",
                "Requests to the webhook, by how they ended",
            ),
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
        for outcome in ["settled", "relisted", "failed"] {
            self.window_ended(outcome, 0);
        }
        for kind in ["grew", "shrank", "duplicate"] {
            self.page_drifted(kind, 0);
        }
        for status in ["live", "gone", "unknown", "invalid_id"] {
            self.listed(status, 0);
        }
        for horizon in ["overlap", "relist"] {
            self.arrived_late(horizon, 0, None);
        }
        self.tally(&crate::model::Tally::default());
        for reason in ["rate_limit", "auth", "outage", "database", "paused"] {
            self.gate_closed(reason, Duration::ZERO);
        }
        for outcome in ["delivered", "refused", "timeout", "unreachable"] {
            self.webhook.add(0, &[KeyValue::new("outcome", outcome)]);
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

    /// One attempt to VDAB: its server and template, its status if an answer came, and the class of its error if it is one.
    /// That a CV is gone is none.
    pub fn http_request(
        &self,
        server: &Url,
        template: &'static str,
        took: Duration,
        status: Option<u16>,
        error: Option<&'static str>,
    ) {
        let mut labels = vec![
            KeyValue::new("http.request.method", "GET"),
            KeyValue::new(
                "server.address",
                server.host_str().unwrap_or_default().to_owned(),
            ),
            KeyValue::new(
                "server.port",
                i64::from(server.port_or_known_default().unwrap_or_default()),
            ),
            KeyValue::new("url.template", template),
        ];
        labels.extend(
            status.map(|status| KeyValue::new("http.response.status_code", i64::from(status))),
        );
        labels.extend(error.map(|class| KeyValue::new("error.type", class)));
        self.http_request.record(took.as_secs_f64(), &labels);
    }

    /// One request answered by this daemon.
    pub fn http_served(&self, method: &'static str, route: String, took: Duration, status: u16) {
        let labels = [
            KeyValue::new("http.request.method", method),
            KeyValue::new("http.route", route),
            KeyValue::new("http.response.status_code", i64::from(status)),
            KeyValue::new("url.scheme", "http"),
        ];
        self.http_served.record(took.as_secs_f64(), &labels);
    }

    /// One transaction of a sync or of the lease: what it was for, and the class of its error.
    pub fn queried(&self, what: &'static str, took: Duration, error: Option<&'static str>) {
        let mut labels = vec![
            KeyValue::new("db.system.name", "postgresql"),
            KeyValue::new("db.operation.name", what),
        ];
        labels.extend(error.map(|class| KeyValue::new("error.type", class)));
        self.query.record(took.as_secs_f64(), &labels);
    }

    /// Paging by offset moved under the reader: the window `grew` or `shrank`, or an id came twice (`duplicate`).
    pub fn page_drifted(&self, kind: &'static str, times: u64) {
        self.page_drift.add(times, &[KeyValue::new("kind", kind)]);
    }

    /// One CV, from listed to committed; `kind` is `upsert` or `delete`.
    pub fn applied(&self, kind: &'static str, delay: Duration) {
        self.apply_delay
            .record(delay.as_secs_f64(), &[KeyValue::new("kind", kind)]);
    }

    /// So many windows ended: `settled`, `relisted` (settled as well, but listed before) or `failed`.
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
            ("held", tally.held),
        ] {
            self.records.add(ids, &[KeyValue::new("result", result)]);
        }
    }

    /// An attempt of `stage` (`list`, `fetch`, `database`) that has to be repeated.
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

    /// A request to the webhook: `delivered`, `refused` by its answer, `timeout` or `unreachable`.
    pub fn webhook_ended(&self, outcome: &'static str) {
        self.webhook.add(1, &[KeyValue::new("outcome", outcome)]);
    }

    /// The quota of an operation, VDAB's word before ours, and what VDAB says is left of it.
    pub fn quota(&self, operation: &'static str, limit: u64, remaining: Option<u64>) {
        let labels = [KeyValue::new("operation", operation)];
        self.quota_limit.record(limit, &labels);
        if let Some(remaining) = remaining {
            self.quota_remaining.record(remaining, &labels);
        }
    }

    /// Everything in Prometheus' text format.
    ///
    /// # Errors
    /// Only if a metric cannot be encoded.
    pub fn render(&self) -> prometheus::Result<String> {
        let text = TextEncoder::new().encode_to_string(&self.registry.gather())?;
        let (gauge, summary) = OLD_TYPE;
        Ok(text.replacen(gauge, summary, 1))
    }
}

/// Read when somebody scrapes: log lines are dropped where nothing may wait.
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const WATCHED: [Watched; 28] = [
        WATERMARK,
        SOURCE_LAG,
        LAST_SUCCESS,
        CLOCK_OFFSET,
        CLOCK_DISAGREEMENT,
        PARKED,
        PARKED_OLDEST,
        LEADER,
        DELETES_WITHHELD,
        RECONCILE_DIFFERENCE,
        SCHEMA_DRIFT,
        STORED,
        QUEUE_DEPTH,
        QUEUE_CAPACITY,
        WORKERS,
        WINDOWS_PENDING,
        CONFIRMED_AGE,
        VERIFIED_AGE,
        FEED_SEQ,
        FEED_CONSUMER_LAG,
        FEED_CONSUMER_WAIT,
        UNSEARCHABLE,
        SCHEDULE_INTERVAL,
        SETTLE_LAG,
        CHANGES_LATELY,
        CHANGES_USUAL,
        PAUSED,
        READY,
    ];

    /// Everything that is ever told, in Prometheus' words.
    fn everything() -> String {
        let metrics = Metrics::new().unwrap();
        let short = Duration::from_millis(7);
        let server = Url::parse("https://localhost").unwrap();
        metrics.http_request(&server, "/kandidaten/{id}", short, Some(200), None);
        metrics.http_served("GET", "/livez".into(), short, 200);
        metrics.queried("writing a batch", short, None);
        metrics.applied("upsert", Duration::from_secs(2));
        metrics.window_took(Duration::from_secs(3));
        metrics.listed("live", 2);
        metrics.arrived_late("relist", 1, Some(Duration::from_mins(90)));
        metrics.retry("fetch", "incomplete");
        metrics.quota("detail", 2_000, Some(1_999));
        for watched in WATCHED {
            metrics.watch(watched, || vec![(1.0, vec![])]);
        }
        metrics.render().unwrap()
    }

    #[test]
    fn the_page_about_metrics_lists_them_all_and_no_others() {
        let told = everything();
        let told: BTreeSet<_> = told
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
            // Of the exporter, about the resource.
            .filter(|name| *name != "target_info")
            .collect();
        let page = include_str!("../../docs/metrics.md");
        let listed: BTreeSet<_> = page
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split(['`', '{']).next())
            .collect();
        assert_eq!(told, listed);
    }

    #[test]
    fn units_buckets_and_labels_are_those_that_dashboards_hang_on() {
        let text = everything();
        for line in [
            r#"cvsync_build_info{commit=""#,
            "cvsync_watermark_timestamp_seconds 1",
            "cvsync_source_lag_seconds 1",
            r#"cvsync_apply_delay_seconds_bucket{kind="upsert",le="5"} 1"#,
            r#"cvsync_windows_total{outcome="settled"} 0"#,
            r#"cvsync_windows_total{outcome="relisted"} 0"#,
            r#"cvsync_listed_total{status="live"} 2"#,
            r#"cvsync_records_total{result="parked"} 0"#,
            r#"cvsync_retries_total{error_type="incomplete",stage="fetch"} 1"#,
            r#"cvsync_gate_closed_seconds_total{reason="auth"} 0"#,
            r#"cvsync_gate_closed_seconds_total{reason="paused"} 0"#,
            r#"cvsync_page_drift_total{kind="grew"} 0"#,
            r#"cvsync_quota_limit{operation="detail"} 2000"#,
            r#"cvsync_quota_remaining{operation="detail"} 1999"#,
            "http_client_request_duration_seconds_bucket{",
            "http_server_request_duration_seconds_bucket{",
            r#"db_system_name="postgresql""#,
        ] {
            assert!(text.contains(line), "{line} is missing from\n{text}");
        }
    }
}
