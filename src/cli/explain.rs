//! `cvsync explain`

use super::Output;
use super::resync::ids;
use super::tool::database;
use crate::config::Env;
use crate::model::CvId;
use crate::model::window::instant;
use crate::store::explain::{Explanation, explain};

/// Why a CV is, is not, or no longer is here: ids and times only
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The CV's id
    id: String,
    #[command(flatten)]
    output: Output,
}

pub async fn run(args: Args, env: &Env) -> anyhow::Result<()> {
    let id = ids(std::slice::from_ref(&args.id))?;
    let store = database(env)?;
    let mut tx = store.begin().await?;
    for id in id {
        let explanation = explain(&mut tx, id).await?;
        args.output
            .print(&explanation, |explanation| text(id, explanation));
    }
    Ok(tx.commit().await?)
}

fn text(id: CvId, it: &Explanation) -> String {
    let mut lines = vec![match (&it.stored, &it.seen) {
        (Some(stored), Some(seen)) => format!(
            "{id} is here since {}, as it was at VDAB on {}; its content last changed here on {}",
            instant(stored.first_seen_at),
            instant(seen.as_of),
            instant(stored.changed_at)
        ),
        (None, Some(seen)) if seen.gone => {
            format!(
                "{id} is not here: VDAB had no such CV on {}",
                instant(seen.as_of)
            )
        }
        _ if it.parked.is_some() => format!("{id} is not here, and never was"),
        _ => format!(
            "{id} is not here, and nothing is known of it: no window that is settled listed it, or its tombstone is forgotten"
        ),
    }];
    if let Some(parked) = &it.parked {
        lines.push(format!(
            "it is parked as {} since {}, after {} attempts; tried again on {}",
            parked.error_class,
            instant(parked.first_failed_at),
            parked.attempts,
            instant(parked.next_attempt_at)
        ));
    }
    if let Some(held) = &it.held_delete {
        lines.push(format!(
            "its delete is held back since {}: VDAB said on {} that it is gone",
            instant(held.held_at),
            instant(held.as_of)
        ));
    }
    lines.extend(it.changes.iter().map(|change| {
        let windows: Vec<_> = change.windows.iter().map(i64::to_string).collect();
        format!(
            "  {}  {:<6}  feed {}, windows under way: {}",
            instant(change.at),
            change.kind,
            change.seq,
            if windows.is_empty() {
                "none".to_owned()
            } else {
                windows.join(", ")
            }
        )
    }));
    lines.join("\n")
}
