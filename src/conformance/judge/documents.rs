//! CVs: status words, documents, and the proof that a CV is gone.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::Judgement::{self, CannotTell, Differs, Holds, Tolerated};
use super::{Eye, differs, no_cvs, setting};
use crate::conformance::seen::{Kind, ListedDetail};
use crate::model::Standing;
use crate::vdab::probe::Sight;

impl Eye<'_> {
    /// Whether a response says that a CV is gone: a whole document does if its status is a word for gone; an almost empty one does
    /// unless its status is a word for live.
    fn is_gone(&self, kind: &Kind) -> bool {
        let standing = |word: &Option<String>| self.words().standing(word.as_deref());
        match kind {
            Kind::Gone => true,
            Kind::Bare { word } => standing(word) != Standing::Live,
            Kind::Document { word, .. } => standing(word) == Standing::Gone,
            Kind::Other(_) => false,
        }
    }

    /// Whether the details of CVs with this listed status say live or gone.
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

    /// Listed status words that are configured as `configured`, but whose details say `found`.
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

    pub(in crate::conformance) fn live_words(&self) -> Judgement {
        const VARIABLE: &str = "CVSYNC_API_LIVE_STATUSES";
        let new = self.found(Standing::Unknown, Standing::Live);
        let known = self.found(Standing::Live, Standing::Live);
        let seen = format!("listed: {}", self.seen_words());
        if !new.is_empty() && !known.is_empty() {
            // A second status may mean that a CV must not be shown any more. Only VDAB can tell.
            let seen = format!(
                "{seen}; CVs with {} have whole documents: ask VDAB whether they are live or gone; until then cvsync keeps them",
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
            0 => CannotTell("no live CV was seen with its status".to_owned()),
            count => Holds(format!("{count} documents have it")),
        }
    }

    pub(in crate::conformance) fn gone_words(&self) -> Judgement {
        const VARIABLE: &str = "CVSYNC_API_GONE_STATUSES";
        const CONTRACTS: [&str; 3] = ["VERWIJDERD", "GESLOTEN", "AFGESLOTEN"];
        let new = self.found(Standing::Unknown, Standing::Gone);
        let known = self.found(Standing::Gone, Standing::Gone);
        let wrong = self.found(Standing::Gone, Standing::Live);
        let seen = format!("listed: {}", self.seen_words());
        let configured = || self.words().gone.iter().map(String::as_str);
        if !wrong.is_empty() {
            let words = configured().filter(|word| !wrong.contains(word)).chain(new);
            let seen = format!(
                "{seen}; the documents of CVs with {} say that they are live, and cvsync would delete them",
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
    fn is_listed_as_gone(&self, told: &ListedDetail) -> bool {
        self.words().standing(told.listed.as_deref()) == Standing::Gone
    }

    pub(in crate::conformance) fn gone_answer(&self) -> Judgement {
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

    pub(in crate::conformance) fn malformed_id(&self) -> Judgement {
        match &self.seen.malformed_id {
            None => CannotTell("no detail was asked for".to_owned()),
            Some(Sight {
                status: 400, said, ..
            }) if said.says("invalid string syntax") => {
                Holds("status 400, with these words".to_owned())
            }
            Some(sight) => Tolerated(format!("status {}", sight.status)),
        }
    }

    pub(in crate::conformance) fn document_fields(&self) -> Judgement {
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
}

fn joined<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<Vec<_>>().join(",")
}
