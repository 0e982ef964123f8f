//! What was seen, to what it means for each assumption; pure.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use chrono::TimeDelta;

use super::assumptions::Assumption;

use super::seen::{Kind, Order, Sample, Seen, Told};
use super::{Finding, Setting, Verdict};
use crate::config::{List, Source, VARIABLES};
use crate::model::dialect::TIME_FORMAT;
use crate::model::{Names, Paging, Standing, StatusWords};
use crate::vdab::probe::{Endpoint, Sight};

/// What is thought of one assumption.
pub(super) enum Judgement {
    Holds(String),
    Tolerated(String),
    /// To be set, each with whether it is set already. Nothing helps where there is nothing to set.
    Differs(String, Vec<(Setting, bool)>),
    CannotTell(String),
}

use Judgement::{CannotTell, Differs, Holds, Tolerated};

/// What was seen, and what is configured.
pub(super) struct Eye<'a> {
    pub(super) seen: &'a Seen,
    pub(super) source: &'a Source,
}

/// A variable, and its value.
fn setting(variable: &'static str, value: impl Into<Option<String>>) -> Setting {
    Setting {
        variable,
        value: value.into(),
    }
}

const LISTS: &str = "CVSYNC_REFERENCE_LISTS";

fn is_default(variable: &str, value: &str) -> bool {
    let mut known = VARIABLES.iter();
    known.any(|known| known.name == variable && known.default == Some(value))
}

fn differs(seen: impl Into<String>, setting: Setting, is_set: bool) -> Judgement {
    Differs(seen.into(), vec![(setting, is_set)])
}

fn no_cvs() -> Judgement {
    CannotTell("there are too few CVs in the windows that were listed".to_owned())
}

impl Eye<'_> {
    pub(super) fn judge(&self, assumption: &Assumption) -> Finding {
        let is_about_trouble = matches!(assumption.name, "answers" | "key-alone");
        let judgement = if self.seen.trouble.is_some() && !is_about_trouble {
            CannotTell("not asked, since the API does not answer as it should".to_owned())
        } else {
            (assumption.judge)(self)
        };
        let (verdict, seen, set) = match judgement {
            Holds(seen) => (Verdict::Holds, seen, Vec::new()),
            Tolerated(seen) => (Verdict::Tolerated, seen, Vec::new()),
            CannotTell(why) => (Verdict::CannotTell, why, Vec::new()),
            Differs(seen, set) if !set.is_empty() && set.iter().all(|(_, is_set)| *is_set) => {
                (Verdict::Configured, seen, Vec::new())
            }
            Differs(seen, set) => {
                let set = set.into_iter().filter(|(_, is_set)| !is_set);
                let set = set.map(|(setting, _)| setting).collect();
                (Verdict::Differs, seen, set)
            }
        };
        Finding {
            assumption: assumption.name,
            origin: assumption.origin,
            claim: assumption.claim,
            verdict,
            seen,
            set,
        }
    }

    /// Names that were found, against the contract's and the configured ones.
    fn names(&self, ours: &[&'static str]) -> Judgement {
        let (found, configured) = (&self.seen.dialect.names, &self.source.api.dialect.names);
        let same =
            |one: &Names, other: &Names| ours.iter().all(|name| one.of(name) == other.of(name));
        let seen: Vec<_> = ours.iter().map(|name| found.of(name)).collect();
        let seen = format!("answers to {}", seen.join(", "));
        let is_set = same(found, configured);
        if is_set && same(found, &Names::default()) {
            return Holds(seen);
        }
        differs(seen, setting("CVSYNC_API_NAMES", found.to_string()), is_set)
    }

    fn sample(&self) -> Option<&Sample> {
        self.seen.sample.as_ref().filter(|sample| sample.items > 0)
    }

    fn words(&self) -> &StatusWords {
        &self.source.api.statuses
    }

    // --- the wire

    pub(super) fn answers(&self) -> Judgement {
        match &self.seen.trouble {
            Some(trouble) if trouble.key => Holds("it answers, and refuses the key".to_owned()),
            Some(trouble) => {
                let set = trouble.variables.iter();
                let set = set.map(|variable| (setting(variable, None), false));
                Differs(trouble.what.clone(), set.collect())
            }
            None => {
                let types: Vec<_> = self.seen.content_types.iter().cloned().collect();
                match &types[..] {
                    [one] if one == "application/json" => Holds(one.clone()),
                    _ => Tolerated(format!("content type {}", types.join(", "))),
                }
            }
        }
    }

    pub(super) fn key_alone(&self) -> Judgement {
        let is_set = self.source.api.oauth.is_some();
        match &self.seen.trouble {
            Some(trouble) if trouble.key => {
                let set = trouble.variables.iter();
                let set = set.map(|variable| (setting(variable, None), false));
                Differs(trouble.what.clone(), set.collect())
            }
            Some(_) => CannotTell("the API does not answer".to_owned()),
            None if is_set => CannotTell("a token is configured, and was shown".to_owned()),
            None => Holds("the key was taken".to_owned()),
        }
    }

    fn limit(&self) -> Option<u64> {
        self.seen
            .quota
            .values()
            .filter_map(|quota| quota.limit)
            .min()
    }

    /// Whether the first detail call found what the bulk call before it had left. Others may use the key at the same time,
    /// the daemon for one.
    fn is_shared(&self) -> Option<bool> {
        let detail = self.seen.quota.get(&Endpoint::Detail)?;
        let (left, before) = (detail.first_remaining?, detail.left_before?);
        if detail.limit?.saturating_sub(left) <= 2 || before.abs_diff(left) > 200 {
            return Some(false);
        }
        (1..=3)
            .contains(&before.saturating_sub(left))
            .then_some(true)
    }

    /// What to set the quota to: some of a shared one is left for the other endpoints.
    fn rate(&self) -> Option<(u64, bool)> {
        let limit = self.limit()?;
        let rate = match self.is_shared() {
            Some(true) => limit - limit / 10,
            _ => limit,
        };
        Some((
            rate,
            u64::from(self.source.api.rate_per_minute.get()) <= rate,
        ))
    }

    pub(super) fn quota(&self) -> Judgement {
        let Some((limit, (rate, is_set))) = self.limit().zip(self.rate()) else {
            return CannotTell("the answers do not tell it; ask VDAB".to_owned());
        };
        let seen = format!("{limit} calls");
        if limit >= 2_000 && is_set {
            return Holds(seen);
        }
        let rate = setting("CVSYNC_API_RATE_PER_MINUTE", rate.to_string());
        differs(seen, rate, is_set)
    }

    pub(super) fn quota_apart(&self) -> Judgement {
        let Some((rate, is_set)) = self.rate() else {
            return CannotTell("the answers do not tell it".to_owned());
        };
        match self.is_shared() {
            None => CannotTell("somebody else may use the same key".to_owned()),
            Some(false) => Holds("bulk calls did not count as detail calls".to_owned()),
            Some(true) => differs(
                "bulk calls counted as detail calls",
                setting("CVSYNC_API_RATE_PER_MINUTE", rate.to_string()),
                is_set,
            ),
        }
    }

    pub(super) fn quota_headers(&self) -> Judgement {
        if self.limit().is_some() {
            Holds("they do".to_owned())
        } else {
            Tolerated("there are none: CVSYNC_API_RATE_PER_MINUTE alone sets the pace".to_owned())
        }
    }

    pub(super) fn errors(&self) -> Judgement {
        match (&self.seen.error, self.seen.error_page) {
            (Some(error), _) => {
                let fields = error.body.fields().into_iter().flatten();
                let fields: Vec<_> = fields.map(|(name, _)| name.as_str()).collect();
                let of_gateway = ["moreInformation", "httpMessage"];
                if of_gateway.iter().any(|name| fields.contains(name)) {
                    return self.named("moreInformation", &fields);
                }
                let found = self.seen.dialect.names.of("moreInformation");
                if !fields.contains(&found) {
                    return Tolerated(format!(
                        "{}, none of them a message: the list alone tells what is gone",
                        fields.join(", ")
                    ));
                }
                self.named("moreInformation", &fields)
            }
            (None, Some(status)) => Tolerated(format!(
                "status {status} without JSON: that proves nothing, and the list alone tells what is gone"
            )),
            (None, None) => CannotTell("there was none".to_owned()),
        }
    }

    /// As [`names`](Self::names), with the fields that were there.
    fn named(&self, ours: &'static str, fields: &[&str]) -> Judgement {
        let seen = format!("has {}", fields.join(", "));
        match self.names(&[ours]) {
            Differs(_, set) => Differs(seen, set),
            _ => Holds(seen),
        }
    }

    pub(super) fn date(&self) -> Judgement {
        match (self.seen.dated, self.seen.ahead) {
            (Some(true), Some(ahead)) => Holds(format!(
                "this machine's clock is {} s {} it",
                ahead.abs(),
                if ahead < 0 { "behind" } else { "ahead of" }
            )),
            _ => Tolerated("not all have one: this machine's clock has to be right".to_owned()),
        }
    }

    // --- bulk

    pub(super) fn window_parameters(&self) -> Judgement {
        let ours = ["van", "tot"];
        if let Some(refused) = &self.seen.refused {
            let names = setting("CVSYNC_API_NAMES", None);
            return differs(
                format!(
                    "bulk calls are refused: {refused}; see what VDAB's specification calls the parameters"
                ),
                names,
                false,
            );
        }
        match (self.seen.heeds_window, self.names(&ours)) {
            (Some(false), _) => differs(
                "a window of 1990 is not empty: van and tot have other names than those that were tried",
                setting("CVSYNC_API_NAMES", None),
                false,
            ),
            (None, Holds(_)) => {
                CannotTell("a window of 1990 is refused, those of now are answered".to_owned())
            }
            (_, judgement) => judgement,
        }
    }

    pub(super) fn time_format(&self) -> Judgement {
        if self.seen.refused.is_some() {
            return CannotTell("bulk calls are refused".to_owned());
        }
        let found = &self.seen.dialect.time_format;
        let is_set = *found == self.source.api.dialect.time_format;
        let seen = format!("takes {found}");
        if is_set && found == TIME_FORMAT {
            return Holds(seen);
        }
        differs(
            seen,
            setting("CVSYNC_API_TIME_FORMAT", found.clone()),
            is_set,
        )
    }

    pub(super) fn window_width(&self) -> Judgement {
        let Some(width) = self.seen.width else {
            return CannotTell("bulk calls are refused".to_owned());
        };
        let seen = format!(
            "{} are answered{}",
            written(width),
            if self.seen.cuts_windows {
                ", wider ones are cut without a word"
            } else {
                ""
            }
        );
        if width >= TimeDelta::days(5) && self.sample().is_none() {
            return CannotTell(format!(
                "{seen}, but with too few CVs to tell whether whole"
            ));
        }
        if width >= TimeDelta::days(5) {
            return Holds(seen);
        }
        let configured = TimeDelta::from_std(self.source.sync.window).unwrap_or(TimeDelta::MAX);
        let is_set = configured <= width && !self.seen.cuts_windows;
        differs(seen, setting("CVSYNC_WINDOW", written(width)), is_set)
    }

    pub(super) fn window_wider(&self) -> Judgement {
        match self.seen.six_days {
            None => CannotTell("bulk calls are refused".to_owned()),
            Some(400) => Holds("status 400".to_owned()),
            Some(status) => Tolerated(format!("status {status}; wider ones are never asked for")),
        }
    }

    pub(super) fn paging_parameters(&self) -> Judgement {
        let ours = ["vanaf", "aantal"];
        let unheeded = [
            (
                self.seen.heeds_size,
                "a page holds more than aantal asks for",
            ),
            (self.seen.heeds_offset, "vanaf changes nothing"),
        ];
        if let Some((_, seen)) = unheeded.iter().find(|(heeds, _)| *heeds == Some(false)) {
            return differs(
                format!("{seen}, under none of the names that were tried"),
                setting("CVSYNC_API_NAMES", None),
                false,
            );
        }
        let is_seen = self.seen.heeds_size.is_some() && self.seen.heeds_offset.is_some();
        match self.names(&ours) {
            Holds(_) if !is_seen => no_cvs(),
            judgement => judgement,
        }
    }

    pub(super) fn paging_offset(&self) -> Judgement {
        let (found, seen) = match (self.seen.paging, self.seen.first) {
            (Some(found), _) => (found, format!("it is {}", found.as_str())),
            (None, 0) => return no_cvs(),
            (None, _) => (
                Paging::OffsetFrom1,
                "0 is refused; whether results or pages are counted shows where there are CVs"
                    .to_owned(),
            ),
        };
        let is_set = found == self.source.api.dialect.paging;
        if is_set && found == Paging::default() {
            return Holds(seen);
        }
        let value = found.as_str().to_owned();
        differs(seen, setting("CVSYNC_API_PAGING", value), is_set)
    }

    pub(super) fn page_size(&self) -> Judgement {
        let Some(asked) = self.seen.page_size else {
            return CannotTell("no page came".to_owned());
        };
        let configured = u64::from(self.source.sync.page_size);
        let size = |size: u64| setting("CVSYNC_PAGE_SIZE", size.to_string());
        if let Some(capped) = self.seen.page_capped {
            let seen = format!("{asked} were asked for, {capped} came, and more follow");
            return differs(seen, size(capped), configured <= capped);
        }
        let items = self.sample().map_or(0, |sample| sample.items);
        let seen = format!("{asked} may be asked for, {items} came");
        if asked >= 2_000 {
            return Holds(seen);
        }
        differs(seen, size(asked), configured <= asked)
    }

    pub(super) fn page_default(&self) -> Judgement {
        match self.seen.default_page {
            None => CannotTell("no page came".to_owned()),
            Some((100, _)) => Holds("100 came".to_owned()),
            Some((came, false)) if came < 100 => {
                CannotTell(format!("there are no more than the {came} that came"))
            }
            Some((came, _)) => Tolerated(format!("{came} came")),
        }
    }

    pub(super) fn total(&self) -> Judgement {
        let Some(sample) = self.sample() else {
            return no_cvs();
        };
        match &sample.total {
            None => Tolerated("there is none".to_owned()),
            Some((name, total)) if name == "aantal" => Holds(format!("aantal is {total}")),
            Some((name, total)) => Tolerated(format!("{name} is {total}")),
        }
    }

    pub(super) fn list_fields(&self) -> Judgement {
        let names = self.names(&["resultaten", "cvId"]);
        match self.sample() {
            None => match names {
                Holds(_) => no_cvs(),
                judgement => judgement,
            },
            Some(sample) if sample.garbage == sample.items => {
                let fields: Vec<_> = sample.fields.iter().map(String::as_str).collect();
                Differs(
                    format!("items have {}, none an id", fields.join(", ")),
                    Vec::new(),
                )
            }
            Some(_) => names,
        }
    }

    pub(super) fn list_status(&self) -> Judgement {
        match self.sample() {
            None => no_cvs(),
            Some(sample) if sample.words.keys().all(Option::is_none) => Tolerated(
                "there is none: the detail decides, at a call for each CV that is gone".to_owned(),
            ),
            Some(_) => self.names(&["status"]),
        }
    }

    pub(super) fn garbage_ids(&self) -> Judgement {
        self.sample().map_or_else(no_cvs, |sample| {
            Holds(format!("{} among {}", sample.garbage, sample.items))
        })
    }

    pub(super) fn listed_once(&self) -> Judgement {
        match self.sample() {
            None => no_cvs(),
            Some(sample) if sample.duplicates == 0 => {
                Holds(format!("no id twice among {}", sample.items))
            }
            Some(sample) => Tolerated(format!(
                "{} of {} are there again",
                sample.duplicates, sample.items
            )),
        }
    }

    pub(super) fn order(&self) -> Judgement {
        match self.seen.order {
            None => no_cvs(),
            Some(Order::OldestFirst) => Holds("the older half comes first".to_owned()),
            Some(Order::NewestFirst) => Tolerated("the newer half comes first".to_owned()),
            Some(Order::Neither) => Tolerated("both halves are mixed".to_owned()),
        }
    }

    // --- statuses and documents

    /// Whether an answer says that a CV is gone: a whole document does if its status is such a word.
    fn is_gone(&self, kind: &Kind) -> bool {
        match kind {
            Kind::Gone | Kind::Bare { .. } => true,
            Kind::Document { word, .. } => self.words().standing(word.as_deref()) == Standing::Gone,
            Kind::Other(_) => false,
        }
    }

    /// What the details of a listed word say: that its CVs are there, or gone.
    fn standing(&self, word: &str) -> Option<Standing> {
        let told = self.seen.details.iter();
        let told: Vec<_> = told
            .filter(|told| told.listed.as_deref() == Some(word))
            .collect();
        let all =
            |is: &dyn Fn(&Kind) -> bool| !told.is_empty() && told.iter().all(|told| is(&told.kind));
        if all(&|kind| self.is_gone(kind)) {
            Some(Standing::Gone)
        } else if all(&|kind| matches!(kind, Kind::Document { .. })) {
            Some(Standing::Live)
        } else {
            None
        }
    }

    /// Words of lists that are configured as `configured`, and turn out to be `found`.
    fn found(&self, configured: Standing, found: Standing) -> Vec<&str> {
        let words = self
            .seen
            .sample
            .iter()
            .flat_map(|sample| sample.words.keys());
        words
            .filter_map(Option::as_deref)
            .filter(|word| self.words().standing(Some(word)) == configured)
            .filter(|word| self.standing(word) == Some(found))
            .collect()
    }

    fn seen_words(&self) -> String {
        let mut text = String::new();
        for (word, times) in self.seen.sample.iter().flat_map(|sample| &sample.words) {
            let comma = if text.is_empty() { "" } else { ", " };
            let word = word.as_deref().unwrap_or("none");
            let _ = write!(text, "{comma}{times} {word}");
        }
        text
    }

    pub(super) fn live_words(&self) -> Judgement {
        const VARIABLE: &str = "CVSYNC_API_LIVE_STATUSES";
        let new = self.found(Standing::Unknown, Standing::Live);
        let known = self.found(Standing::Live, Standing::Live);
        let seen = format!("listed are {}", self.seen_words());
        if !new.is_empty() && !known.is_empty() {
            // A status beside the live one may mean that the CV is not to be shown any more: nobody but VDAB can tell.
            let seen = format!(
                "{seen}; those that are {} have whole documents: ask VDAB whether they count as there or as gone, until then they are kept",
                new.join(", ")
            );
            let both = [VARIABLE, "CVSYNC_API_GONE_STATUSES"];
            return Differs(seen, both.map(|name| (setting(name, None), false)).into());
        }
        if !new.is_empty() {
            let words = self.words().live.iter().map(String::as_str).chain(new);
            return differs(seen, setting(VARIABLE, joined(words)), false);
        }
        if known.iter().any(|word| *word != "OPEN") {
            let words = self.words().live.iter().map(String::as_str);
            return differs(seen, setting(VARIABLE, joined(words)), true);
        }
        if !known.is_empty() {
            return Holds(seen);
        }
        let documents = self.seen.details.iter().filter(|told| {
            matches!(&told.kind, Kind::Document { word, .. }
                if self.words().standing(word.as_deref()) == Standing::Live)
        });
        match documents.count() {
            0 => CannotTell("no CV that is there was seen with its status".to_owned()),
            count => Holds(format!("so say {count} documents")),
        }
    }

    pub(super) fn gone_words(&self) -> Judgement {
        const VARIABLE: &str = "CVSYNC_API_GONE_STATUSES";
        const CONTRACTS: [&str; 3] = ["VERWIJDERD", "GESLOTEN", "AFGESLOTEN"];
        let new = self.found(Standing::Unknown, Standing::Gone);
        let known = self.found(Standing::Gone, Standing::Gone);
        let wrong = self.found(Standing::Gone, Standing::Live);
        let seen = format!("listed are {}", self.seen_words());
        let configured = || self.words().gone.iter().map(String::as_str);
        if !wrong.is_empty() {
            let words = configured().filter(|word| !wrong.contains(word)).chain(new);
            let seen = format!(
                "{seen}; the documents of those that are {} say otherwise, and cvsync would delete them",
                wrong.join(", ")
            );
            return differs(seen, setting(VARIABLE, joined(words)), false);
        }
        if !new.is_empty() {
            return differs(
                seen,
                setting(VARIABLE, joined(configured().chain(new))),
                false,
            );
        }
        let is_contracts = |word: &&str| {
            CONTRACTS
                .iter()
                .any(|other| other.eq_ignore_ascii_case(word))
        };
        match known[..] {
            [] => CannotTell(format!("{seen}: none that turned out to be gone")),
            _ if known.iter().all(is_contracts) => Holds(seen),
            _ => differs(seen, setting(VARIABLE, joined(configured())), true),
        }
    }

    /// Whether a CV counts as gone by its status in the list.
    fn is_listed_as_gone(&self, told: &Told) -> bool {
        self.words().standing(told.listed.as_deref()) == Standing::Gone
    }

    pub(super) fn gone_answer(&self) -> Judgement {
        let proven: BTreeSet<_> = self
            .seen
            .details
            .iter()
            .filter(|told| self.is_gone(&told.kind))
            .map(|told| told.status)
            .collect();
        let not_understood = self.seen.details.iter().find_map(|told| match &told.kind {
            Kind::Other(what) => Some((told, what)),
            _ => None,
        });
        match not_understood {
            Some((told, what)) if self.is_listed_as_gone(told) => Tolerated(format!(
                "{what}: no proof by itself, but the list says that it is gone"
            )),
            Some((_, what)) => Differs(
                format!("{what}, for a CV that is not listed as gone: it would be parked"),
                Vec::new(),
            ),
            None if proven.is_empty() => CannotTell(format!(
                "no CV that is gone was seen{}",
                self.seen
                    .unknown_id
                    .as_ref()
                    .map_or_else(String::new, |sight| format!(
                        "; an id that never was gives status {}",
                        sight.status
                    ))
            )),
            None => {
                let statuses: Vec<_> = proven.iter().map(ToString::to_string).collect();
                Holds(format!("status {}", statuses.join(", ")))
            }
        }
    }

    pub(super) fn malformed_id(&self) -> Judgement {
        match &self.seen.malformed_id {
            None => CannotTell("no detail was asked for".to_owned()),
            Some(Sight {
                status: 400,
                message,
                ..
            }) if message.to_lowercase().contains("invalid string syntax") => {
                Holds("status 400, with these words".to_owned())
            }
            Some(sight) => Tolerated(format!("status {}", sight.status)),
        }
    }

    pub(super) fn document_fields(&self) -> Judgement {
        let leading = self.seen.details.iter().find_map(|told| match &told.kind {
            Kind::Document { names, .. } => Some(names),
            _ => None,
        });
        let Some(leading) = leading else {
            return no_cvs();
        };
        let missing: Vec<_> = [
            ("status", &leading.status),
            ("wijzigingsDatum", &leading.date),
        ]
        .into_iter()
        .filter(|(_, found)| found.is_none())
        .map(|(name, _)| name)
        .collect();
        let names = [
            "document.cvId",
            "document.status",
            "document.wijzigingsDatum",
        ];
        match self.names(&names) {
            Holds(_) if !missing.is_empty() => {
                Tolerated(format!("there is no {}", missing.join(", ")))
            }
            judgement => judgement,
        }
    }

    // --- search and reference lists

    pub(super) fn search_fields(&self) -> Judgement {
        match (self.seen.search.velden, &self.seen.search.trouble) {
            (Some((200, 400)), _) => Holds("6 are refused".to_owned()),
            (Some((200, status)), _) => Tolerated(format!("6 give status {status}")),
            (Some((status, _)), _) => Tolerated(format!("5 give status {status}")),
            (None, trouble) => CannotTell(searching(trouble.as_deref())),
        }
    }

    pub(super) fn search_page(&self) -> Judgement {
        match (self.seen.search.page, &self.seen.search.trouble) {
            (Some((200, 400)), _) => Holds("201 are refused".to_owned()),
            (Some((200, status)), _) => Tolerated(format!("201 give status {status}")),
            (Some((status, _)), _) => Differs(
                format!("200 give status {status}: searches fail, the sync needs none"),
                Vec::new(),
            ),
            (None, trouble) => CannotTell(searching(trouble.as_deref())),
        }
    }

    pub(super) fn search_values(&self) -> Judgement {
        match (self.seen.search.repeated, &self.seen.search.trouble) {
            (Some((one, other, both)), _) => {
                let seen = format!("{one} and {other} apart, {both} together");
                if both > one.max(other) {
                    Holds(seen)
                } else if one == 0 || other == 0 {
                    CannotTell(seen)
                } else {
                    Tolerated(format!(
                        "{seen}: only one is heeded; try them separated by a comma"
                    ))
                }
            }
            (None, trouble) => CannotTell(searching(trouble.as_deref())),
        }
    }

    pub(super) fn reference_lists(&self) -> Judgement {
        let reference = &self.seen.reference;
        if let Some(trouble) = &reference.trouble {
            return CannotTell(trouble.clone());
        }
        let names = |lists: &[List]| {
            lists
                .iter()
                .map(List::to_string)
                .collect::<Vec<_>>()
                .join(",")
        };
        let found = names(&reference.found);
        if reference.missing.is_empty() {
            let seen = format!("all {} are there", reference.found.len());
            return if is_default(LISTS, &found) {
                Holds(seen)
            } else {
                differs(seen, setting(LISTS, found), true)
            };
        }
        let missing = reference.missing.iter();
        let missing: Vec<_> = missing
            .map(|(list, status)| format!("{} (status {status})", list.name))
            .collect();
        differs(
            format!(
                "not there: {}; leave out what VDAB does not have, or give its path as name=path",
                missing.join(", ")
            ),
            setting(LISTS, Some(found).filter(|found| !found.is_empty())),
            false,
        )
    }

    pub(super) fn reference_label(&self) -> Judgement {
        let fields = &self.seen.reference.fields;
        let seen: Vec<_> = fields.iter().map(String::as_str).collect();
        let seen = format!("entries have {}", seen.join(", "));
        let usual = [
            "label",
            "naam",
            "beschrijving",
            "waarde",
            "description",
            "name",
        ];
        let mut others = fields
            .iter()
            .map(String::as_str)
            .filter(|name| *name != "code");
        if fields.is_empty() {
            return CannotTell("no entry was seen".to_owned());
        }
        if fields.contains("omschrijving") {
            return Holds(seen);
        }
        let configured = &self.source.sync.reference.label_field;
        if fields.contains(configured) {
            let label = setting("CVSYNC_REFERENCE_LABEL_FIELD", configured.clone());
            return differs(seen, label, true);
        }
        let found = usual
            .into_iter()
            .find(|name| fields.contains(*name))
            .or_else(|| others.next());
        let label = found.map(str::to_owned);
        differs(seen, setting("CVSYNC_REFERENCE_LABEL_FIELD", label), false)
    }

    pub(super) fn diplomas(&self) -> Judgement {
        match (self.seen.reference.diplomas, &self.seen.reference.trouble) {
            (Some(found @ 1..=10), _) => Holds(format!("{found} came")),
            (Some(0), _) => CannotTell("the keyword found none".to_owned()),
            (Some(found), _) => Tolerated(format!("{found} came")),
            (None, Some(trouble)) => CannotTell(trouble.clone()),
            (None, None) => CannotTell("the list is not there".to_owned()),
        }
    }
}

/// What is not looked at, and why.
#[expect(clippy::unused_self, reason = "judged like the others")]
impl Eye<'_> {
    pub(super) fn key_refusal(&self) -> Judgement {
        CannotTell(
            "no wrong key is shown on purpose; 401 and 403 both count as a refusal".to_owned(),
        )
    }

    pub(super) fn over_quota(&self) -> Judgement {
        CannotTell(
            "the quota is not used up on purpose; with or without Retry-After all wait".to_owned(),
        )
    }

    pub(super) fn window_ends(&self) -> Judgement {
        CannotTell("it would take a change at the very end of a window".to_owned())
    }

    pub(super) fn late(&self) -> Judgement {
        CannotTell("it shows while the daemon runs: late arrivals are counted".to_owned())
    }
}

fn searching(trouble: Option<&str>) -> String {
    trouble.map_or_else(
        || "no search was made".to_owned(),
        |trouble| format!("a search failed: {trouble}"),
    )
}

fn joined<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<Vec<_>>().join(",")
}

/// As a variable takes it.
fn written(width: TimeDelta) -> String {
    let seconds = width.num_seconds();
    match (seconds % 86_400, seconds % 3_600) {
        (0, _) => format!("{}d", seconds / 86_400),
        (_, 0) => format!("{}h", seconds / 3_600),
        _ => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::seen::{Leading, Quota, Trouble};
    use super::super::{ASSUMPTIONS, Report};
    use super::*;
    use crate::config::Env;

    fn source(env: &[(&str, &str)]) -> Source {
        let key = [("CVSYNC_API_KEY", "k")];
        Source::load(&Env::new(key.iter().chain(env).copied())).unwrap()
    }

    fn report(seen: &Seen, source: &Source) -> Report {
        let eye = Eye { seen, source };
        let findings = ASSUMPTIONS.iter().map(|assumption| eye.judge(assumption));
        Report::new(findings.collect(), seen.calls)
    }

    fn finding<'a>(report: &'a Report, name: &str) -> &'a Finding {
        report
            .findings
            .iter()
            .find(|finding| finding.assumption == name)
            .unwrap()
    }

    fn settings(report: &Report) -> Vec<(&str, Option<&str>)> {
        let set = report.set.iter();
        set.map(|setting| (setting.variable, setting.value.as_deref()))
            .collect()
    }

    fn told(listed: &str, kind: Kind) -> Told {
        Told {
            listed: Some(listed.to_owned()),
            status: 200,
            kind,
        }
    }

    fn document(word: &str) -> Kind {
        Kind::Document {
            word: Some(word.to_owned()),
            names: Leading::default(),
        }
    }

    fn listed(words: &[&str]) -> Seen {
        let words = words.iter().map(|word| (Some((*word).to_owned()), 1));
        Seen {
            sample: Some(Sample {
                items: 9,
                words: words.collect(),
                ..Sample::default()
            }),
            ..Seen::default()
        }
    }

    #[test]
    fn nothing_seen_tells_nothing_and_is_not_good() {
        let report = report(&Seen::default(), &source(&[]));
        assert!(!report.is_good());
        assert_eq!(finding(&report, "list-fields").verdict, Verdict::CannotTell);
        assert_eq!(finding(&report, "page-size").verdict, Verdict::CannotTell);
    }

    #[test]
    fn trouble_is_told_once_and_nothing_else_is() {
        let seen = Seen {
            trouble: Some(Trouble {
                what: "status 404".to_owned(),
                variables: vec!["CVSYNC_API_BASE_URL"],
                key: false,
            }),
            ..Seen::default()
        };
        let report = report(&seen, &source(&[]));
        assert_eq!(settings(&report), [("CVSYNC_API_BASE_URL", None)]);
        let others = report
            .findings
            .iter()
            .filter(|finding| finding.assumption != "answers");
        assert!(
            others
                .clone()
                .all(|finding| finding.verdict == Verdict::CannotTell)
        );
        assert!(others.count() > 30);
    }

    #[test]
    fn a_word_is_what_the_details_of_its_cvs_say_and_only_if_they_agree() {
        let source = source(&[]);
        let mut seen = listed(&["OPEN", "INACTIEF", "WACHT", "VERWIJDERD"]);
        seen.details = vec![
            told("OPEN", document("OPEN")),
            told("INACTIEF", Kind::Bare { word: None }),
            told("INACTIEF", Kind::Gone),
            told("WACHT", Kind::Gone),
            told("WACHT", document("WACHT")),
            told("VERWIJDERD", Kind::Gone),
        ];
        let told_of = report(&seen, &source);
        let gone = Some("VERWIJDERD,GESLOTEN,AFGESLOTEN,INACTIEF");
        assert_eq!(settings(&told_of), [("CVSYNC_API_GONE_STATUSES", gone)]);
        assert_eq!(finding(&told_of, "live-words").verdict, Verdict::Holds);
        // A word for gone whose CVs are all there would delete them.
        seen.details.pop();
        seen.details
            .push(told("VERWIJDERD", document("VERWIJDERD")));
        assert_eq!(settings(&report(&seen, &source)), settings(&told_of));
        seen.details.pop();
        seen.details.push(told("VERWIJDERD", document("OPEN")));
        let gone = Some("GESLOTEN,AFGESLOTEN,INACTIEF");
        assert_eq!(
            settings(&report(&seen, &source)),
            [("CVSYNC_API_GONE_STATUSES", gone)]
        );
    }

    #[test]
    fn another_word_for_live_is_set_but_one_beside_the_known_one_is_asked_about() {
        let mut seen = listed(&["ACTIEF"]);
        seen.details = vec![told("ACTIEF", document("ACTIEF"))];
        let live = "CVSYNC_API_LIVE_STATUSES";
        let expected = [(live, Some("OPEN,ACTIEF"))];
        assert_eq!(settings(&report(&seen, &source(&[]))), expected);
        seen = listed(&["OPEN", "SLAPEND"]);
        seen.details = vec![
            told("OPEN", document("OPEN")),
            told("SLAPEND", document("SLAPEND")),
        ];
        let expected = [(live, None), ("CVSYNC_API_GONE_STATUSES", None)];
        assert_eq!(settings(&report(&seen, &source(&[]))), expected);
    }

    #[test]
    fn what_is_set_already_is_configured_and_what_is_set_wrongly_differs() {
        let mut seen = listed(&[]);
        seen.dialect.names.set("cvId", "id");
        let of = |value: &str| {
            let source = source(&[("CVSYNC_API_NAMES", value)]);
            let report = report(&seen, &source);
            (finding(&report, "list-fields").verdict, report.is_good())
        };
        assert_eq!(of("cvId=id"), (Verdict::Configured, true));
        assert_eq!(of(""), (Verdict::Differs, false));
        assert_eq!(of("cvId=uuid"), (Verdict::Differs, false));
    }

    #[test]
    fn a_quota_is_shared_where_one_endpoint_goes_on_from_what_another_left() {
        let shared = |left_before, first_remaining| {
            let quota = Quota {
                calls: 1,
                limit: Some(2_000),
                first_remaining: Some(first_remaining),
                left_before: Some(left_before),
            };
            let seen = Seen {
                quota: [(Endpoint::Detail, quota)].into(),
                ..Seen::default()
            };
            finding(&report(&seen, &source(&[])), "quota-apart").verdict
        };
        assert_eq!(shared(1_970, 1_999), Verdict::Holds);
        assert_eq!(shared(1_970, 1_969), Verdict::Differs);
        assert_eq!(
            shared(1_970, 500),
            Verdict::Holds,
            "the daemon fetches meanwhile"
        );
        assert_eq!(shared(1_970, 1_950), Verdict::CannotTell);
    }
}
