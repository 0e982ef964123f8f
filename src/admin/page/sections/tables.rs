//! Windows, instances, the last comparison, and the configuration.

use maud::{Markup, html};

use crate::admin::Audience;
use crate::admin::page::View;
use crate::config::Shown;
use crate::model::words::{count, number, span};
use crate::model::{DriftKind, Job};
use crate::store::reconcile_run::ReconcileRun;
use crate::store::sync_window::SyncWindow;

pub(in crate::admin::page) fn windows(view: &View) -> Markup {
    html! {
        section #windows aria-labelledby="windows-title" {
            h2 #windows-title { "Windows" }
            @if view.page.windows.is_empty() {
                p { "No window has been listed yet." }
            } @else {
                div .scroll role="region" aria-label="Table of windows" tabindex="0" {
                    table {
                        caption { "Spans of VDAB's time, newest first" }
                        thead {
                            tr {
                                th scope="col" { "van" }
                                th scope="col" { "tot" }
                                th scope="col" { "state" }
                                @for head in ["listed", "inserted + updated", "deleted", "unchanged", "skipped", "parked", "held"] {
                                    th scope="col" .number { (head) }
                                }
                                th scope="col" { "started" }
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
    let cvs = [
        row.listed,
        row.upserted,
        row.deleted,
        row.unchanged,
        row.skipped,
        row.parked,
        row.held,
    ];
    html! {
        tr {
            th scope="row" { (view.now.time(row.van)) }
            td { (view.now.time(row.tot)) }
            td { (row.state) @if !row.fresh { ", repeated" } }
            @for cvs in cvs { td .number { (number(cvs)) } }
            td { (view.now.time(row.started_at)) }
        }
    }
}

pub(in crate::admin::page) fn instances(view: &View) -> Markup {
    let leader = view.leader.as_ref();
    let leads = |name: &str| leader.is_some_and(|leader| leader.alive && leader.holder == name);
    html! {
        section #instances aria-labelledby="instances-title" {
            h2 #instances-title { "Instances" }
            @match leader {
                Some(leader) if leader.alive => p { strong { (leader.holder) } " leads." },
                Some(leader) => p { "No instance leads now; the last leader was " (leader.holder) "." },
                None => p { "No instance has led yet." },
            }
            @if !view.page.instances.is_empty() {
                div .scroll role="region" aria-label="Table of instances" tabindex="0" {
                    table {
                        thead {
                            tr {
                                @for head in ["instance", "role", "version", "started", "last seen"] {
                                    th scope="col" { (head) }
                                }
                            }
                        }
                        tbody {
                            @for row in &view.page.instances {
                                tr {
                                    th scope="row" { (row.name) @if row.name == view.name { " (this one)" } }
                                    td {
                                        @if leads(&row.name) { "leader" }
                                        @else if row.silent { "not seen" }
                                        @else { "standby" }
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

pub(in crate::admin::page) fn reconciled(view: &View) -> Markup {
    html! {
        section #reconcile aria-labelledby="reconcile-title" {
            h2 #reconcile-title { "Last comparison" }
            @match &view.page.reconciled {
                Some(run) => (comparison(view, run)),
                None => p { "The database has not been compared with VDAB yet. CVSYNC_RECONCILE_SCHEDULE says when that is done." },
            }
            @if let Some(at) = view.status.last_success.get(&Job::Relist).copied() {
                p { "The daily second listing, which finds late changes, last succeeded " (view.now.ago(at)) "." }
            }
            @for (kind, names) in view.status.schema_drift.iter().filter(|(_, names)| !names.is_empty()) {
                p {
                    (match kind {
                        DriftKind::NewField => "New fields in VDAB's documents, stored like all others: ",
                        DriftKind::NewStatus => "Unknown status words, so the detail call decides: ",
                        DriftKind::Type => "Fields with another type than in the contract, stored as received: ",
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

fn comparison(view: &View, run: &ReconcileRun) -> Markup {
    html! {
        p {
            "Finished " (view.now.ago(run.finished_at)) " (" (view.now.time(run.finished_at)) ") after "
            (span(run.finished_at - run.started_at)) ". VDAB listed " (count(run.listed, "CV"))
            ". Compared with them: " (number(run.missing)) " missing here (fetched), "
            (number(run.stale)) " outdated (fetched again), "
            (number(run.extra)) " no longer at VDAB (deleted)"
            @if run.held > 0 { ", " (count(run.held, "delete")) " held" }
            "."
        }
    }
}

/// The URL of a database names its user.
fn value<'a>(view: &View, variable: &'a Shown) -> &'a str {
    let is_private =
        view.token.audience() == Audience::Public && variable.name.contains("_DATABASE_");
    match &variable.value {
        Some(_) if is_private => "********",
        Some(value) => value,
        None => "-",
    }
}

pub(in crate::admin::page) fn configuration(view: &View) -> Markup {
    html! {
        section #configuration aria-labelledby="configuration-title" {
            h2 #configuration-title { "Configuration" }
            details #variables {
                summary { "Effective value of each variable; secrets are masked" }
                div .scroll role="region" aria-label="Variables" tabindex="0" {
                    table {
                        thead {
                            tr {
                                th scope="col" { "variable" }
                                th scope="col" { "value" }
                                th scope="col" { "origin" }
                            }
                        }
                        tbody {
                            @for variable in view.shown {
                                tr {
                                    th scope="row" title=(variable.meaning) { code { (variable.name) } }
                                    td { code { (value(view, variable)) } }
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
