//! CVs that wait: parked ones, and held deletes.

use maud::{Markup, html};

use super::button;
use crate::admin::page::View;
use crate::model::words::{count, number};

/// The meaning of an error class; `docs/runbook.md` says more.
fn meaning(class: &str) -> &'static str {
    match class {
        "bad_id" => "VDAB lists an invalid id",
        "refused" => "VDAB rejects this CV",
        "server_error" => "VDAB fails on this CV",
        "transport" => "no complete response",
        "unreadable" => "unreadable response",
        "too_large" => "the response is too large",
        "unproven" => "VDAB lists the CV and calls it gone",
        "unstorable" => "PostgreSQL cannot store the document",
        _ => "",
    }
}

pub(in crate::admin::page) fn parked(view: &View) -> Markup {
    let parked = &view.status.parked;
    let all: i64 = parked.values().sum();
    html! {
        section #parked aria-labelledby="parked-title" {
            h2 #parked-title { "Parked CVs" }
            @if all == 0 {
                p { "None: every listed CV could be fetched and stored." }
            } @else {
                p { "CVs that could not be fetched or stored. cvsync retries each, at least once a day." }
                table {
                    thead { tr { th scope="col" { "reason" } th scope="col" .number { "CVs" } } }
                    tbody {
                        @for (class, n) in parked {
                            tr {
                                th scope="row" { code { (class) } " " (meaning(class)) }
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

pub(in crate::admin::page) fn held(view: &View) -> Markup {
    let held = view.status.held_deletes.unwrap_or(0);
    let cvs = count(held, "CV");
    html! {
        section #held aria-labelledby="held-title" {
            h2 #held-title { "Held deletes" }
            @if held == 0 {
                p { "None: no delete needs a decision." }
            } @else {
                p {
                    (cvs) " " @if held == 1 { "is" } @else { "are" }
                    " gone at VDAB, or no longer match CVSYNC_KEEP. That is more than usual, or there is no proof of it. "
                    "They stay in the database until you decide, or until VDAB proves it. Everything else keeps syncing."
                }
                @if view.can_act {
                    @let all = format!("{{\"all\":{held}}}");
                    @let approve = format!("Delete {cvs}? cvsync asks VDAB for each once more and permanently deletes those that are gone.");
                    @let discard = format!("Keep {cvs}? The next listing or comparison decides again.");
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
