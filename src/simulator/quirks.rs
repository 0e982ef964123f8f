//! Quirks: each breaks one assumption of the contract in a way that VDAB might.
//!
//! The rest of the simulator follows the contract. A quirk changes a call before the contract's response is made, or the
//! response after that.

mod answer;
mod call;

use std::str::FromStr;

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, Method};
use chrono::{DateTime, TimeDelta};
use serde_json::json;
use uuid::Uuid;

use self::answer::{edit, rename};
use self::call::{moment, set, written};
use super::answer::Answer;
use super::call::{Call, Operation};
use super::settings::Settings;
use super::world::World;
use crate::contract::GatewayError;

macro_rules! quirks {
    ($($quirk:ident $name:literal $meaning:literal)+) => {
        /// A difference of VDAB from the contract.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Quirk {
            $(#[doc = $meaning] $quirk,)+
        }

        impl Quirk {
            /// All quirks with name and meaning.
            pub const ALL: &[(&str, Self, &str)] = &[$(($name, Self::$quirk, $meaning),)+];
        }
    };
}

quirks! {
    TotalOfSister "total-of-sister" "the total is called totaalAantalResultaten"
    NoTotal "no-total" "lists have no total"
    NoStatus "no-status" "list items have no status"
    ListFields "list-fields" "bulk lists have results, id and state instead of resultaten, cvId and status"
    DocumentFields "document-fields" "documents have id, state and modified instead of cvId, status and wijzigingsDatum"
    ListNull "list-null" "empty lists are null"
    ListKeyed "list-keyed" "lists are objects with numbers as keys, and totals are text"
    ListMarked "list-marked" "lists start with a byte order mark, and contain ids instead of objects"
    WindowParameters "window-parameters" "van and tot are called from and until"
    PagingParameters "paging-parameters" "vanaf and aantal are called offset and limit; unknown ones are ignored"
    StrictParameters "strict-parameters" "vanaf and aantal are called start and size; unknown ones are refused"
    ErrorFields "error-fields" "errors are {code, error}, without a message about missing records"
    WholeSeconds "whole-seconds" "van and tot have no milliseconds"
    TimeOffset "time-offset" "van and tot end with +00:00"
    EpochMillis "epoch-millis" "van and tot are milliseconds since 1970"
    WindowNarrow "window-narrow" "windows of more than a day are refused"
    WindowCut "window-cut" "windows of more than a day are silently cut to their last day"
    WindowWide "window-wide" "windows may have any width"
    PageSmall "page-small" "pages of more than 500 are refused"
    PageCapped "page-capped" "pages silently have at most 50 results"
    DefaultPage "default-page" "a page has 20 results without aantal"
    OffsetFrom1 "offset-from-1" "vanaf counts results from 1"
    PageFrom0 "page-from-0" "vanaf counts pages from 0"
    PageFrom1 "page-from-1" "vanaf counts pages from 1"
    EndsInclusive "ends-inclusive" "a window contains both its ends"
    EndsLate "ends-late" "a window contains its end but not its start"
    EndsExclusive "ends-exclusive" "a window contains neither of its ends"
    SecondsTruncated "seconds-truncated" "van, tot and the times of changes are truncated to whole seconds"
    SecondsRounded "seconds-rounded" "van, tot and the times of changes are rounded to whole seconds"
    MinutesTruncated "minutes-truncated" "van, tot and the times of changes are truncated to whole minutes"
    NewestFirst "newest-first" "the newest change comes first"
    ListedPerChange "listed-per-change" "a CV is listed once for each of its changes"
    Late "late" "changes are listed 30 seconds late"
    GoneStatus410 "gone-410" "a removed CV gives 410"
    GonePlain404 "gone-plain-404" "a removed CV gives 404 without a message about records"
    GoneMessage "gone-message" "a removed CV gives 422 and a message"
    GoneDocument "gone-document" "a removed CV gives 200 and its whole document with a status for gone"
    GoneWord "gone-word" "the status of a removed CV is INACTIEF, in lists and in the rest of the document"
    LiveWord "live-word" "the status of a live CV is ACTIEF"
    MalformedId "malformed-id" "a malformed id gives 404"
    QuotaLower "quota-lower" "the quota is 1,200 calls per minute"
    QuotaShared "quota-shared" "all endpoints share one quota of 1,500 calls per minute"
    NoQuotaHeaders "no-quota-headers" "responses have no quota headers"
    KeyRefused403 "key-403" "a wrong key gives 403 and another form of body"
    OAuth "oauth" "a Bearer token is required in addition to the key; /oauth2/token gives it to any client"
    NoDate "no-date" "responses have no Date header"
    ContentType "content-type" "the content type is application/vnd.vdab.v1+json"
    VeldenFewer "velden-fewer" "velden takes at most 3 fields"
    VeldenMore "velden-more" "velden takes any number of fields"
    SearchPageSmall "search-page-small" "a page of search results has at most 100"
    SearchComma "search-comma" "several values of a filter are separated by commas"
    FiltersIgnored "filters-ignored" "filters except studies and gewensteRegios are ignored"
    ReferenceMissing "reference-missing" "attesten and jobdomeinen are not at their usual paths"
    ReferenceLabel "reference-label" "the label of a code is called label"
}

/// An unknown name of a quirk.
#[derive(Debug, thiserror::Error)]
#[error("must be one of {}", names())]
pub struct QuirkError;

fn names() -> String {
    let names: Vec<_> = Quirk::ALL.iter().map(|(name, ..)| *name).collect();
    names.join(", ")
}

impl FromStr for Quirk {
    type Err = QuirkError;

    fn from_str(text: &str) -> Result<Self, QuirkError> {
        let found = Self::ALL.iter().find(|(name, ..)| *name == text);
        found.map(|(_, quirk, _)| *quirk).ok_or(QuirkError)
    }
}

const LATE: TimeDelta = TimeDelta::seconds(30);
const TOKEN: &str = "token-of-the-simulator";

/// The quirks of a simulator.
pub(super) struct Quirks(Vec<Quirk>);

impl Quirks {
    pub(super) fn new(quirks: Vec<Quirk>, settings: &mut Settings, world: &mut World) -> Self {
        for quirk in &quirks {
            match quirk {
                Quirk::WindowNarrow => settings.max_window = TimeDelta::days(1),
                Quirk::WindowWide => settings.max_window = TimeDelta::days(100_000),
                // A quirk must not make a window too wide.
                Quirk::EndsInclusive | Quirk::EndsLate => {
                    settings.max_window += TimeDelta::milliseconds(1);
                }
                Quirk::SecondsTruncated | Quirk::SecondsRounded | Quirk::MinutesTruncated => {
                    settings.max_window += TimeDelta::minutes(2);
                }
                Quirk::QuotaLower => settings.rate_per_minute = Some(1_200),
                Quirk::QuotaShared => settings.rate_per_minute = Some(1_500),
                Quirk::NoDate => settings.send_date = false,
                Quirk::Late => world.delay_listing(LATE),
                _ => {}
            }
        }
        Self(quirks)
    }

    fn has(&self, quirk: Quirk) -> bool {
        self.0.contains(&quirk)
    }

    /// The operation whose quota a call counts for.
    pub(super) fn counted_as(&self, operation: Operation) -> Operation {
        if self.has(Quirk::QuotaShared) {
            Operation::Bulk
        } else {
            operation
        }
    }

    /// The response to a call without a token, or to a request for a token.
    pub(super) fn token(&self, method: &Method, path: &str, headers: &HeaderMap) -> Option<Answer> {
        if !self.has(Quirk::OAuth) {
            return None;
        }
        if path == "/oauth2/token" && method == Method::POST {
            let token = json!({"access_token": TOKEN, "token_type": "bearer", "expires_in": 900});
            return Some(Answer::json(&token));
        }
        let shown = headers
            .get(AUTHORIZATION)
            .and_then(|shown| shown.to_str().ok());
        (shown != Some(&format!("Bearer {TOKEN}"))).then(|| {
            Answer::from(GatewayError::unauthorized())
                .with("www-authenticate", "Bearer realm=\"vdab\"")
        })
    }

    /// Turns a quirk's call into the contract's, or refuses it.
    pub(super) fn ask(&self, call: &mut Call) -> Result<(), GatewayError> {
        match call.operation {
            Operation::Bulk => {
                for quirk in &self.0 {
                    quirk.ask_for_page(call)?;
                }
                self.ends(call);
                Ok(())
            }
            Operation::Search => self.0.iter().try_for_each(|quirk| quirk.search(call)),
            Operation::Reference("attesten" | "jobdomeinen")
                if self.has(Quirk::ReferenceMissing) =>
            {
                Err(GatewayError::new(404, "No resources match requested URI"))
            }
            Operation::Detail | Operation::Reference(_) => Ok(()),
        }
    }

    /// Turns `van <= t < tot` in milliseconds into the quirks' comparison.
    fn ends(&self, call: &mut Call) {
        let has = |quirks: &[Quirk]| quirks.iter().any(|quirk| self.has(*quirk));
        let (step, early) = if has(&[Quirk::SecondsRounded]) {
            (1_000, 500)
        } else if has(&[Quirk::SecondsTruncated]) {
            (1_000, 0)
        } else if has(&[Quirk::MinutesTruncated]) {
            (60_000, 0)
        } else {
            (1, 0)
        };
        for (name, one_later) in [
            ("van", has(&[Quirk::EndsLate, Quirk::EndsExclusive])),
            ("tot", has(&[Quirk::EndsLate, Quirk::EndsInclusive])),
        ] {
            if let Some(at) = moment(call, name) {
                let steps = (at.timestamp_millis() + early).div_euclid(step);
                let at = (steps + i64::from(one_later)) * step - early;
                let at = DateTime::from_timestamp_millis(at);
                set(call, name, at.map(written).unwrap_or_default());
            }
        }
    }

    /// Turns the contract's response to `call` into the quirk's.
    pub(super) fn answer(&self, world: &World, call: &Call, answer: &mut Answer) {
        for quirk in &self.0 {
            match (call.operation, answer.status) {
                (Operation::Bulk, 200) => quirk.page(world, call, answer),
                (Operation::Detail, 200) => quirk.document(answer),
                (Operation::Detail, status) => {
                    let id = call.id.as_deref().unwrap_or_default();
                    let was_there =
                        Uuid::try_parse(id).is_ok_and(|id| world.by_id.contains_key(&id));
                    if status == 404 && was_there {
                        quirk.gone(world, id, answer);
                    } else if status == 400 && *quirk == Quirk::MalformedId {
                        *answer = GatewayError::new(404, "Not found").into();
                    }
                }
                (Operation::Reference(_), 200) if *quirk == Quirk::ReferenceLabel => {
                    edit(answer, |list| {
                        for entry in list.as_array_mut().into_iter().flatten() {
                            rename(entry, &[("omschrijving", "label")]);
                        }
                    });
                }
                _ => {}
            }
        }
    }

    /// Changes each response before it is sent, the gateway's included.
    pub(super) fn send(&self, answer: &mut Answer) {
        for quirk in &self.0 {
            match quirk {
                Quirk::NoQuotaHeaders => {
                    let is_quota = |name: &str| name.starts_with("x-ratelimit");
                    answer.headers.retain(|(name, _)| !is_quota(name));
                }
                Quirk::KeyRefused403 if answer.status == 401 => {
                    answer.status = 403;
                    answer.body = r#"{"fout":"geen toegang"}"#.into();
                }
                Quirk::ErrorFields if answer.status >= 400 => {
                    let body = json!({"code": answer.status, "error": "Dat is niet gelukt"});
                    answer.body = body.to_string().into();
                }
                Quirk::ContentType
                    if answer
                        .headers
                        .iter()
                        .all(|(name, _)| name != "content-type") =>
                {
                    let json = "application/vnd.vdab.v1+json".to_owned();
                    answer.headers.push(("content-type".to_owned(), json));
                }
                _ => {}
            }
        }
    }
}
