//! Logs, metrics and traces for operators.

mod instruments;
mod labels;
mod logs;
mod metrics;
mod otlp;
mod spans;
mod stderr;
mod throttle;

pub(crate) use self::labels::{
    AccessOutcome, ChangeKind, ClosedBy, DeliveryOutcome, Horizon, ListedStatus, PageDrift,
    Refused, RetriedStage, WindowOutcome,
};
pub(crate) use self::logs::{Screen, install};
pub use self::metrics::Metrics;
pub(crate) use self::otlp::{Traces, host, probe};
pub(crate) use self::spans::{failed, link, run_span};
pub(crate) use self::stderr::STDERR;
pub(crate) use self::throttle::Throttle;
