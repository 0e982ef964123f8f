//! Logs and metrics: what an operator sees.
mod metrics;
pub use self::metrics::*;
