//! Decides which listed ids need a detail call, and the outcome of the others; pure.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::model::{CvId, Fate, Outcome, ParkClass, Standing, StatusWords};
use crate::store::parked_cv;
use crate::telemetry::ListedStatus;
use crate::vdab::{BulkItem, ListedId};

/// The decision about one listed id.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Fetch(CvId),
    /// The outcome is known without a call.
    Resolve(Outcome),
    /// The state at the end of the window is stored, the CV is suppressed, or it is parked and not due.
    Skip,
}

/// The state in the database of the ids on a page.
#[derive(Debug, Default)]
pub(super) struct Knowledge {
    /// Ids whose state is known as of the window's settled end or later, and whether they are gone.
    pub confirmed: HashMap<Uuid, bool>,
    /// Keys of ids that are parked and not due, if such ids are to be skipped.
    pub waiting: HashSet<String>,
    /// Ids whose delete is held until a person decides.
    pub held: HashSet<Uuid>,
    pub suppressed: HashSet<Uuid>,
}

/// Decides about one listed id of window `seq`, listed at `as_of`. Its status word on this page means `standing`.
///
/// A detail call that is not needed is not made. If the stored state contradicts the listing (it is stored as gone and listed
/// as live), the response to a later call decides.
#[must_use]
pub(super) fn sift(
    id: &ListedId,
    seq: u64,
    as_of: DateTime<Utc>,
    knowledge: &Knowledge,
    standing: Standing,
) -> Decision {
    let resolve = |fate| {
        Decision::Resolve(Outcome {
            window: Some(seq),
            as_of,
            fate,
        })
    };
    if !knowledge.waiting.is_empty() && knowledge.waiting.contains(&parked_key(id)) {
        return Decision::Skip;
    }
    let id = match id {
        ListedId::Valid(id) => *id,
        ListedId::Garbage(_) | ListedId::Missing => {
            let fate = Fate::Parked(parked_key(id), ParkClass::BadId, Duration::ZERO);
            return resolve(fate);
        }
    };
    if knowledge.suppressed.contains(&id.0) {
        return Decision::Skip;
    }
    let stored_as_gone = knowledge.confirmed.get(&id.0);
    match (standing, stored_as_gone) {
        (Standing::Gone, _) if knowledge.held.contains(&id.0) => Decision::Skip,
        (Standing::Gone, Some(true))
        | (Standing::Live, Some(false))
        | (Standing::Unknown, Some(_)) => Decision::Skip,
        (Standing::Gone, _) => resolve(Fate::Gone(id)),
        (Standing::Live | Standing::Unknown, _) => Decision::Fetch(id),
    }
}

/// The key under which a listed id is parked: a UUID in its usual form, or the form of a malformed id.
#[must_use]
pub(super) fn parked_key(id: &ListedId) -> String {
    match id {
        ListedId::Valid(id) => id.to_string(),
        ListedId::Garbage(text) => parked_cv::key(text),
        ListedId::Missing => parked_cv::key(""),
    }
}

/// Each CV on a page with the meaning of its status word. If a CV occurs twice with different words, its detail decides.
#[must_use]
pub(super) fn standings(items: &[BulkItem], words: &StatusWords) -> HashMap<Uuid, Standing> {
    let mut standings = HashMap::with_capacity(items.len());
    for item in items {
        if let ListedId::Valid(id) = item.id {
            let standing = words.standing(item.status.as_deref());
            standings
                .entry(id.0)
                .and_modify(|earlier| {
                    if *earlier != standing {
                        *earlier = Standing::Unknown;
                    }
                })
                .or_insert(standing);
        }
    }
    standings
}

/// Listed ids by status, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Labels {
    live: u64,
    gone: u64,
    unknown: u64,
    invalid_id: u64,
}

impl Labels {
    /// Adds the items of a page.
    pub(super) fn count(&mut self, items: &[BulkItem], words: &StatusWords) {
        for item in items {
            *match words.standing(item.status.as_deref()) {
                _ if item.id.valid().is_none() => &mut self.invalid_id,
                Standing::Live => &mut self.live,
                Standing::Gone => &mut self.gone,
                Standing::Unknown => &mut self.unknown,
            } += 1;
        }
    }

    #[must_use]
    pub(super) fn counts(self) -> [(ListedStatus, u64); 4] {
        [
            (ListedStatus::Live, self.live),
            (ListedStatus::Gone, self.gone),
            (ListedStatus::Unknown, self.unknown),
            (ListedStatus::InvalidId, self.invalid_id),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELD: &str = "cb60cf85-1380-4a5a-adae-0b7bc6160661";
    const SUPPRESSED: &str = "0c4ee9cf-4ad0-4a3a-9b8a-d6f02b1ad4d5";
    const ID: &str = "30dbfef1-59df-4521-a111-964bf0208e68";

    fn listed(id: &str) -> ListedId {
        CvId::parse(id).map_or_else(|| ListedId::Garbage(id.to_owned()), ListedId::Valid)
    }

    fn decide(id: &ListedId, status: Option<&str>, stored_as_gone: Option<bool>) -> &'static str {
        let confirmed = stored_as_gone.map(|gone| (CvId::parse(ID).unwrap().0, gone));
        let knowledge = Knowledge {
            confirmed: confirmed.into_iter().collect(),
            waiting: HashSet::from([parked_cv::key("WAITING")]),
            held: HashSet::from([CvId::parse(HELD).unwrap().0]),
            suppressed: HashSet::from([CvId::parse(SUPPRESSED).unwrap().0]),
        };
        let words = StatusWords {
            live: vec!["OPEN".into()],
            gone: vec!["VERWIJDERD".into()],
        };
        let standing = words.standing(status);
        match sift(id, 0, DateTime::UNIX_EPOCH, &knowledge, standing) {
            Decision::Fetch(_) => "fetch",
            Decision::Skip => "skip",
            Decision::Resolve(outcome) => match outcome.fate {
                Fate::Gone(_) => "delete",
                Fate::Parked(_, ParkClass::BadId, _) => "park",
                other => panic!("{other:?}"),
            },
        }
    }

    #[test]
    fn every_case() {
        for (status, stored_as_gone, decision) in [
            (Some("OPEN"), None, "fetch"),
            (Some("OPEN"), Some(false), "skip"),
            (Some("OPEN"), Some(true), "fetch"),
            (Some("VERWIJDERD"), None, "delete"),
            (Some("VERWIJDERD"), Some(false), "delete"),
            (Some("VERWIJDERD"), Some(true), "skip"),
            (Some("GEARCHIVEERD"), None, "fetch"),
            (Some("GEARCHIVEERD"), Some(false), "skip"),
            (Some("GEARCHIVEERD"), Some(true), "skip"),
            (None, None, "fetch"),
            (None, Some(true), "skip"),
        ] {
            assert_eq!(
                decide(&listed(ID), status, stored_as_gone),
                decision,
                "{status:?} {stored_as_gone:?}"
            );
        }
    }

    #[test]
    fn a_held_delete_is_skipped_but_a_cv_that_is_live_again_is_fetched() {
        assert_eq!(decide(&listed(HELD), Some("VERWIJDERD"), None), "skip");
        assert_eq!(decide(&listed(HELD), Some("OPEN"), None), "fetch");
    }

    #[test]
    fn a_suppressed_cv_is_skipped_for_any_status() {
        for status in [Some("OPEN"), Some("VERWIJDERD"), Some("ANDERS"), None] {
            assert_eq!(decide(&listed(SUPPRESSED), status, None), "skip");
        }
    }

    #[test]
    fn a_cv_that_occurs_twice_with_different_words_is_unknown() {
        let item = |id: &str, status: &str| BulkItem {
            id: listed(id),
            status: Some(status.to_owned()),
        };
        let words = StatusWords {
            live: vec!["OPEN".into()],
            gone: vec!["VERWIJDERD".into()],
        };
        let upper_case = ID.to_uppercase();
        for (first, second, expected) in [
            ("OPEN", "OPEN", Standing::Live),
            ("VERWIJDERD", "verwijderd", Standing::Gone),
            ("OPEN", "VERWIJDERD", Standing::Unknown),
            ("VERWIJDERD", "OPEN", Standing::Unknown),
            ("OPEN", "ANDERS", Standing::Unknown),
        ] {
            let items = [
                item(ID, first),
                item(&upper_case, second),
                item("x", second),
            ];
            let standings = standings(&items, &words);
            assert_eq!(standings.len(), 1);
            assert_eq!(standings[&CvId::parse(ID).unwrap().0], expected);
        }
    }

    #[test]
    fn garbage_is_parked_for_any_status() {
        for (id, status) in [
            (listed("NOT_FOUND"), Some("OPEN")),
            (listed("../x"), Some("VERWIJDERD")),
            (ListedId::Missing, None),
        ] {
            assert_eq!(decide(&id, status, None), "park");
        }
        assert_eq!(decide(&listed("WAITING"), Some("OPEN"), None), "skip");
    }
}
