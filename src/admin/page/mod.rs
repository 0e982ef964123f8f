//! `/`: the status page, for an operator who is woken at night; the most important facts come first.
//!
//! It is rendered from values in memory, without a call to the database or VDAB, so it also works when they are down. It works
//! without JavaScript; with it, the page updates itself and its buttons work.

mod assets;
mod plot;
mod plots;
mod sections;
mod words;

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use chrono::TimeDelta;
use maud::{DOCTYPE, Markup, html};
use serde::Deserialize;

use self::words::Now;
use super::guard::{Peer, Token};
use super::sample::{Numbers, PageNumbers};
use super::{Admin, Audience, Status, status};
use crate::config::Shown;
use crate::model::{Health, visible};
use crate::store::history::Minute;
use crate::store::lease::Leader;

/// Loads nothing from other sites and nothing inline; cannot be framed.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

struct View<'a> {
    status: Status,
    now: Now,
    limit: TimeDelta,
    page: Arc<PageNumbers>,
    leader: Option<Leader>,
    history: Arc<[Minute]>,
    shown: &'a [Shown],
    name: String,
    /// The token of the request.
    token: Token,
    can_act: bool,
    per_minute: u32,
}

pub(super) fn router() -> Router<Arc<Admin>> {
    Router::new()
        .route("/", get(page))
        .route("/assets/{name}", get(assets::asset))
}

#[derive(Debug, Deserialize)]
struct Part {
    /// `main` for the part that changes.
    part: Option<String>,
}

async fn page(
    State(admin): State<Arc<Admin>>,
    Extension(peer): Extension<Peer>,
    Query(Part { part }): Query<Part>,
    headers: HeaderMap,
) -> Response {
    let view = View::of(&admin, admin.guard.token(&headers, peer).await);
    let html = if part.as_deref() == Some("main") {
        main(&view)
    } else {
        whole(&view)
    };
    let policy = (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(POLICY),
    );
    ([policy], Html(visible(&html.into_string()))).into_response()
}

impl<'a> View<'a> {
    fn of(admin: &'a Admin, token: Token) -> Self {
        let audience = token.audience();
        let status = status(admin, audience);
        let settings = admin.view.settings();
        let now = Now {
            at: admin.view.now(),
            zone: settings.schedule.zone,
        };
        let limit = settings.in_step_within(now.at);
        let sample = admin.board.sample();
        let mut numbers = sample.and_then(Result::ok).unwrap_or_default();
        let mut name = admin.board.name();
        if audience == Audience::Public {
            name = anonymous(&mut numbers, &name);
        }
        Self {
            status,
            now,
            limit,
            page: numbers.page,
            leader: numbers.leader,
            history: admin.board.history(),
            shown: &admin.shown,
            name,
            token,
            can_act: admin.guard.has_token(),
            per_minute: admin.view.per_minute(),
        }
    }
}

/// Numbers the instances in place of their names. Returns what stands for `own`.
fn anonymous(numbers: &mut Numbers, own: &str) -> String {
    let names: Vec<String> = numbers
        .page
        .instances
        .iter()
        .map(|row| row.name.clone())
        .collect();
    let number = |name: &str| {
        let at = names.iter().position(|known| known == name);
        at.map_or_else(
            || "another instance".to_owned(),
            |at| format!("instance {}", at + 1),
        )
    };
    for row in &mut Arc::make_mut(&mut numbers.page).instances {
        row.name = number(&row.name);
    }
    if let Some(leader) = &mut numbers.leader {
        leader.holder = number(&leader.holder);
    }
    number(own)
}

fn whole(view: &View) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" data-zone=(view.now.zone.name()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (view.status.health.first.headline) " cvsync" }
                link rel="icon" type="image/svg+xml" href="/assets/icon.svg";
                link rel="stylesheet" href="/assets/style.css";
                script type="module" src="/assets/page.js" {}
                noscript { meta http-equiv="refresh" content="10"; }
            }
            body {
                a .skip href="#main" { "Skip to status" }
                header {
                    p .brand { "cvsync" span .quiet { " keeps this database in step with VDAB's CVs" } }
                    @if view.can_act { (token()) }
                }
                p #lost role="alert" hidden {}
                (main(view))
                p #announce .unseen role="status" {}
                p #said role="status" hidden {}
                dialog #ask aria-labelledby="ask-text" {
                    p #ask-text {}
                    div .buttons {
                        button type="button" #ask-no { "No" }
                        button type="button" #ask-yes { "Yes" }
                    }
                }
                footer {
                    p {
                        "cvsync " (view.status.version) ". For machines: "
                        a href="/api/status" { "status" } ", " a href="/readyz" { "readiness" } ", "
                        a href="/metrics" { "metrics" } "."
                    }
                }
            }
        }
    }
}

/// The token is typed once, kept by the tab, and sent with actions and updates.
fn token() -> Markup {
    html! {
        form #token .needs-script {
            label for="token-field" { "Admin token" }
            span .field {
                input #token-field type="password" autocomplete="off" required;
                button { "Use" }
            }
        }
        p #token-held hidden {
            "Actions are on in this tab. "
            button type="button" #token-forget { "Forget the token" }
        }
    }
}

fn main(view: &View) -> Markup {
    let Health {
        light,
        first,
        others,
        ..
    } = &view.status.health;
    let wrong = (view.token == Token::Wrong).then_some("wrong");
    html! {
        main #main tabindex="-1" data-state=(first.reason) data-light=(light.as_str()) data-token=[wrong] {
            section #state {
                h1 { span .light aria-hidden="true" {} (first.headline) }
                @if let Some(since) = first.since {
                    p { "Since " (view.now.time(since)) ", " (view.now.ago(since)) "." }
                }
                @if let Some(next) = &first.next { p { "Next: " (words::marked(next)) "." } }
                @if let Some(action) = &first.action { p { strong { "Do: " } (words::marked(action)) "." } }
                @if !others.is_empty() {
                    ul #reasons { @for finding in others { li { (words::marked(&finding.to_string())) "." } } }
                }
            }
            (sections::figures(view))
            (sections::run(view))
            (sections::actions(view))
            section #history aria-labelledby="history-title" {
                h2 #history-title { "Last day" }
                (plots::plots(&view.history, view.now, view.limit, view.per_minute))
            }
            div .pair {
                (sections::parked(view))
                (sections::held(view))
            }
            (sections::windows(view))
            div .pair {
                (sections::instances(view))
                (sections::reconciled(view))
            }
            (sections::configuration(view))
            p .quiet {
                "As of " (view.now.time(view.now.at)) ". Times are in the time zone " (view.now.zone.name()) "."
            }
        }
    }
}
