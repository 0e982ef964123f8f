//! What is logged, and how.

/// Logs go to stderr.
#[derive(Clone, Debug)]
pub struct Log {
    /// Directives of tracing-subscriber's `EnvFilter`, known to be valid.
    pub filter: String,
    /// `None`: text on a terminal, else JSON.
    pub format: Option<LogFormat>,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one object a line.
    Json,
}
