//! Traces and metrics, pushed by OTLP. What cannot be delivered is dropped: an exporter has a thread and a bounded queue of its
//! own, and neither slows nor stops a sync.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::anyhow;
use opentelemetry::{Key, KeyValue};
use opentelemetry_otlp::{MetricExporter, SpanExporter};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, Temporality};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter as Exporter};

use crate::config::{Otel, Protocol};

/// How long the end of the process waits for what has not been delivered.
const LAST_FLUSH: Duration = Duration::from_secs(2);

/// Who tells: `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` go before what we say ourselves.
pub fn resource() -> Resource {
    let theirs = Resource::builder().build();
    let said = |key: &Key| {
        let value = theirs.get(key);
        value.is_some_and(|value| !value.as_str().starts_with("unknown_service"))
    };
    let ours = [
        KeyValue::new("service.name", "cvsync"),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", host()),
    ];
    let ours = ours.into_iter().filter(|one| !said(&one.key));
    Resource::builder().with_attributes(ours).build()
}

/// The machine's name, or the container's or the pod's.
#[must_use]
pub fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// What pushes metrics, if they are to be pushed. Within a runtime, which gRPC needs.
///
/// # Errors
/// What is wrong with the standard variables.
pub fn pushed_metrics(otel: Otel) -> anyhow::Result<Option<PeriodicReader<Told<MetricExporter>>>> {
    let builder = MetricExporter::builder();
    let exporter = match otel.metrics {
        None => return Ok(None),
        Some(Protocol::Http) => builder.with_http().build(),
        Some(Protocol::Grpc) => builder.with_tonic().build(),
    };
    let exporter =
        exporter.map_err(|_| anyhow!("metrics cannot be pushed: look at the OTEL_… variables"))?;
    Ok(Some(PeriodicReader::builder(Told::new(exporter)).build()))
}

/// What makes spans and pushes them, if they are to be pushed. Within a runtime, which gRPC needs.
///
/// # Errors
/// What is wrong with the standard variables.
pub fn pushed_traces(otel: Otel) -> anyhow::Result<Option<Traces>> {
    let builder = SpanExporter::builder();
    let exporter = match otel.traces {
        None => return Ok(None),
        Some(Protocol::Http) => builder.with_http().build(),
        Some(Protocol::Grpc) => builder.with_tonic().build(),
    };
    let exporter =
        exporter.map_err(|_| anyhow!("traces cannot be pushed: look at the OTEL_… variables"))?;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(Told::new(exporter))
        .with_resource(resource())
        .build();
    Ok(Some(Traces(provider)))
}

/// Makes spans until it is dropped; then what is left is delivered, or given up soon.
#[derive(Debug)]
pub struct Traces(pub SdkTracerProvider);

impl Drop for Traces {
    fn drop(&mut self) {
        // Nobody is left who could be told.
        let _ = self.0.shutdown_with_timeout(LAST_FLUSH);
    }
}

/// An exporter that says so when it begins to fail, and when it works again: once each, and not at every try.
#[derive(Debug)]
pub struct Told<E> {
    exporter: E,
    failing: AtomicBool,
}

impl<E> Told<E> {
    fn new(exporter: E) -> Self {
        let failing = AtomicBool::new(false);
        Self { exporter, failing }
    }

    fn tell(&self, what: &str, result: &OTelSdkResult) {
        let failed = self.failing.swap(result.is_err(), Ordering::Relaxed);
        match result {
            // The error's own words may hold an address with a password.
            Err(_) if !failed => tracing::warn!(
                "{what} cannot be delivered, and are dropped; is OTEL_EXPORTER_OTLP_ENDPOINT right? Syncs go on"
            ),
            Ok(()) if failed => tracing::info!("{what} are delivered again"),
            _ => {}
        }
    }
}

impl<E: PushMetricExporter> PushMetricExporter for Told<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let result = self.exporter.export(metrics).await;
        self.tell("metrics", &result);
        result
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}

impl<E: Exporter> Exporter for Told<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let result = self.exporter.export(batch).await;
        self.tell("traces", &result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
