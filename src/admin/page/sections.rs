//! What stands below the sentence, a section each.

use chrono::TimeDelta;
use maud::{Markup, html};

use super::View;
use crate::admin::Phase;
use crate::model::words::{count, number, span};
use crate::model::{DriftKind, Job, Tally};
use crate::store::run_request::{RunRequest, What};
use crate::store::sync_window::SyncWindow;
use crate::sync::Snapshot;

/// A button that sends an action; `body` is JSON, `confirm` a question.
fn button(label: &str, path: &str, body: &str, confirm: Option<&str>) -> Markup {
    html! {
        button type="button" .needs-script data-post=(path) data-body=(body) data-confirm=[confirm] { (label) }
    }
}

pub(super) fn figures(view: &View) -> Markup {
    let (status, now) = (&view.status, view.now);
    let synced = status.last_success.get(&Job::Sync);
    html! {
        dl .figures {
            div {
                dt { "Behind VDAB" }
                dd { (status.lag_seconds.map_or("not known".to_owned(), |lag| span(TimeDelta::seconds(lag)))) }
            }
            div {
                dt { "Complete up to" }
                dd { @if let Some(at) = status.watermark { (now.time(at)) } @else { "nothing yet" } }
            }
            div {
                dt { "CVs stored" }
                dd { (status.stored.map_or("not known".to_owned(), number)) }
            }
            div {
                dt { "Last sync" }
                dd { @if let Some(at) = synced { (now.ago(*at)) } @else { "none yet" } }
            }
            div {
                dt { "Next sync" }
                dd {
                    @match status.next_run_at {
                        Some(at) if at > now.at => (now.time(at)),
                        _ if status.pause.is_some() => "paused",
                        _ if status.phase == Phase::Standby => "elsewhere",
                        _ => "now",
                    }
                }
            }
        }
    }
}

/// Always there, and as high whether there is one or not: what lies below keeps its place.
pub(super) fn run(view: &View) -> Markup {
    html! {
        section #run aria-labelledby="run-title" {
            @match &view.status.run {
                Some(run) => (under_way(run)),
                None => {
                    h2 #run-title { "The last sync" }
                    div .no-progress {}
                    p {
                        @match &view.status.last_run {
                            Some(run) => {
                                "Ended " (view.now.ago(run.finished_at)) ": "
                                @match (&run.summary, &run.error) {
                                    (Some(done), _) => { (count(done.calls, "call")) ", " (count(done.tally.listed, "CV")) " listed. " (in_words(&done.tally)) "." },
                                    (None, Some(error)) => { "it failed: " (error) },
                                    (None, None) => {},
                                }
                            },
                            None => "None by this instance yet.",
                        }
                    }
                },
            }
        }
    }
}

fn under_way(run: &Snapshot) -> Markup {
    let done = run.tally.done();
    let to_go = run.eta_seconds.map_or_else(
        || "time to go not known yet".to_owned(),
        |eta| {
            let eta = i64::try_from(eta).unwrap_or(i64::MAX / 1_000);
            format!("about {} to go", span(TimeDelta::seconds(eta)))
        },
    );
    html! {
        h2 #run-title { "The run under way" }
        @if run.expected > 0 {
            progress #run-progress aria-labelledby="run-title" max=(run.expected) value=(done.min(run.expected)) {}
            p {
                (number(done)) " of about " (count(run.expected, "CV")) ", "
                (format!("{:.0}", run.per_second)) " a second, " (to_go) ". "
                (in_words(&run.tally)) "."
            }
        } @else {
            progress #run-progress aria-labelledby="run-title" {}
            p { "Nothing is listed yet." }
        }
    }
}

fn in_words(tally: &Tally) -> String {
    let parts = [
        (tally.inserted, "new"),
        (tally.updated, "changed"),
        (tally.deleted, "gone"),
        (
            tally.unchanged + tally.skipped + tally.superseded,
            "as they were",
        ),
        (tally.parked, "parked"),
        (tally.held, "held"),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, what)| format!("{} {what}", number(n)))
        .collect();
    if parts.is_empty() {
        "Nothing written so far".to_owned()
    } else {
        parts.join(", ")
    }
}

pub(super) fn actions(view: &View) -> Markup {
    html! {
        section #actions aria-labelledby="actions-title" {
            h2 #actions-title { "Steer it" }
            @if view.can_act {
                div .buttons {
                    (button("Sync now", "/api/sync", "", None))
                    @if view.status.pause.is_some() {
                        (button("Resume", "/api/resume", "", None))
                    } @else {
                        (button("Pause", "/api/pause", r#"{"reason":"from the status page"}"#,
                            Some("Pause all instances? Nothing is lost, and nothing is synced until somebody resumes.")))
                    }
                }
                form #resync .needs-script .line {
                    label for="resync-id" { "Fetch one CV again, by its id" }
                    span .field {
                        input #resync-id autocomplete="off" spellcheck="false"
                            pattern="[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}" required;
                        button { "Fetch" }
                    }
                }
                noscript {
                    p { "The buttons need JavaScript. The commands " code { "cvsync sync" } ", " code { "cvsync pause" }
                        ", " code { "cvsync parked retry" } " and " code { "cvsync deletes" } " do the same." }
                }
            } @else {
                p {
                    "Actions are off here: set " code { "CVSYNC_ADMIN_TOKEN" } " to turn them on. The commands "
                    code { "cvsync sync" } ", " code { "cvsync pause" } ", " code { "cvsync parked" } " and "
                    code { "cvsync deletes" } " do the same."
                }
            }
            @if !view.page.asked.is_empty() { (asked(view)) }
        }
    }
}

fn asked(view: &View) -> Markup {
    let what = |row: &RunRequest| match row.what {
        What::Sync => "sync",
        What::Resync => "fetch one CV",
        What::Approve => "approved deletes",
    };
    let state = |row: &RunRequest| match (row.done_at, row.taken_at, row.failed) {
        (Some(at), _, false) => format!("done {}", view.now.ago(at)),
        (Some(at), _, true) => format!("failed {}", view.now.ago(at)),
        (None, Some(_), _) => "under way".to_owned(),
        (None, None, _) => "waits for the leading instance".to_owned(),
    };
    html! {
        ul #asked .quiet {
            @for row in &view.page.asked {
                li { (what(row)) ", asked for " (view.now.ago(row.requested_at)) ": " (state(row)) }
            }
        }
    }
}

/// What a class of parked CVs means; `docs/runbook.md` says more.
fn class_in_words(class: &str) -> &str {
    match class {
        "bad_id" => "what VDAB listed is no id of a CV",
        "refused" => "VDAB refuses this CV",
        "server_error" => "VDAB fails on this CV",
        "transport" => "the answer does not arrive whole",
        "unreadable" => "the answer cannot be read",
        "too_large" => "the answer is too large",
        "unstorable" => "PostgreSQL cannot hold it",
        _ => "",
    }
}

pub(super) fn parked(view: &View) -> Markup {
    let parked = &view.status.parked;
    let all: i64 = parked.values().sum();
    html! {
        section #parked aria-labelledby="parked-title" {
            h2 #parked-title { "Parked CVs" }
            @if all == 0 {
                p { "None: every CV that VDAB listed could be applied." }
            } @else {
                p { "CVs that could not be applied. Each is tried again by itself, with pauses that grow up to a day." }
                table {
                    thead { tr { th scope="col" { "reason" } th scope="col" .number { "CVs" } } }
                    tbody {
                        @for (class, n) in parked {
                            tr {
                                th scope="row" { code { (class) } " " (class_in_words(class)) }
                                td .number { (number(*n)) }
                            }
                        }
                    }
                }
                @if view.can_act {
                    div .buttons {
                        (button(&format!("Retry all {}", number(all)), "/api/parked/retry", "", None))
                        button type="button" .needs-script data-list="parked" { "Show ids" }
                    }
                    div #parked-list data-keep="" {}
                }
            }
        }
    }
}

pub(super) fn held(view: &View) -> Markup {
    let held = view.status.held_deletes.unwrap_or(0);
    html! {
        section #held aria-labelledby="held-title" {
            h2 #held-title { "Held deletes" }
            @if held == 0 {
                p { "None: the delete brake holds nothing back." }
            } @else {
                p {
                    "VDAB says that " (count(held, "CV")) " " @if held == 1 { "is" } @else { "are" }
                    " gone. That is more than usual, or there is no proof of it. They are kept until you decide, or until VDAB proves it; everything else keeps syncing."
                }
                @if view.can_act {
                    @let all = format!("{{\"all\":{held}}}");
                    @let approve = format!("Delete {}? VDAB is asked for each once more, and those that are gone there are deleted here, for good.", count(held, "CV"));
                    @let discard = format!("Keep {}? The next listing or comparison decides anew.", count(held, "CV"));
                    div .buttons {
                        (button(&format!("Approve all {}", number(held)), "/api/deletes/approve", &all, Some(&approve)))
                        (button(&format!("Discard all {}", number(held)), "/api/deletes/discard", &all, Some(&discard)))
                        button type="button" .needs-script data-list="deletes" { "Show ids" }
                    }
                    div #deletes-list data-keep="" {}
                } @else {
                    p { "Decide with " code { "cvsync deletes" } "." }
                }
            }
        }
    }
}

pub(super) fn windows(view: &View) -> Markup {
    html! {
        section #windows aria-labelledby="windows-title" {
            h2 #windows-title { "Windows" }
            @if view.page.windows.is_empty() {
                p { "No window was listed yet." }
            } @else {
                div .scroll role="region" aria-label="Table of windows" tabindex="0" {
                    table {
                        caption { "Spans of VDAB's time, newest first" }
                        thead {
                            tr {
                                th scope="col" { "van" }
                                th scope="col" { "tot" }
                                th scope="col" { "state" }
                                th scope="col" .number { "listed" }
                                th scope="col" .number { "written" }
                                th scope="col" .number { "deleted" }
                                th scope="col" .number { "as they were" }
                                th scope="col" .number { "parked" }
                                th scope="col" .number { "held" }
                                th scope="col" { "began" }
                            }
                        }
                        tbody { @for row in &view.page.windows { (window(view, row)) } }
                    }
                }
            }
        }
    }
}

fn window(view: &View, row: &SyncWindow) -> Markup {
    html! {
        tr {
            th scope="row" { (view.now.time(row.van)) }
            td { (view.now.time(row.tot)) }
            td { (row.state) @if !row.fresh { ", again" } }
            td .number { (number(row.listed)) }
            td .number { (number(row.upserted)) }
            td .number { (number(row.deleted)) }
            td .number { (number(row.unchanged + row.skipped)) }
            td .number { (number(row.parked)) }
            td .number { (number(row.held)) }
            td { (view.now.time(row.started_at)) }
        }
    }
}

pub(super) fn instances(view: &View) -> Markup {
    let leader = view.leader.as_ref();
    let leads = |name: &str| leader.is_some_and(|leader| leader.alive && leader.holder == name);
    html! {
        section #instances aria-labelledby="instances-title" {
            h2 #instances-title { "Instances" }
            @match leader {
                Some(leader) if leader.alive => p { strong { (leader.holder) } " leads." },
                Some(leader) => p { "Nobody leads now; " (leader.holder) " did last." },
                None => p { "Nobody has led yet." },
            }
            @if !view.page.instances.is_empty() {
                div .scroll role="region" aria-label="Table of instances" tabindex="0" {
                    table {
                        thead {
                            tr {
                                th scope="col" { "instance" }
                                th scope="col" { "role" }
                                th scope="col" { "version" }
                                th scope="col" { "since" }
                                th scope="col" { "seen" }
                            }
                        }
                        tbody {
                            @for row in &view.page.instances {
                                tr {
                                    th scope="row" { (row.name) @if row.name == view.name { " (this one)" } }
                                    td {
                                        @if leads(&row.name) { "leads" }
                                        @else if row.silent { "silent" }
                                        @else { "stands by" }
                                    }
                                    td { (row.version) }
                                    td { (view.now.time(row.started_at)) }
                                    td { (view.now.ago(row.seen_at)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

pub(super) fn reconciled(view: &View) -> Markup {
    html! {
        section #reconcile aria-labelledby="reconcile-title" {
            h2 #reconcile-title { "Last comparison" }
            @match &view.page.reconciled {
                Some(run) => p {
                    "The whole of VDAB was compared with the database " (view.now.ago(run.finished_at)) " ("
                    (view.now.time(run.finished_at)) "): " (count(run.listed, "CV")) " listed, "
                    (number(run.missing)) " missing here, " (number(run.extra)) " too many, " (number(run.stale)) " out of date"
                    @if run.held > 0 { ", " (count(run.held, "delete")) " held" }
                    ". It took "
                    (span(run.finished_at - run.started_at)) "."
                },
                None => p { "The whole of VDAB has not been compared with the database yet; that is done each night." },
            }
            @if let Some(at) = view.status.last_success.get(&Job::Relist).copied() {
                p { "The second listing, for late changes, was last done " (view.now.ago(at)) "." }
            }
            @for (kind, names) in view.status.schema_drift.iter().filter(|(_, names)| !names.is_empty()) {
                p {
                    (match kind {
                        DriftKind::NewField => "New fields in VDAB's documents, stored like all others: ",
                        DriftKind::NewStatus => "Status words that nobody told cvsync; the documents decide: ",
                        DriftKind::Type => "Of another type than the contract says, and stored as they are: ",
                    })
                    @for (at, name) in names.iter().enumerate() {
                        @if at > 0 { ", " }
                        code { (name) }
                    }
                    "."
                }
            }
        }
    }
}

pub(super) fn configuration(view: &View) -> Markup {
    html! {
        section #configuration aria-labelledby="configuration-title" {
            h2 #configuration-title { "Configuration" }
            details #variables {
                summary { "Each variable, as it is in effect; secrets are masked" }
                div .scroll role="region" aria-label="Variables" tabindex="0" {
                    table {
                        thead {
                            tr {
                                th scope="col" { "variable" }
                                th scope="col" { "value" }
                                th scope="col" { "from" }
                            }
                        }
                        tbody {
                            @for variable in view.shown {
                                tr {
                                    th scope="row" title=(variable.meaning) { code { (variable.name) } }
                                    td { code { (variable.value.as_deref().unwrap_or("-")) } }
                                    td { (variable.origin) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
