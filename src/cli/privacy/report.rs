//! The register as a document.

use serde::Serialize;

use super::register::{FILL_IN, Measure, Recipient, Retention};
use crate::store::privacy::FirstStored;

#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub written_at: String,
    pub version: &'static str,
    pub source: String,
    /// CVs by the time since they were first stored (article 14).
    pub first_stored: FirstStored,
    /// CVs whose documents were looked at for `categories`.
    pub sampled: usize,
    pub categories: Vec<Category>,
    /// CVSYNC_DOCUMENT_EXCLUDE
    pub excluded: Vec<String>,
    /// CVSYNC_KEEP
    pub filter: Vec<String>,
    pub recipients: Vec<Recipient>,
    pub retention: Vec<Retention>,
    pub measures: Vec<Measure>,
}

/// A category of personal data that is stored.
#[derive(Debug, Serialize)]
pub(super) struct Category {
    pub category: &'static str,
    pub fields: Vec<Field>,
}

#[derive(Debug, Serialize)]
pub(super) struct Field {
    pub field: String,
    /// The share of the sampled CVs in which it has a value.
    pub share: f64,
}

/// A table with these heads; a row of `none` if it is empty.
fn table(heads: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |", cells.join(" | "));
    let none = |_: &&str| "none".to_owned();
    let rule = |_: &&str| "---".to_owned();
    let cell = |text: &String| text.replace('|', "\\|").replace(['\n', '\r'], " ");
    let heading: Vec<String> = heads.iter().map(ToString::to_string).collect();
    let mut lines = vec![
        line(&heading),
        line(&heads.iter().map(rule).collect::<Vec<_>>()),
    ];
    lines.extend(rows.map(|row| line(&row.iter().map(cell).collect::<Vec<_>>())));
    if lines.len() == 2 {
        lines.push(line(&heads.iter().map(none).collect::<Vec<_>>()));
    }
    lines.join("\n")
}

fn ages(first: &FirstStored) -> String {
    let rows = [
        ("at most a day ago", first.within_a_day),
        ("at most 30 days ago", first.within_a_month),
        ("at most a year ago", first.within_a_year),
        ("longer ago", first.longer_ago),
    ];
    let rows = rows
        .into_iter()
        .map(|(age, cvs)| vec![age.to_owned(), cvs.to_string()]);
    table(&["first stored", "CVs"], rows)
}

fn categories(categories: &[Category]) -> String {
    let rows = categories.iter().flat_map(|category| {
        category.fields.iter().map(|field| {
            let share = format!("{:.0} %", field.share * 100.0);
            let name = format!("`{}`", field.field);
            vec![category.category.to_owned(), name, share]
        })
    });
    table(&["category", "field", "CVs"], rows)
}

fn recipients(recipients: &[Recipient]) -> String {
    let rows = recipients
        .iter()
        .map(|it| vec![it.kind.to_owned(), it.name.clone(), it.receives.clone()]);
    table(&["kind", "name", "receives"], rows)
}

fn retention(retention: &[Retention]) -> String {
    let rows = retention.iter().map(|it| {
        let table = format!("`{}`", it.table);
        vec![table, it.holds.to_owned(), it.kept.clone()]
    });
    table(&["table", "holds", "kept"], rows)
}

fn measures(measures: &[Measure]) -> String {
    let rows = measures
        .iter()
        .map(|it| vec![it.measure.to_owned(), it.state.clone()]);
    table(&["measure", "state"], rows)
}

fn listed(values: &[String]) -> String {
    let values: Vec<_> = values.iter().map(|it| format!("`{it}`")).collect();
    if values.is_empty() {
        return "none".to_owned();
    }
    values.join(", ")
}

/// The report as a document.
pub(super) fn markdown(report: &Report) -> String {
    format!(
        "# Register of processing: CVs from VDAB (GDPR article 30)\n\n\
         Written by cvsync {version} on {at} from its live configuration.\n\n\
         ## For you to fill in\n\n\
         | part | value |\n| --- | --- |\n\
         | Controller and contact | {FILL_IN} |\n\
         | Data protection officer | {FILL_IN} |\n\
         | Purposes | {FILL_IN} |\n\
         | Legal basis | {FILL_IN} |\n\
         | Transfers outside the EEA | {FILL_IN} |\n\n\
         ## Data subjects\n\n\
         Candidates who let partners of VDAB see their CV. Source: {source}. CVs by the time since they were first stored, \
         for the duty to inform (article 14):\n\n{ages}\n\n\
         ## Categories of personal data\n\n\
         Fields with a value in a sample of {sampled} stored CVs, and the share of CVs that have them. Not stored: {excluded}. \
         Filter of stored CVs: {filter}.\n\n{categories}\n\n\
         ## Recipients\n\n{recipients}\n\n\
         ## Retention\n\n{retention}\n\n\
         Remains in backups, logs and other systems: docs/privacy.md.\n\n\
         ## Security measures\n\n{measures}",
        version = report.version,
        at = report.written_at,
        source = report.source,
        sampled = report.sampled,
        excluded = listed(&report.excluded),
        filter = listed(&report.filter),
        ages = ages(&report.first_stored),
        categories = categories(&report.categories),
        recipients = recipients(&report.recipients),
        retention = retention(&report.retention),
        measures = measures(&report.measures),
    )
}
