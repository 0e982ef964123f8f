//! What is logged, and how.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::reader::Reader;
use super::{Env, Problems, load};

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

impl Log {
    /// Reads this part alone.
    pub fn load(env: &Env) -> Result<Self, Problems> {
        load(env, Self::read)
    }

    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let filter = reader.required("CVSYNC_LOG", filter);
        let format = reader.optional("CVSYNC_LOG_FORMAT", |text| match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err("is neither text nor json".to_owned()),
        });
        Some(Self {
            filter: filter?,
            format: format?,
        })
    }
}

/// Directives that `EnvFilter` takes, except for bare words that are no level: it takes `inof` for the name of a module
/// to trace, and logs nothing else.
fn filter(text: &str) -> Result<String, String> {
    let is_bare = |directive: &&str| !directive.contains(['=', '[']) && !directive.is_empty();
    let levels = text
        .split(',')
        .map(str::trim)
        .filter(is_bare)
        .all(|word| word.parse::<LevelFilter>().is_ok());
    if levels && EnvFilter::try_new(text).is_ok() {
        Ok(text.to_owned())
    } else {
        Err(
            "is no list of tracing directives such as info or warn,cvsync=debug; levels are error, warn, info, debug, trace and off"
                .to_owned(),
        )
    }
}
