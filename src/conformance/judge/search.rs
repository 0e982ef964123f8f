//! Search and reference lists.

use super::Judgement::{self, CannotTell, Differs, Holds, Tolerated};
use super::{Eye, differs, setting};
use crate::config::{List, VARIABLES};

const LISTS: &str = "CVSYNC_REFERENCE_LISTS";

impl Eye<'_> {
    pub(in crate::conformance) fn search_fields(&self) -> Judgement {
        match (self.seen.search.velden, &self.seen.search.trouble) {
            (Some((200, 400)), _) => Holds("6 are refused".to_owned()),
            (Some((200, status)), _) => Tolerated(format!("6 give status {status}")),
            (Some((status, _)), _) => Tolerated(format!("5 give status {status}")),
            (None, trouble) => CannotTell(searching(trouble.as_deref())),
        }
    }

    pub(in crate::conformance) fn search_page(&self) -> Judgement {
        match (self.seen.search.page, &self.seen.search.trouble) {
            (Some((200, 400)), _) => Holds("201 are refused".to_owned()),
            (Some((200, status)), _) => Tolerated(format!("201 give status {status}")),
            (Some((status, _)), _) => Differs(
                format!(
                    "200 give status {status}: use `cvsync search` with a smaller --limit; syncs do not search"
                ),
                Vec::new(),
            ),
            (None, trouble) => CannotTell(searching(trouble.as_deref())),
        }
    }

    pub(in crate::conformance) fn search_values(&self) -> Judgement {
        match (self.seen.search.repeated, &self.seen.search.trouble) {
            (Some((one, other, both)), _) => {
                let seen = format!("{one} and {other} alone, {both} together");
                if both > one.max(other) {
                    Holds(seen)
                } else if one == 0 || other == 0 {
                    CannotTell(seen)
                } else {
                    Tolerated(format!(
                        "{seen}: only one value has an effect; try to separate them by a comma"
                    ))
                }
            }
            (None, trouble) => CannotTell(searching(trouble.as_deref())),
        }
    }

    pub(in crate::conformance) fn search_filters(&self) -> Judgement {
        let Some((alone, (status, licence), nothing)) = self.seen.search.filters else {
            return CannotTell(searching(self.seen.search.trouble.as_deref()));
        };
        let misspelt = match nothing {
            (200, found) if found == Some(alone) => {
                "; an unknown filter is ignored, so a misspelt one finds every candidate"
            }
            (200, _) => "",
            _ => "; an unknown filter is refused",
        };
        match licence {
            Some(found) if alone > found => {
                Holds(format!("{found} of {alone} with rijbewijzen=B{misspelt}"))
            }
            Some(_) if alone == 0 => CannotTell("no candidate wants that region".to_owned()),
            Some(_) => Tolerated(format!(
                "all {alone} with rijbewijzen=B: VDAB may have another name for it{misspelt}"
            )),
            None => Tolerated(format!(
                "rijbewijzen=B gives status {status}: VDAB may have another name for it{misspelt}"
            )),
        }
    }

    pub(in crate::conformance) fn reference_lists(&self) -> Judgement {
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
            let seen = format!("all {} exist", reference.found.len());
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
                "not found: {}; remove lists that VDAB does not have, or set their path as name=path",
                missing.join(", ")
            ),
            setting(LISTS, Some(found).filter(|found| !found.is_empty())),
            false,
        )
    }

    pub(in crate::conformance) fn reference_label(&self) -> Judgement {
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

    pub(in crate::conformance) fn diplomas(&self) -> Judgement {
        match (self.seen.reference.diplomas, &self.seen.reference.trouble) {
            (Some(found @ 1..=10), _) => Holds(format!("{found} were returned")),
            (Some(0), _) => CannotTell("the keyword found no diploma".to_owned()),
            (Some(found), _) => Tolerated(format!("{found} were returned")),
            (None, Some(trouble)) => CannotTell(trouble.clone()),
            (None, None) => CannotTell("the list was not found".to_owned()),
        }
    }
}

fn is_default(variable: &str, value: &str) -> bool {
    let mut known = VARIABLES.iter();
    known.any(|known| known.name == variable && known.default == Some(value))
}

fn searching(trouble: Option<&str>) -> String {
    trouble.map_or_else(
        || "no search was made".to_owned(),
        |trouble| format!("a search failed: {trouble}"),
    )
}
