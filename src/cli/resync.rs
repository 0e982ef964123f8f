//! `cvsync resync`

use anyhow::anyhow;
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use super::Usage;
use super::tool::{RunArgs, Tool, whole};
use crate::config::Env;
use crate::model::CvId;
use crate::model::words::count;
use crate::store::{explain, suppressed_cv};
use crate::sync::{Request, Summary};

/// Fetch these CVs now and store the result
///
/// You can run it while the daemon runs: the most recent response wins. Exits with 1 if neither VDAB nor the database ever had one
/// of these CVs.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Ids of CVs (UUIDs)
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    run: RunArgs,
}

/// The result of a resync.
#[derive(Debug, Serialize)]
struct Resynced {
    #[serde(flatten)]
    summary: Summary,
    /// VDAB has no CV with these ids, and the database never had one.
    not_found: Vec<Uuid>,
    /// The old name of `not_found`.
    nowhere: Vec<Uuid>,
}

pub(super) async fn run(args: Args, env: &Env) -> anyhow::Result<()> {
    let ids = ids(&args.ids)?;
    let tool = Tool::prepare(env, args.run.dry_run).await?;
    tool.refuse_pause(args.run).await?;
    refuse_suppressed(&tool, &ids).await?;
    let summary = tool.carry_out(Request::These(ids.clone())).await?;
    let mut unknown = Vec::new();
    if !summary.interrupted {
        let look = async |tx: &mut PgConnection| explain::unknown(tx, &ids).await;
        unknown = tool.pipeline.store.read("looking for IDs", look).await?;
    }
    // A dry run stores nothing, so the CVs that it finds stay unknown to the database.
    let found = summary.tally.inserted + summary.tally.parked;
    let missing = (unknown.len() as u64).saturating_sub(if args.run.dry_run { found } else { 0 });
    if missing < unknown.len() as u64 {
        unknown.clear();
    }
    let resynced = Resynced {
        summary,
        not_found: unknown.clone(),
        nowhere: unknown,
    };
    args.run.print(&resynced, |it| &it.summary);
    whole(&resynced.summary)?;
    if missing == 0 {
        return Ok(());
    }
    Err(anyhow!(not_found(missing, &resynced.not_found)))
}

async fn refuse_suppressed(tool: &Tool, ids: &[CvId]) -> anyhow::Result<()> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let among = async |tx: &mut PgConnection| suppressed_cv::among(tx, &ids).await;
    let store = &tool.pipeline.store;
    let suppressed = store.read("looking for suppressed CVs", among).await?;
    match ids.iter().find(|id| suppressed.contains(id)) {
        None => Ok(()),
        Some(id) => Err(Usage(format!(
            "{id} is suppressed, so cvsync does not fetch it; to store it again, run `cvsync suppressed remove {id}` (nothing was changed)"
        ))
        .into()),
    }
}

fn not_found(missing: u64, ids: &[Uuid]) -> String {
    const ENOUGH: usize = 10;
    let shown: Vec<String> = ids.iter().take(ENOUGH).map(ToString::to_string).collect();
    let which = match (shown.len() as u64, missing) {
        (0, _) => String::new(),
        (shown_ids, missing) if shown_ids < missing => {
            format!(": {} and {} more", shown.join(", "), missing - shown_ids)
        }
        _ => format!(": {}", shown.join(", ")),
    };
    let s = if missing == 1 { "" } else { "s" };
    format!(
        "VDAB, the database and the change feed do not have {}{which}; check the id{s}",
        count(missing, "CV")
    )
}

/// Parses ids from the command line.
pub(super) fn ids(texts: &[String]) -> Result<Vec<CvId>, Usage> {
    texts
        .iter()
        .map(|text| CvId::parse(text).ok_or_else(|| no_id(text)))
        .collect()
}

/// The error for a malformed id.
pub(super) fn no_id(text: &str) -> Usage {
    Usage(format!(
        "ID must be a UUID such as 30dbfef1-59df-4521-a111-964bf0208e68, got {text:?} (nothing was changed)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_exist_nowhere_are_named_up_to_ten() {
        let ids: Vec<Uuid> = (1..=12).map(Uuid::from_u128).collect();
        let said = not_found(1, &ids[..1]);
        assert!(said.contains("do not have 1 CV: "), "{said}");
        assert!(said.ends_with("000001; check the id"), "{said}");
        let said = not_found(12, &ids);
        assert!(said.contains("00000a and 2 more; check the ids"), "{said}");
        assert!(not_found(2, &[]).ends_with("2 CVs; check the ids"));
    }
}
