//! Logs and metrics: what an operator sees.

mod logs;
mod metrics;

pub use self::logs::{Screen, install};
pub use self::metrics::*;
