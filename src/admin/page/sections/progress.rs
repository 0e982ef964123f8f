//! Key figures, and the current or last run.

use chrono::TimeDelta;
use maud::{Markup, html};

use crate::admin::page::View;
use crate::admin::{LastRun, Phase};
use crate::model::words::{count, number, span};
use crate::model::{Job, Tally};
use crate::sync::Snapshot;

pub(in crate::admin::page) fn figures(view: &View) -> Markup {
    let (status, now) = (&view.status, view.now);
    let synced = status.last_success.get(&Job::Sync);
    html! {
        dl .figures {
            div {
                dt { "Behind VDAB" }
                dd { (status.live.as_ref().map_or("unknown".to_owned(), |live| span(TimeDelta::seconds(live.lag_seconds)))) }
            }
            @if let Some(backlog) = &status.backlog {
                div {
                    dt { "Backlog" }
                    dd {
                        @if let Some(share) = backlog.share { (format!("{:.0} %", share * 100.0)) } @else { "waits" }
                    }
                }
            }
            div {
                dt { "Complete up to" }
                dd { @if let Some(at) = status.watermark { (now.time(at)) } @else { "nothing yet" } }
            }
            div {
                dt { "CVs stored" }
                dd { (status.stored.map_or("unknown".to_owned(), number)) }
            }
            @if let Some(refit) = &status.refit {
                div {
                    dt { "Refit" }
                    dd { (refit) }
                }
            }
            @if let Some(suppressed @ 1..) = status.suppressed {
                div {
                    dt { "CVs suppressed" }
                    dd { (number(suppressed)) }
                }
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
                        _ if status.phase == Phase::Standby => "on the leader",
                        _ => "now",
                    }
                }
            }
        }
    }
}

/// Has the same height with and without a current run, so that the sections below do not move.
pub(in crate::admin::page) fn run(view: &View) -> Markup {
    html! {
        section #run aria-labelledby="run-title" {
            @match &view.status.run {
                Some(run) => (current(run)),
                None => {
                    h2 #run-title { "Last sync" }
                    div .no-progress {}
                    p {
                        @match &view.status.last_run {
                            Some(run) => { "Finished " (view.now.ago(run.finished_at)) ": " (result(run)) }
                            None => "This instance has not finished a sync yet.",
                        }
                    }
                },
            }
        }
    }
}

fn result(run: &LastRun) -> String {
    match (&run.summary, &run.error) {
        (Some(done), _) => format!(
            "{}, {} listed: {}.",
            count(done.calls, "call"),
            count(done.tally.listed, "CV"),
            counts(&done.tally)
        ),
        (None, Some(error)) => format!("it failed: {error}"),
        (None, None) => String::new(),
    }
}

fn current(run: &Snapshot) -> Markup {
    let done = run.tally.done();
    let remaining = run.eta_seconds.map_or_else(
        || "remaining time not known yet".to_owned(),
        |eta| {
            let eta = i64::try_from(eta).unwrap_or(i64::MAX / 1_000);
            format!("about {} to go", span(TimeDelta::seconds(eta)))
        },
    );
    html! {
        h2 #run-title { "Current run" }
        @if run.expected > 0 {
            progress #run-progress aria-labelledby="run-title" max=(run.expected) value=(done.min(run.expected)) {}
            p {
                (number(done)) " of about " (count(run.expected, "CV")) ", "
                (format!("{:.0}", run.per_second)) " per second, " (remaining) ": "
                (counts(&run.tally)) "."
            }
        } @else {
            progress #run-progress aria-labelledby="run-title" {}
            p { "No CV is listed yet." }
        }
    }
}

/// `2 inserted, 5 updated, 1,200 unchanged`
fn counts(tally: &Tally) -> String {
    let counts = [
        (tally.inserted, "inserted"),
        (tally.updated, "updated"),
        (tally.deleted, "deleted"),
        (tally.unchanged, "unchanged"),
        (tally.skipped, "skipped"),
        (tally.superseded, "superseded"),
        (tally.parked, "parked"),
        (tally.held, "held"),
    ];
    let counts = counts.into_iter().filter(|(cvs, _)| *cvs > 0);
    let counts: Vec<_> = counts
        .map(|(cvs, result)| format!("{} {result}", number(cvs)))
        .collect();
    if counts.is_empty() {
        "no changes".to_owned()
    } else {
        counts.join(", ")
    }
}
