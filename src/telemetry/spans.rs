//! Features of OpenTelemetry's spans that `tracing` lacks: the trace id of a run, links, the class of a failure.

use opentelemetry::trace::TraceContextExt;
use tracing::{Span, field};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The span of a run with this name, with its trace id for log lines.
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

/// Links `span` to `other`.
pub(crate) fn link(span: &Span, other: &Span) {
    span.add_link(other.context().span().span_context().clone());
}

/// Records the class of a failure in `span`, which has the fields for it.
pub(crate) fn failed(span: &Span, class: &'static str) {
    span.record("error.type", class);
    span.record("otel.status_code", "ERROR");
}
