//! `cvsync explain`

use sqlx::PgConnection;

use super::Output;
use super::resync::no_id;
use super::tool::database;
use crate::config::Env;
use crate::model::CvId;
use crate::model::window::instant;
use crate::store::explain::{Explanation, explain};
use crate::store::held_delete::HeldDelete;
use crate::store::parked_cv::{self, ParkedCv};

/// Why a CV is, is not, or no longer is here: ids and times only
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The CV's id
    id: String,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(args: Args, env: &Env) -> anyhow::Result<()> {
    let Some(id) = CvId::parse(&args.id) else {
        return malformed(&args, env).await;
    };
    let store = database(env)?;
    let explain = async |tx: &mut PgConnection| explain(tx, id).await;
    let explanation = store.read("explaining a CV", explain).await?;
    args.output
        .print(&explanation, |explanation| text(id, explanation));
    Ok(())
}

/// VDAB may have listed it all the same: then it is parked under this text.
async fn malformed(args: &Args, env: &Env) -> anyhow::Result<()> {
    let store = database(env)?;
    let key = parked_cv::key(&args.id);
    let find = async |tx: &mut PgConnection| parked_cv::find(tx, &key).await;
    let parked = store.read("looking for a parked CV", find).await?;
    let Some(parked) = parked else {
        return Err(no_id(&args.id).into());
    };
    let explanation = Explanation {
        parked: Some(parked),
        ..Explanation::default()
    };
    args.output.print(&explanation, |it| {
        let set_aside = it.parked.iter().map(set_aside).collect::<String>();
        format!(
            "VDAB listed {}, which is not the ID of a CV\n{set_aside}",
            it.parked.as_ref().map_or("", |it| &it.cv_id)
        )
    });
    Ok(())
}

fn set_aside(parked: &ParkedCv) -> String {
    format!(
        "it is parked as {} since {}, after {} attempts; cvsync retries it on {}",
        parked.error_class,
        instant(parked.first_failed_at),
        parked.attempts,
        instant(parked.next_attempt_at)
    )
}

fn held(held: &HeldDelete) -> String {
    let why = match (held.approved_at, held.next_attempt_at) {
        (Some(at), _) => format!(
            "a person approved it on {}, and cvsync deletes the CV once VDAB confirms that it is gone",
            instant(at)
        ),
        (None, Some(at)) => format!(
            "VDAB gave no proof, so cvsync asks again on {}",
            instant(at)
        ),
        (None, None) => format!(
            "more CVs than usual were to go; decide with `cvsync deletes approve {id}` or `cvsync deletes discard {id}`",
            id = held.cv_id
        ),
    };
    format!(
        "its delete is held since {}: VDAB said on {} that it is gone; {why}",
        instant(held.held_at),
        instant(held.as_of)
    )
}

/// Whether it is here.
fn state(id: CvId, it: &Explanation) -> String {
    match (&it.stored, &it.seen) {
        (Some(stored), Some(seen)) => format!(
            "{id} is here since {}, as it was at VDAB on {}; its content last changed here on {}",
            instant(stored.first_seen_at),
            instant(seen.as_of),
            instant(stored.changed_at)
        ),
        (Some(stored), None) => format!(
            "{id} is here since {}, and cvsync does not know since when VDAB has it so; the next `cvsync reconcile` fetches it",
            instant(stored.first_seen_at)
        ),
        (None, Some(seen)) if seen.gone => {
            format!(
                "{id} is not here: VDAB had no such CV on {}",
                instant(seen.as_of)
            )
        }
        (None, Some(seen)) => format!(
            "{id} is not here, although VDAB had it on {}: somebody deleted the row; the next `cvsync reconcile` fetches it",
            instant(seen.as_of)
        ),
        (None, None) if !it.changes.is_empty() => {
            format!("{id} is not here any more, and its tombstone is forgotten")
        }
        (None, None) if it.parked.is_some() => format!("{id} is not here, and never was"),
        (None, None) => format!(
            "{id} is not here, and nothing is known of it: no window that is settled listed it, or its tombstone is forgotten"
        ),
    }
}

fn text(id: CvId, it: &Explanation) -> String {
    let mut lines = vec![state(id, it)];
    lines.extend(it.parked.as_ref().map(set_aside));
    lines.extend(it.held_delete.as_ref().map(held));
    lines.extend(it.unsearchable.as_ref().map(|code| {
        format!("searches do not find it: PostgreSQL cannot index it (SQLSTATE {code})")
    }));
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
