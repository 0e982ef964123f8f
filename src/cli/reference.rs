//! `cvsync reference`

use serde::Serialize;

use super::output::note;
use super::source::Source;
use super::tool::Tool;
use super::{Failed, Output, Usage, table};
use crate::config::{DIPLOMAS, Env, Reference};
use crate::model::words::number;
use crate::sync::reference::Refreshed;
use crate::vdab::persevere;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Fetch the reference lists into the table `reference_code`, and look up the diplomas that CVs contain
    ///
    /// The daemon does the same on CVSYNC_REFERENCE_SCHEDULE. Diplomas are looked up one per second; the rest waits for the next
    /// run. Nothing is deleted, because old CVs may contain codes that VDAB no longer lists.
    Sync {
        /// Maximum number of diplomas to look up
        #[arg(long, value_name = "N", default_value = "300", value_parser = clap::value_parser!(u32).range(0..=100_000))]
        limit: u32,
        #[command(flatten)]
        output: Output,
    },
    /// Ask VDAB for codes, as in `cvsync reference lookup diplomas handelsingenieur`
    ///
    /// For diplomas, TEXT is a keyword, and VDAB returns the ten best matches. For other lists, the entries that contain TEXT are
    /// shown, or all entries without it.
    Lookup {
        /// Name of a list in CVSYNC_REFERENCE_LISTS
        list: String,
        /// Text to look for
        text: Option<String>,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Serialize)]
struct Shown {
    code: String,
    label: Option<String>,
}

pub(super) async fn run(command: Command, env: &Env) -> anyhow::Result<()> {
    match command {
        Command::Sync { limit, output } => Box::pin(sync(limit as usize, output, env)).await,
        Command::Lookup { list, text, output } => {
            Box::pin(lookup(
                &list,
                text.as_deref().unwrap_or_default().trim(),
                output,
                env,
            ))
            .await
        }
    }
}

async fn sync(limit: usize, output: Output, env: &Env) -> anyhow::Result<()> {
    let tool = Tool::prepare(env, false).await?;
    let refreshed = tool.pipeline.refresh_reference(limit).await?;
    output.print(&refreshed, text);
    if refreshed.failed() {
        return Err(Failed.into());
    }
    Ok(())
}

fn text(refreshed: &Refreshed) -> String {
    let lists = refreshed.lists.iter().map(|list| {
        let why = list.error.as_ref().or(list.note.as_ref());
        let result = why.map_or("ok".to_owned(), |why| format!("unchanged: {why}"));
        vec![list.list.clone(), number(list.codes), result]
    });
    let lists = table(&["list", "codes", "result"], lists);
    let Some(diplomas) = &refreshed.diplomas else {
        return lists;
    };
    let error = diplomas.error.as_ref().or(diplomas.note.as_ref());
    let error = error.map_or(String::new(), |error| format!("; stopped early: {error}"));
    format!(
        "{lists}\n{DIPLOMAS}: {} found, {} unknown to VDAB, {} left for the next run{error}",
        number(diplomas.found),
        number(diplomas.unknown),
        number(diplomas.left)
    )
}

async fn lookup(name: &str, sought: &str, output: Output, env: &Env) -> anyhow::Result<()> {
    let source = Source::prepare(env).await?;
    let settings = Reference::load(&source.env)?;
    let Some(list) = settings.list(name) else {
        let names: Vec<_> = settings.lists.iter().map(|list| &*list.name).collect();
        let names = names.join(", ");
        return Err(Usage(format!("LIST must be one of {names}, got {name:?}")).into());
    };
    if name == DIPLOMAS && sought.is_empty() {
        return Err(Usage(
            "TEXT must be a keyword for diplomas, as in `cvsync reference lookup diplomas handelsingenieur`"
                .to_owned(),
        ).into());
    }
    let client = &source.vdab;
    let label_field = &settings.label_field;
    let mut entries = if name == DIPLOMAS {
        persevere(|| client.diplomas(&list.path, sought, label_field)).await?
    } else {
        persevere(|| client.reference(&list.path, label_field)).await?
    }
    .value;
    if !entries.is_empty() && entries.iter().all(|entry| entry.label.is_none()) {
        note(&format!(
            "the entries have no label in the field {label_field:?}; set CVSYNC_REFERENCE_LABEL_FIELD"
        ));
    }
    if name != DIPLOMAS {
        let sought = sought.to_lowercase();
        let has = |text: &str| text.to_lowercase().contains(&sought);
        entries.retain(|entry| has(&entry.code) || entry.label.as_deref().is_some_and(has));
        // An exact code first, before entries that only contain it.
        entries.sort_by_key(|entry| entry.code.to_lowercase() != sought);
    }
    let shown: Vec<_> = entries
        .into_iter()
        .map(|entry| Shown {
            code: entry.code,
            label: entry.label,
        })
        .collect();
    output.print(&shown, |shown| {
        let rows = shown.iter().map(|entry| {
            let label = entry.label.clone().unwrap_or_default();
            vec![entry.code.clone(), label]
        });
        table(&["code", "label"], rows)
    });
    Ok(())
}
