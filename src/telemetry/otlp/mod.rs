//! Pushes traces and metrics by OTLP. Data that cannot be delivered is dropped: each exporter has its own thread and a bounded
//! queue, so it never slows down or stops a sync.

mod probe;
mod transport;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_otlp::MetricExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Temporality};
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, SpanData,
    SpanExporter as Exporter, SpanLimits,
};

pub(crate) use self::probe::probe;
use crate::config::{Otel, Proxies, Target, Tracing};
use crate::shutdown;

const QUEUE: usize = 2_048;
const BATCH: usize = 512;
const DELAY: Duration = Duration::from_secs(5);
const INTERVAL: Duration = Duration::from_mins(1);

/// Time limit for finding out why nothing can be delivered.
const DIAGNOSIS: Duration = Duration::from_secs(1);

/// The resource of traces and metrics. Attributes from the environment replace cvsync's.
pub(super) fn resource(otel: &Otel) -> Resource {
    let ours = [
        KeyValue::new("service.name", "cvsync"),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", host()),
    ];
    let theirs = otel.attributes.iter();
    let theirs = theirs.map(|(name, value)| KeyValue::new(name.clone(), value.clone()));
    Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes(ours)
        .with_attributes(theirs)
        .build()
}

/// The name of the machine, container or pod.
#[must_use]
pub(crate) fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// The reader that pushes metrics, if they are pushed and the exporter can be built. gRPC needs a runtime.
#[must_use]
pub(super) fn pushed_metrics(
    otel: &Otel,
) -> Option<PeriodicReader<LoggedExporter<MetricExporter>>> {
    let target = otel.metrics.as_ref()?;
    let exporter = match transport::metrics(target, &otel.proxies, otel.temporality) {
        Ok(exporter) => exporter,
        Err(why) => {
            tracing::warn!("cannot push metrics: {why}");
            return None;
        }
    };
    let reader = PeriodicReader::builder(LoggedExporter::new(exporter, target, &otel.proxies));
    Some(
        reader
            .with_interval(otel.interval.unwrap_or(INTERVAL))
            .build(),
    )
}

/// The provider that creates and pushes spans, if they are pushed. gRPC needs a runtime.
///
/// # Errors
/// The reason why they cannot be pushed.
pub(super) fn pushed_traces(otel: &Otel) -> Result<Option<Traces>, String> {
    let Some(target) = &otel.traces else {
        return Ok(None);
    };
    let exporter = transport::traces(target, &otel.proxies)?;
    let exporter = LoggedExporter::new(exporter, target, &otel.proxies);
    let tracing = otel.tracing;
    // Everything is set, since the SDK would take from the environment what is not valid, such as a queue of 0.
    let queue = tracing.queue.unwrap_or(QUEUE);
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(queue)
        .with_max_export_batch_size(tracing.batch.unwrap_or(BATCH).min(queue))
        .with_scheduled_delay(tracing.delay.unwrap_or(DELAY));
    let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches.build());
    let ratio = tracing.sampler.map_or(1.0, |sampler| sampler.ratio);
    let sampler = match ratio {
        1.0 => Sampler::AlwaysOn,
        0.0 => Sampler::AlwaysOff,
        ratio => Sampler::TraceIdRatioBased(ratio),
    };
    let provider = SdkTracerProvider::builder()
        .with_span_processor(processor.build())
        .with_sampler(Sampler::ParentBased(Box::new(sampler)))
        .with_span_limits(limits(tracing))
        .with_resource(resource(otel))
        .build();
    Ok(Some(Traces(provider)))
}

fn limits(tracing: Tracing) -> SpanLimits {
    let default = SpanLimits::default();
    let [span, event, link] = tracing.attributes;
    let [events, links] = tracing.events_and_links;
    SpanLimits {
        max_events_per_span: events.unwrap_or(default.max_events_per_span),
        max_attributes_per_span: span.unwrap_or(default.max_attributes_per_span),
        max_links_per_span: links.unwrap_or(default.max_links_per_span),
        max_attributes_per_event: event.unwrap_or(default.max_attributes_per_event),
        max_attributes_per_link: link.unwrap_or(default.max_attributes_per_link),
    }
}

/// Creates spans. On drop it pushes the remaining ones, within a short time limit.
#[derive(Debug)]
pub(crate) struct Traces(pub SdkTracerProvider);

impl Drop for Traces {
    fn drop(&mut self) {
        // Nobody is left who could be told.
        let _ = self.0.shutdown_with_timeout(shutdown::TRACES);
    }
}

/// Keeps instruments alive. On drop it pushes the last metrics, within a short time limit.
#[derive(Debug)]
pub(super) struct Provider {
    pub provider: SdkMeterProvider,
    pub is_pushed: bool,
}

impl Drop for Provider {
    fn drop(&mut self) {
        if !self.is_pushed {
            return;
        }
        let provider = self.provider.clone();
        let (done, ended) = mpsc::channel();
        // The SDK waits up to five seconds for a collector, whatever limit it gets.
        thread::spawn(move || {
            let _ = provider.shutdown();
            let _ = done.send(());
        });
        let _ = ended.recv_timeout(shutdown::METRICS);
    }
}

/// An exporter that logs when it starts to fail and when it works again, once each.
#[derive(Debug)]
pub(super) struct LoggedExporter<E> {
    exporter: E,
    failing: AtomicBool,
    target: Target,
    proxies: Proxies,
}

impl<E> LoggedExporter<E> {
    fn new(exporter: E, target: &Target, proxies: &Proxies) -> Self {
        Self {
            exporter,
            failing: AtomicBool::new(false),
            target: target.clone(),
            proxies: proxies.clone(),
        }
    }

    fn tell(&self, what: &str, result: &OTelSdkResult) {
        let failed = self.failing.swap(result.is_err(), Ordering::Relaxed);
        match result {
            // The error's own words may hold an address with a password.
            Err(_) if !failed => {
                let why = self.why();
                tracing::warn!("cannot deliver {what}, so they are dropped: {why}; syncs continue");
            }
            Ok(()) if failed => tracing::info!("{what} are delivered again"),
            _ => {}
        }
    }

    /// Finds out why nothing can be delivered. The exporters' errors cannot be shown, so it sends one more request, on
    /// a thread without a runtime.
    fn why(&self) -> String {
        let (target, proxies) = (&self.target, &self.proxies);
        let asked = thread::scope(|scope| {
            let asking = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .ok()?;
                let asked = runtime.block_on(probe(target, proxies, DIAGNOSIS)).err();
                runtime.shutdown_background();
                asked
            });
            asking.join().ok().flatten()
        });
        let variable = self.target.variable;
        asked.unwrap_or_else(|| format!("the collector in {variable} did not accept them"))
    }
}

impl<E: PushMetricExporter> PushMetricExporter for LoggedExporter<E> {
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

impl<E: Exporter> Exporter for LoggedExporter<E> {
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
