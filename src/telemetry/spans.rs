//! Spans, as far as `tracing` does not know of OpenTelemetry's: a run with its trace's id, links, a failure with its class.

use opentelemetry::trace::TraceContextExt;
use tracing::{Span, field};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The span of a run of this name, with its trace's id for log lines.
#[must_use]
pub(crate) fn run_span(name: &'static str) -> Span {
    let span = tracing::info_span!(
        "run",
        otel.name = name,
        run = name,
        trace_id = field::Empty,
        error.type = field::Empty,
        otel.status_code = field::Empty,
    );
    if let Some(id) = trace_id(&span) {
        span.record("trace_id", id);
    }
    span
}

/// The id of the trace that a span belongs to; `None` where traces are not pushed.
fn trace_id(span: &Span) -> Option<String> {
    let context = span.context();
    let id = context.span().span_context().trace_id();
    (id != opentelemetry::TraceId::INVALID).then(|| id.to_string())
}

/// Says in `span` that it has to do with `other`.
pub(crate) fn link(span: &Span, other: &Span) {
    span.add_link(other.context().span().span_context().clone());
}

/// Says in `span`, which has fields for it, that it failed, and how.
pub(crate) fn failed(span: &Span, class: &'static str) {
    span.record("error.type", class);
    span.record("otel.status_code", "ERROR");
}
