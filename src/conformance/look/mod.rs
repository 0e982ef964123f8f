//! Makes the calls, a few dozen GETs: each response can shape the next call.
//!
//! As in `judge`, each subject has a file: the form of calls, lists and their rows, documents, search.

mod asking;
mod documents;
mod lists;
mod rows;
mod search;

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::seen::{Seen, Trouble};
use crate::config::Source;
use crate::model::Window;
use crate::pauses::Pauses;
use crate::vdab::probe::{Outline, Probe, Sight};
use crate::vdab::{ApiError, Operation};

/// Possible names of `moreInformation`.
const MESSAGES: &[&str] = &[
    "message",
    "error",
    "errorMessage",
    "detail",
    "description",
    "omschrijving",
    "title",
];

/// Attempts of a call that fails for a temporary reason.
const ATTEMPTS: u32 = 4;

/// Age of the end of windows, so that two counts of a window agree.
const SETTLED: TimeDelta = TimeDelta::minutes(10);

type Row = BTreeMap<String, Outline>;

pub(super) struct Looker<'a> {
    probe: Probe,
    source: &'a Source,
    /// Whether findings have VDAB's words in full.
    in_full: bool,
    seen: Seen,
    /// The end of the requested windows.
    tot: DateTime<Utc>,
    /// The lowest value of `vanaf` that the source accepts.
    first: u64,
}

impl<'a> Looker<'a> {
    pub(super) fn new(probe: Probe, source: &'a Source, in_full: bool) -> Self {
        Self {
            tot: probe.client().time().now() - SETTLED,
            probe,
            source,
            in_full,
            seen: Seen {
                dialect: source.api.dialect.clone(),
                ..Seen::default()
            },
            first: 0,
        }
    }

    pub(super) async fn look(mut self) -> Seen {
        if let Err(error) = self.kandidaten().await {
            let trouble = self.trouble(&error);
            self.seen.trouble.get_or_insert(trouble);
        }
        if self.seen.trouble.is_none() {
            if let Err(error) = self.search().await {
                self.seen.search.trouble = Some(error.to_string());
            }
            if let Err(error) = self.reference().await {
                self.seen.reference.trouble = Some(error.to_string());
            }
        }
        let ahead = self.probe.client().time().local_clock_ahead();
        self.seen.ahead = ahead.map(|ahead| ahead.num_seconds());
        self.seen.calls = self.probe.answers_received();
        self.seen
    }

    fn trouble(&self, error: &ApiError) -> Trouble {
        let types: Vec<_> = self.seen.content_types.iter().map(String::as_str).collect();
        let (what, variables) = match error {
            ApiError::NotAnAnswer(_) => (
                format!("{error}; the content type is {}", types.join(", ")),
                vec!["CVSYNC_API_BASE_URL"],
            ),
            ApiError::Unreachable(_) => (error.to_string(), vec!["CVSYNC_API_BASE_URL"]),
            ApiError::Token(_) => (
                error.to_string(),
                vec![
                    "CVSYNC_OAUTH_TOKEN_URL",
                    "CVSYNC_OAUTH_CLIENT_ID",
                    "CVSYNC_OAUTH_CLIENT_SECRET",
                ],
            ),
            _ => (format!("{error}; try again later"), Vec::new()),
        };
        Trouble {
            what,
            variables,
            key: false,
        }
    }

    async fn kandidaten(&mut self) -> Result<(), ApiError> {
        if !self.begin().await? {
            return Ok(());
        }
        self.ends().await?;
        if !self.width().await? {
            return Ok(());
        }
        self.size().await?;
        let rows = self.sample().await?;
        let ids: Vec<_> = rows.iter().map(|row| self.id(row)).collect();
        self.paging(&ids).await?;
        self.capped(&ids).await?;
        self.halves().await?;
        self.limits().await?;
        self.details(&rows).await
    }

    async fn get(
        &mut self,
        operation: Operation,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<Sight, ApiError> {
        self.answer(operation, async |probe| {
            probe.get(operation, path, query).await
        })
        .await
    }

    /// Calls VDAB, retrying temporary failures.
    async fn answer(
        &mut self,
        operation: Operation,
        call: impl AsyncFn(&mut Probe) -> Result<Sight, ApiError>,
    ) -> Result<Sight, ApiError> {
        let mut pauses = Pauses::new(Duration::from_millis(500), Duration::from_secs(2));
        let mut attempts = 1;
        loop {
            let answer = call(&mut self.probe).await;
            if let Ok(sight) = &answer {
                self.note(operation, sight);
            }
            // A temporary failure must not count as a refusal.
            match answer.and_then(lasting) {
                Err(error) if attempts < ATTEMPTS && passes(&error) => {}
                answer => return answer,
            }
            attempts += 1;
            tokio::time::sleep(pauses.next_pause()).await;
        }
    }

    /// A page; without `vanaf` and `aantal` where they are `None`.
    async fn bulk(
        &mut self,
        window: Window,
        vanaf: Option<u64>,
        aantal: Option<u64>,
    ) -> Result<Sight, ApiError> {
        let dialect = self.seen.dialect.clone();
        let (van, tot) = dialect.ends(window);
        let name = |ours| dialect.names.of(ours);
        let mut query = vec![(name("van"), van), (name("tot"), tot)];
        query.extend(vanaf.map(|vanaf| (name("vanaf"), vanaf.to_string())));
        query.extend(aantal.map(|aantal| (name("aantal"), aantal.to_string())));
        self.get(Operation::Bulk, &["kandidaten", "bulk"], &query)
            .await
    }

    /// Notes the facts that every response shows.
    fn note(&mut self, operation: Operation, sight: &Sight) {
        let seen = &mut self.seen;
        let left_before = std::mem::replace(&mut seen.left, sight.remaining);
        let quota = seen.quota.entry(operation).or_default();
        if quota.calls == 0 {
            quota.first_remaining = sight.remaining;
            quota.left_before = left_before;
        }
        quota.calls += 1;
        quota.limit = sight.limit.or(quota.limit);
        seen.forms.extend(&sight.forms);
        seen.dated = Some(seen.dated.unwrap_or(true) && sight.is_dated);
        match (sight.status, sight.body.fields()) {
            (200, _) => seen.content_types.extend(sight.content_type.clone()),
            (400..=499, Some(fields)) if sight.is_json => {
                let names = &mut seen.dialect.names;
                let known = [
                    names.of("moreInformation"),
                    "moreInformation",
                    "httpMessage",
                ];
                if !known.iter().any(|name| fields.contains_key(*name))
                    && let Some(name) = MESSAGES.iter().find(|name| is_text(fields.get(**name)))
                {
                    names.set("moreInformation", name);
                }
                seen.error.get_or_insert_with(|| sight.clone());
            }
            (400..=499, _) => seen.error_page = Some(sight.status),
            _ => {}
        }
    }

    /// The message of an error.
    fn said(&self, sight: &Sight) -> String {
        let in_full = sight.said.in_full().filter(|_| self.in_full);
        in_full.unwrap_or_else(|| sight.said.to_string())
    }

    /// A window of the last `hours`.
    fn last(&self, hours: i64) -> Result<Window, ApiError> {
        window(self.tot - TimeDelta::hours(hours), self.tot)
    }
}

/// The response, or an error if a repeated call may get another one.
fn lasting(sight: Sight) -> Result<Sight, ApiError> {
    match sight.status {
        429 => Err(ApiError::OverQuota { wait: None }),
        408 => Err(ApiError::Incomplete("status 408")),
        status @ 500..=599 => Err(ApiError::Server { status, wait: None }),
        200 if !sight.is_json => Err(ApiError::NotAnAnswer("status 200, but it is not JSON")),
        _ => Ok(sight),
    }
}

fn passes(error: &ApiError) -> bool {
    !matches!(error, ApiError::GaveUp { .. } | ApiError::Unreachable(_))
}

fn window(van: DateTime<Utc>, tot: DateTime<Utc>) -> Result<Window, ApiError> {
    Window::new(van, tot).ok_or(ApiError::NotAnAnswer(
        "this machine's clock is out of range",
    ))
}

/// The total and its name; the larger one if there are two, as in the client.
fn total(sight: &Sight) -> Option<(String, u64)> {
    let fields = sight.body.fields()?;
    ["aantal", "totaalAantalResultaten"]
        .iter()
        .filter_map(|name| match fields.get(*name) {
            Some(Outline::Number(total)) => Some(((*name).to_owned(), *total)),
            _ => None,
        })
        .max_by_key(|(_, total)| *total)
}

fn word(shape: Option<&Outline>) -> Option<String> {
    match shape {
        Some(Outline::Word(word)) => Some(word.clone()),
        _ => None,
    }
}

fn is_text(shape: Option<&Outline>) -> bool {
    matches!(shape, Some(Outline::Text | Outline::Word(_)))
}
