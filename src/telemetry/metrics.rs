//! The metrics of a process: one method per event. Labels come from closed sets and contain no ids.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Registry, TextEncoder};
use url::Url;

use super::instruments::Instruments;
use super::labels::{
    AccessOutcome, ChangeKind, ClosedBy, DeliveryOutcome, Horizon, ListedStatus, PageDrift,
    RecordResult, Refused, RetriedStage, WindowOutcome,
};
use super::otlp::{self, Provider};
use crate::config::Otel;
use crate::model::{Lane, Tally};

/// Prometheus reserves the label `quantile` for summaries, so the old name gets their type.
const OLD_TYPE: (&str, &str) = (
    "# TYPE cvsync_verified_age_seconds gauge\n",
    "# TYPE cvsync_verified_age_seconds summary\n",
);

/// The metrics of one daemon or command. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    meter: Meter,
    /// Keeps the instruments alive.
    _provider: Arc<Provider>,
    instruments: Instruments,
}

impl Metrics {
    /// Has its own registry, so that several daemons in one process (tests) do not mix.
    ///
    /// # Errors
    /// Only if two instruments have the same name.
    pub fn new() -> anyhow::Result<Self> {
        Self::pushed(&Otel::default())
    }

    /// The same, and pushed as `otel` says, which needs a runtime.
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
            .with_resource(otlp::resource(otel));
        let reader = otlp::pushed_metrics(otel);
        let is_pushed = reader.is_some();
        if let Some(reader) = reader {
            provider = provider.with_reader(reader);
        }
        let provider = provider.build();
        let meter = provider.meter("cvsync");
        let metrics = Self {
            registry,
            instruments: Instruments::new(&meter),
            meter,
            _provider: Arc::new(Provider {
                provider,
                is_pushed,
            }),
        };
        metrics.start_at_zero();
        Ok(metrics)
    }

    /// Starts counters at 0: an alert cannot use a counter that is absent until its first event.
    fn start_at_zero(&self) {
        for outcome in WindowOutcome::ALL {
            self.window_ended(*outcome, 0);
        }
        for kind in PageDrift::ALL {
            self.page_drifted(*kind, 0);
        }
        for status in ListedStatus::ALL {
            self.listed(*status, 0);
        }
        for horizon in Horizon::ALL {
            self.arrived_late(*horizon, 0, None);
        }
        self.tally(&Tally::default());
        for reason in ClosedBy::ALL {
            self.gate_closed(*reason, Duration::ZERO);
        }
        for outcome in DeliveryOutcome::ALL {
            self.instruments
                .webhook
                .add(0, &[KeyValue::new("outcome", outcome.as_str())]);
        }
        for outcome in AccessOutcome::ALL {
            self.accessed(*outcome, 0);
        }
        for reason in Refused::ALL {
            self.http_refused(*reason, 0);
        }
        self.instruments.history_lost.add(0, &[]);
    }

    /// Registers a gauge. `read` returns its values with their labels, at each scrape.
    pub fn watch(
        &self,
        name: &'static str,
        unit: &'static str,
        description: &'static str,
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

    /// One attempt of a request to VDAB: server, template, the status of a response, and the class of an error. A response that
    /// says that a CV is gone is not an error.
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
        self.instruments
            .durations
            .http_request
            .record(took.as_secs_f64(), &labels);
    }

    /// One request that this daemon served.
    pub fn http_served(&self, method: &'static str, route: String, took: Duration, status: u16) {
        let labels = [
            KeyValue::new("http.request.method", method),
            KeyValue::new("http.route", route),
            KeyValue::new("http.response.status_code", i64::from(status)),
            KeyValue::new("url.scheme", "http"),
        ];
        self.instruments
            .durations
            .http_served
            .record(took.as_secs_f64(), &labels);
    }

    /// Requests or connections that were refused.
    pub(crate) fn http_refused(&self, reason: Refused, times: u64) {
        self.instruments
            .http_refused
            .add(times, &[KeyValue::new("reason", reason.as_str())]);
    }

    /// One transaction: its purpose, and the class of its error.
    pub fn queried(&self, what: &'static str, took: Duration, error: Option<&'static str>) {
        let mut labels = vec![
            KeyValue::new("db.system.name", "postgresql"),
            KeyValue::new("db.operation.name", what),
        ];
        labels.extend(error.map(|class| KeyValue::new("error.type", class)));
        self.instruments
            .durations
            .query
            .record(took.as_secs_f64(), &labels);
    }

    /// Pages shifted while they were read.
    pub fn page_drifted(&self, kind: PageDrift, times: u64) {
        self.instruments
            .page_drift
            .add(times, &[KeyValue::new("kind", kind.as_str())]);
    }

    /// One change, from the earliest time at which the source can have shown it to its commit.
    pub fn applied(&self, kind: ChangeKind, lane: Lane, delay: Duration) {
        let labels = [
            KeyValue::new("kind", kind.as_str()),
            KeyValue::new("lane", lane.as_str()),
        ];
        self.instruments
            .durations
            .apply_delay
            .record(delay.as_secs_f64(), &labels);
    }

    pub fn window_ended(&self, outcome: WindowOutcome, windows: u64) {
        self.instruments
            .windows
            .add(windows, &[KeyValue::new("outcome", outcome.as_str())]);
    }

    pub fn window_took(&self, took: Duration) {
        self.instruments
            .durations
            .window_duration
            .record(took.as_secs_f64(), &[]);
    }

    /// Listed ids, by what their status says.
    pub fn listed(&self, status: ListedStatus, ids: u64) {
        self.instruments
            .listed
            .add(ids, &[KeyValue::new("status", status.as_str())]);
    }

    /// Ids that only a second listing showed, and how long they were known to be invisible.
    pub fn arrived_late(&self, horizon: Horizon, ids: u64, late: Option<Duration>) {
        self.instruments
            .late_arrivals
            .add(ids, &[KeyValue::new("horizon", horizon.as_str())]);
        if let Some(late) = late {
            self.instruments
                .durations
                .late_arrival_delay
                .record(late.as_secs_f64(), &[]);
        }
    }

    /// The results of ids. `listed` has its own counter.
    pub fn tally(&self, tally: &Tally) {
        for (result, ids) in [
            (RecordResult::Inserted, tally.inserted),
            (RecordResult::Updated, tally.updated),
            (RecordResult::Unchanged, tally.unchanged),
            (RecordResult::Deleted, tally.deleted),
            (RecordResult::Skipped, tally.skipped),
            (RecordResult::Superseded, tally.superseded),
            (RecordResult::Parked, tally.parked),
            (RecordResult::Held, tally.held),
        ] {
            self.instruments
                .records
                .add(ids, &[KeyValue::new("result", result.as_str())]);
        }
    }

    /// An attempt that will be repeated.
    pub fn retry(&self, stage: RetriedStage, error: &'static str) {
        let labels = [
            KeyValue::new("stage", stage.as_str()),
            KeyValue::new("error_type", error),
        ];
        self.instruments.retries.add(1, &labels);
    }

    /// The database lost commits that it had acknowledged.
    pub(crate) fn history_lost(&self) {
        self.instruments.history_lost.add(1, &[]);
    }

    /// Time in which the gate was closed.
    pub fn gate_closed(&self, reason: ClosedBy, time: Duration) {
        self.instruments.gate_closed.add(
            time.as_secs_f64(),
            &[KeyValue::new("reason", reason.as_str())],
        );
    }

    pub fn webhook_ended(&self, outcome: DeliveryOutcome) {
        self.instruments
            .webhook
            .add(1, &[KeyValue::new("outcome", outcome.as_str())]);
    }

    /// Records of CVs that the mirror gave, or did not give because there was no room for their records.
    pub(crate) fn accessed(&self, outcome: AccessOutcome, records: usize) {
        self.instruments.accessed.add(
            u64::try_from(records).unwrap_or(u64::MAX),
            &[KeyValue::new("outcome", outcome.as_str())],
        );
    }

    /// The quota of an operation, VDAB's number rather than the configured one, and the calls left according to VDAB.
    pub fn quota(&self, operation: &'static str, limit: u64, remaining: Option<u64>) {
        let labels = [KeyValue::new("operation", operation)];
        self.instruments.quota_limit.record(limit, &labels);
        if let Some(remaining) = remaining {
            self.instruments.quota_remaining.record(remaining, &labels);
        }
    }

    /// All metrics in Prometheus' text format.
    ///
    /// # Errors
    /// Only if a metric cannot be encoded.
    pub fn render(&self) -> prometheus::Result<String> {
        let text = TextEncoder::new().encode_to_string(&self.registry.gather())?;
        let (gauge, summary) = OLD_TYPE;
        Ok(text.replacen(gauge, summary, 1))
    }
}

#[cfg(test)]
impl Metrics {
    /// Each instrument has a value, so each is in the text.
    pub(crate) fn with_one_of_each() -> Self {
        let metrics = Self::new().unwrap();
        let short = Duration::from_millis(7);
        let server = Url::parse("https://localhost").unwrap();
        metrics.http_request(&server, "/kandidaten/{id}", short, Some(200), None);
        metrics.http_served("GET", "/livez".into(), short, 200);
        metrics.queried("writing a batch", short, None);
        metrics.applied(ChangeKind::Upsert, Lane::Live, Duration::from_secs(2));
        metrics.window_took(Duration::from_secs(3));
        metrics.listed(ListedStatus::Live, 2);
        metrics.arrived_late(Horizon::Relist, 1, Some(Duration::from_mins(90)));
        metrics.retry(RetriedStage::Fetch, "incomplete");
        metrics.quota("detail", 2_000, Some(1_999));
        metrics
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_buckets_and_labels_are_those_that_dashboards_hang_on() {
        let text = Metrics::with_one_of_each().render().unwrap();
        for line in [
            r#"cvsync_build_info{commit=""#,
            r#"cvsync_apply_delay_seconds_bucket{kind="upsert",lane="live",le="5"} 1"#,
            r#"cvsync_windows_total{outcome="settled"} 0"#,
            r#"cvsync_windows_total{outcome="relisted"} 0"#,
            r#"cvsync_windows_total{outcome="left"} 0"#,
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
