//! `cvsync explain`

use chrono::DateTime;
use sqlx::PgConnection;

use super::Output;
use super::resync::no_id;
use super::tool::database;
use crate::config::Env;
use crate::model::CvId;
use crate::model::window::instant;
use crate::model::words::count;
use crate::store::explain::{Explanation, explain};
use crate::store::held_delete::HeldDelete;
use crate::store::parked_cv::{self, ParkedCv};

/// Explain why a CV is in the database or not, with ids and times only
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Id of the CV
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

/// VDAB may have listed a malformed id; then its form is parked.
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
            "VDAB listed an id of the form {}, which is not the id of a CV\n{set_aside}",
            it.parked.as_ref().map_or("", |it| &it.cv_id)
        )
    });
    Ok(())
}

fn set_aside(parked: &ParkedCv) -> String {
    format!(
        "Parked as {} since {}, after {}. Next attempt: {}",
        parked.error_class,
        instant(parked.first_failed_at),
        count(parked.attempts, "attempt"),
        instant(parked.next_attempt_at)
    )
}

fn held(held: &HeldDelete) -> String {
    let why = match (held.approved_at, held.next_attempt_at) {
        (Some(at), _) => format!(
            "Approved on {}; cvsync deletes the CV once VDAB confirms that it is gone.",
            instant(at)
        ),
        (None, Some(at)) => format!(
            "VDAB gave no proof, so cvsync asks again on {}.",
            instant(at)
        ),
        (None, None) => format!(
            "More CVs than usual would be deleted. Decide with `cvsync deletes approve {id}` or `cvsync deletes discard {id}`.",
            id = held.cv_id
        ),
    };
    let state = if held.filtered {
        "it did not match CVSYNC_KEEP"
    } else {
        "it was gone at VDAB"
    };
    format!(
        "Delete held since {}: on {} {state}. {why}",
        instant(held.held_at),
        instant(held.as_of)
    )
}

/// Whether the CV is in the database, and since when.
fn state(id: CvId, it: &Explanation) -> String {
    if let Some(suppressed) = &it.suppressed {
        return format!(
            "{id} is suppressed since {} (reason: {}), {}. cvsync neither fetches nor stores it.",
            instant(suppressed.since),
            suppressed.reason,
            suppressed.until.map_or_else(
                || "until `cvsync suppressed remove`".to_owned(),
                |until| format!("until {}", instant(until))
            )
        );
    }
    match (&it.stored, &it.seen) {
        (Some(stored), Some(seen)) => format!(
            "{id} is in the database since {}. It is up to date with VDAB as of {}; its content last changed on {}.",
            instant(stored.first_seen_at),
            instant(seen.as_of),
            instant(stored.changed_at)
        ),
        (Some(stored), None) => format!(
            "{id} is in the database since {}, but the time of VDAB's response is unknown. The next `cvsync reconcile` fetches it.",
            instant(stored.first_seen_at)
        ),
        (None, Some(seen)) if seen.gone => {
            format!(
                "{id} is not in the database: VDAB did not have it on {}.",
                instant(seen.as_of)
            )
        }
        (None, Some(seen)) if seen.withheld.as_deref() == Some("filtered") => format!(
            "{id} is not in the database: as of {}, it does not match CVSYNC_KEEP.",
            instant(seen.as_of)
        ),
        (None, Some(seen)) if seen.as_of == DateTime::UNIX_EPOCH => {
            format!("{id} is not in the database. cvsync fetches it again soon.")
        }
        (None, Some(seen)) => format!(
            "{id} is not in the database, although VDAB had it on {}: its row was deleted by hand. The next `cvsync reconcile` fetches it.",
            instant(seen.as_of)
        ),
        (None, None) if !it.changes.is_empty() => {
            format!("{id} is no longer in the database. Its tombstone has expired.")
        }
        (None, None) if it.parked.is_some() => {
            format!("{id} is not in the database and never was.")
        }
        (None, None) => {
            format!("{id} is unknown: no settled window listed it, or its tombstone has expired.")
        }
    }
}

fn text(id: CvId, it: &Explanation) -> String {
    let mut lines = vec![state(id, it)];
    lines.extend(it.parked.as_ref().map(set_aside));
    lines.extend(it.held_delete.as_ref().map(held));
    lines.extend(it.unsearchable.as_ref().map(|code| {
        format!("Searches do not find it, because PostgreSQL cannot index it (SQLSTATE {code}).")
    }));
    lines.extend(it.changes.iter().map(|change| {
        let windows: Vec<_> = change.windows.iter().map(i64::to_string).collect();
        format!(
            "  {}  {:<6}  change #{} ({})",
            instant(change.at),
            change.kind,
            change.seq,
            match &windows[..] {
                [] => "not written by a sync window".to_owned(),
                [window] => format!("during window {window}"),
                windows => format!("during windows {}", windows.join(", ")),
            }
        )
    }));
    lines.join("\n")
}
