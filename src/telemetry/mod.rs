//! Logs, metrics and traces: what an operator sees.

mod logs;
mod metrics;
mod otlp;
mod spans;

pub use self::logs::{Screen, install};
pub use self::metrics::*;
pub use self::otlp::{Traces, host, metrics as pushed_metrics};

use self::otlp::resource;
pub use self::spans::{failed, link, trace_id};
