//! `cvsync subject`

use std::fmt::Write;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::PgConnection;

use super::Output;
use super::resync::no_id;
use super::tool::database;
use crate::config::Env;
use crate::model::window::instant;
use crate::model::words::{count, number};
use crate::model::{CvId, filled};
use crate::store::explain::Confirmed;
use crate::store::held_delete::HeldDelete;
use crate::store::parked_cv::ParkedCv;
use crate::store::subject::{self, Changes, Consumer, Known, Read, Slot};
use crate::store::suppressed_cv::Suppression;

/// Answer a candidate's access request: what is held, since when, from where, whether it is suppressed, who received it and who read it
///
/// Prints the names of the fields that hold a value, not the values. With --document it prints the document too, which is personal
/// data. The readers are the clients of the mirror; docs/privacy.md says how to record SQL readers.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Id of the CV
    id: String,
    /// Print the stored document too
    #[arg(long)]
    document: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Serialize)]
struct Subject {
    cv_id: String,
    /// The address from which CVs are fetched.
    source: Option<String>,
    stored: Option<Stored>,
    seen: Option<Confirmed>,
    suppressed: Option<Suppression>,
    parked: Option<ParkedCv>,
    held_delete: Option<HeldDelete>,
    changes: Changes,
    consumers: Vec<Consumer>,
    replication: Vec<Slot>,
    read: Vec<Read>,
    /// Only with --document.
    document: Option<Value>,
}

#[derive(Debug, Serialize)]
struct Stored {
    first_seen_at: DateTime<Utc>,
    changed_at: DateTime<Utc>,
    searchable: bool,
    fields: Vec<Field>,
}

/// A field of the document, and how many values it has.
#[derive(Debug, Serialize)]
struct Field {
    field: String,
    values: u64,
}

pub(super) async fn run(args: Args, env: &Env) -> anyhow::Result<()> {
    let id = CvId::parse(&args.id).ok_or_else(|| no_id(&args.id))?;
    let store = database(env)?;
    let ask = async |tx: &mut PgConnection| {
        let source = subject::source(&mut *tx).await?;
        Ok((source, subject::known(tx, id).await?))
    };
    let (source, held) = store.read("answering an access request", ask).await?;
    let subject = answer(id, source, held, args.document)?;
    args.output.print(&subject, text);
    Ok(())
}

fn answer(
    id: CvId,
    source: Option<String>,
    held: Known,
    with_document: bool,
) -> anyhow::Result<Subject> {
    let mut document = None;
    let stored = match held.stored {
        None => None,
        Some(stored) => {
            let value: Value = serde_json::from_str(&stored.document)?;
            let fields = filled(&value).into_iter();
            let fields = fields.map(|(field, values)| Field { field, values });
            let fields = fields.collect();
            document = with_document.then_some(value);
            Some(Stored {
                first_seen_at: stored.first_seen_at,
                changed_at: stored.changed_at,
                searchable: stored.searchable,
                fields,
            })
        }
    };
    Ok(Subject {
        cv_id: id.to_string(),
        source,
        stored,
        seen: held.seen,
        suppressed: held.suppressed,
        parked: held.parked,
        held_delete: held.held_delete,
        changes: held.changes,
        consumers: held.consumers,
        replication: held.replication,
        read: held.read,
        document,
    })
}

fn text(subject: &Subject) -> String {
    let mut text = format!("Access request for CV {}\n", subject.cv_id);
    let mut part = |heading: &str, lines: Vec<String>| {
        let lines = if lines.is_empty() {
            vec!["none".to_owned()]
        } else {
            lines
        };
        let _ = write!(text, "\n{heading}\n  {}\n", lines.join("\n  "));
    };
    part("Held", held(subject));
    let fields = subject.stored.iter().flat_map(|stored| &stored.fields);
    let fields = fields.map(|it| match it.values {
        1 => it.field.clone(),
        values => format!("{} ({values} values)", it.field),
    });
    part("Fields with a value", fields.collect());
    part(
        "Consumers of the change feed",
        subject.consumers.iter().map(consumer).collect(),
    );
    let slots = subject.replication.iter().map(|slot| {
        let state = if slot.active { "active" } else { "not active" };
        format!("{}: {} replication, {state}", slot.name, slot.kind)
    });
    part("Receives rows of this database", slots.collect());
    let mut readers: Vec<_> = subject.read.iter().map(read).collect();
    readers.push("SQL readers: not recorded by cvsync; see docs/privacy.md".to_owned());
    part("Read by", readers);
    if let Some(document) = &subject.document {
        let document = serde_json::to_string_pretty(document).unwrap_or_default();
        let _ = write!(text, "\nDocument\n{document}");
    }
    text.trim_end().to_owned()
}

/// The document, or the reason that none is held.
fn stored(subject: &Subject) -> Vec<String> {
    let filtered = |seen: &Confirmed| seen.withheld.as_deref() == Some("filtered");
    match (&subject.stored, &subject.seen) {
        (Some(stored), seen) => {
            let mut lines = vec![format!(
                "The document, since {}; its content last changed on {}.",
                instant(stored.first_seen_at),
                instant(stored.changed_at)
            )];
            let source = subject.source.as_deref().unwrap_or("VDAB");
            lines.extend(seen.as_ref().map(|seen| {
                let at = instant(seen.as_of);
                format!("From {source}, which confirmed it on {at}.")
            }));
            if stored.searchable {
                lines.push("Its words and codes, in the search index.".to_owned());
            }
            lines
        }
        (None, Some(seen)) if filtered(seen) => vec![format!(
            "No document: as of {}, the CV does not match CVSYNC_KEEP. Only its id and this time are held.",
            instant(seen.as_of)
        )],
        (None, Some(seen)) if seen.gone && seen.withheld.is_none() => vec![format!(
            "No document: VDAB did not have the CV on {}. Only its id and this time are held.",
            instant(seen.as_of)
        )],
        (None, _) => vec!["No document.".to_owned()],
    }
}

fn suppressed(suppressed: &Suppression) -> String {
    let end = suppressed.until.map_or_else(
        || "without an end".to_owned(),
        |until| format!("until {}", instant(until)),
    );
    format!(
        "Suppressed since {} (reason: {}), {end}: cvsync neither fetches nor stores it.",
        instant(suppressed.since),
        suppressed.reason
    )
}

fn held(subject: &Subject) -> Vec<String> {
    let mut lines = stored(subject);
    lines.extend(subject.suppressed.as_ref().map(suppressed));
    lines.extend(subject.parked.as_ref().map(|parked| {
        format!(
            "Parked as {} since {}: its current state at VDAB is not stored.",
            parked.error_class,
            instant(parked.first_failed_at)
        )
    }));
    lines.extend(subject.held_delete.as_ref().map(|held| {
        format!(
            "Its delete is held since {}; see `cvsync deletes list`.",
            instant(held.held_at)
        )
    }));
    let changes = &subject.changes;
    if let (Some(first), Some(last)) = (changes.first_at, changes.last_at) {
        lines.push(format!(
            "Its id, in {} and {} of the change feed, from {} to {}.",
            count(changes.upserts, "upsert"),
            count(changes.deletes, "delete"),
            instant(first),
            instant(last)
        ));
    }
    lines
}

fn consumer(consumer: &Consumer) -> String {
    let processed = match (consumer.seq, consumer.at) {
        (Some(seq), Some(at)) => format!("processed change #{seq} of {}", instant(at)),
        _ => "has processed no change that the feed still has".to_owned(),
    };
    match consumer.waiting {
        0 => format!("{}: {processed}", consumer.name),
        waiting => format!(
            "{}: {processed}; {} waiting",
            consumer.name,
            number(waiting)
        ),
    }
}

fn read(read: &Read) -> String {
    let client = match read.client.as_str() {
        "" => "the admin token",
        client => client,
    };
    let document = read.document.then(|| "the document".to_owned());
    let mut given: Vec<String> = document.into_iter().chain(read.fields.clone()).collect();
    if given.is_empty() {
        given.push("only the id".to_owned());
    }
    format!(
        "{client}: {}, from {} to {}: {}",
        count(read.times, "time"),
        instant(read.first_at),
        instant(read.last_at),
        given.join(", ")
    )
}
