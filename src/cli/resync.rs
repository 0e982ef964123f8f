//! `cvsync resync`

use super::Usage;
use super::tool::{self, RunArgs};
use crate::config::Env;
use crate::model::CvId;
use crate::sync::Request;

/// Fetch these CVs now and apply what comes back
///
/// Safe beside a running daemon: the answer that was asked for last stays.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Ids of CVs
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    run: RunArgs,
}

pub async fn run(args: Args, env: &Env) -> anyhow::Result<()> {
    let ids = ids(&args.ids)?;
    tool::run(args.run, env, Request::These(ids)).await
}

/// Ids as a person writes them.
pub fn ids(texts: &[String]) -> Result<Vec<CvId>, Usage> {
    texts
        .iter()
        .map(|text| CvId::parse(text).ok_or_else(|| no_id(text)))
        .collect()
}

/// The error for a malformed ID.
pub fn no_id(text: &str) -> Usage {
    Usage(format!(
        "ID must be a UUID such as 30dbfef1-59df-4521-a111-964bf0208e68, got {text:?}; nothing was done"
    ))
}
