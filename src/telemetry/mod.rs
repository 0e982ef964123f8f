//! Logs, metrics and traces: what an operator sees.

mod instruments;
mod labels;
mod logs;
mod metrics;
mod otlp;
mod spans;
mod stderr;
mod throttle;

pub use self::labels::{
    ChangeKind, ClosedBy, DeliveryOutcome, Horizon, ListedStatus, PageDrift, RecordResult,
    RetriedStage, WindowOutcome,
};
pub use self::logs::{Screen, install};
pub use self::metrics::Metrics;
pub use self::otlp::{Traces, host, probe};
pub use self::spans::{failed, link, run_span};
pub use self::stderr::STDERR;
pub use self::throttle::Throttle;
