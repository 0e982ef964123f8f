//! The filter and format of logs.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::reader::Reader;
use super::{Env, Problems, load};

#[derive(Clone, Debug)]
pub struct Log {
    /// Valid directives of tracing-subscriber's `EnvFilter`.
    pub filter: String,
    /// `None`: text on a terminal, otherwise JSON.
    pub format: Option<LogFormat>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    /// For machines: one object per line.
    Json,
}

impl Log {
    pub fn load(env: &Env) -> Result<Self, Problems> {
        load(env, Self::read)
    }

    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let filter = reader.required("CVSYNC_LOG", filter);
        let format = reader.optional("CVSYNC_LOG_FORMAT", |text| match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err("must be text or json".to_owned()),
        });
        Some(Self {
            filter: filter?,
            format: format?,
        })
    }
}

/// Directives of `EnvFilter`, except bare words other than levels: it takes `inof` for the name of a module to trace, and logs
/// nothing else.
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
            "must be a list of tracing directives such as info or warn,cvsync=debug; levels are error, warn, info, debug, trace and off"
                .to_owned(),
        )
    }
}
