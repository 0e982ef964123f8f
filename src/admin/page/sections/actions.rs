//! Buttons for actions, and the runs that were requested.

use maud::{Markup, html};

use super::button;
use crate::admin::page::View;
use crate::store::run_request::{RunRequest, What};

pub(in crate::admin::page) fn actions(view: &View) -> Markup {
    html! {
        section #actions aria-labelledby="actions-title" {
            h2 #actions-title { "Actions" }
            @if view.can_act {
                div .buttons {
                    (button("Sync now", "/api/sync", "", None))
                    @if view.status.pause.is_some() {
                        (button("Resume", "/api/resume", "", None))
                    } @else {
                        (button("Pause", "/api/pause", r#"{"reason":"from the status page"}"#,
                            Some("Pause syncing on all instances? No data is lost. Nothing is synced until somebody resumes.")))
                    }
                }
                form #resync .needs-script .line {
                    label for="resync-id" { "Fetch one CV again (id)" }
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
                    "To turn actions on, set " code { "CVSYNC_ADMIN_TOKEN" } " and restart the daemon. The commands "
                    code { "cvsync sync" } ", " code { "cvsync pause" } ", " code { "cvsync parked" } " and "
                    code { "cvsync deletes" } " do the same."
                }
            }
            @if !view.page.asked.is_empty() {
                ul #asked .quiet {
                    @for row in &view.page.asked {
                        li { (kind(row)) ", requested " (view.now.ago(row.requested_at)) ": " (state(view, row)) }
                    }
                }
            }
        }
    }
}

fn kind(row: &RunRequest) -> &'static str {
    match row.what {
        What::Sync => "sync",
        What::Resync => "fetch one CV",
        What::Approve => "approved deletes",
    }
}

fn state(view: &View, row: &RunRequest) -> String {
    match (row.done_at, row.taken_at, row.failed) {
        (Some(at), _, false) => format!("done {}", view.now.ago(at)),
        (Some(at), _, true) => format!("failed {}", view.now.ago(at)),
        (None, Some(_), _) => "running".to_owned(),
        (None, None, _) => "waiting for the leader".to_owned(),
    }
}
