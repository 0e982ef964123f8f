//! Which listed ids need a detail call, and what is known of the others; pure.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::model::{CvId, Fate, Outcome, ParkClass, Standing, StatusWords};
use crate::store::parked_cv;
use crate::telemetry::ListedStatus;
use crate::vdab::BulkItem;

/// What to do about one listed id.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Its detail has to be asked for.
    Fetch(CvId),
    /// Its fate is known without asking.
    Known(Outcome),
    /// What we hold already reflects this window, or it waits among the parked for its next attempt.
    Skip,
}

/// What the database knows of the ids on a page.
#[derive(Debug, Default)]
pub(super) struct Knowledge {
    /// Ids whose state is known as of the window's settled end or later, and whether they are gone.
    pub confirmed: HashMap<Uuid, bool>,
    /// Ids that are parked and not due, where such are to be left alone.
    pub waiting: HashSet<String>,
    /// Ids whose delete is held back until a person decides.
    pub held: HashSet<Uuid>,
}

/// Decides about one listed id of window `seq`, listed at `as_of`.
///
/// `standing` is the meaning of its status word on this page, see [`standings`]. A detail call that is not needed is not made. But where what we hold contradicts the listing (we hold it as gone, the
/// listing says it is there), the later answer decides.
#[must_use]
pub(super) fn sift(
    item: &BulkItem,
    seq: u64,
    as_of: DateTime<Utc>,
    knowledge: &Knowledge,
    standing: Standing,
) -> Decision {
    let known = |fate| {
        Decision::Known(Outcome {
            window: Some(seq),
            as_of,
            fate,
        })
    };
    let text = item.cv_id.as_deref().unwrap_or_default();
    if knowledge.waiting.contains(&parked_key(text)) {
        return Decision::Skip;
    }
    let Some(id) = CvId::parse(text) else {
        return known(Fate::Parked(
            text.to_owned(),
            ParkClass::BadId,
            Duration::ZERO,
        ));
    };
    let held = knowledge.confirmed.get(&id.0);
    match (standing, held) {
        (Standing::Gone, _) if knowledge.held.contains(&id.0) => Decision::Skip,
        (Standing::Gone, Some(true))
        | (Standing::Live, Some(false))
        | (Standing::Unknown, Some(_)) => Decision::Skip,
        (Standing::Gone, _) => known(Fate::Gone(id)),
        (Standing::Live | Standing::Unknown, _) => Decision::Fetch(id),
    }
}

/// Under what a listed id is parked: a UUID in its usual spelling, or garbage made short and printable.
#[must_use]
pub(super) fn parked_key(text: &str) -> String {
    CvId::parse(text).map_or_else(|| parked_cv::key(text), |id| id.to_string())
}

/// Each CV on a page with the meaning of its status word. If a CV stands twice with different words, its detail decides.
#[must_use]
pub(super) fn standings(items: &[BulkItem], words: &StatusWords) -> HashMap<Uuid, Standing> {
    let mut standings = HashMap::new();
    for item in items {
        if let Some(id) = item.cv_id.as_deref().and_then(CvId::parse) {
            let standing = words.standing(item.status.as_deref());
            standings
                .entry(id.0)
                .and_modify(|known| {
                    if *known != standing {
                        *known = Standing::Unknown;
                    }
                })
                .or_insert(standing);
        }
    }
    standings
}

/// Listed ids by what they say about themselves, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Labels {
    live: u64,
    gone: u64,
    unknown: u64,
    invalid_id: u64,
}

impl Labels {
    /// Counts the items of a page.
    pub(super) fn count(&mut self, items: &[BulkItem], words: &StatusWords) {
        for item in items {
            let valid = item.cv_id.as_deref().and_then(CvId::parse).is_some();
            *match words.standing(item.status.as_deref()) {
                _ if !valid => &mut self.invalid_id,
                Standing::Live => &mut self.live,
                Standing::Gone => &mut self.gone,
                Standing::Unknown => &mut self.unknown,
            } += 1;
        }
    }

    /// Each status with its count.
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
    const ID: &str = "30dbfef1-59df-4521-a111-964bf0208e68";

    fn decide(cv_id: Option<&str>, status: Option<&str>, held_gone: Option<bool>) -> &'static str {
        let item = BulkItem {
            cv_id: cv_id.map(str::to_owned),
            status: status.map(str::to_owned),
        };
        let id = CvId::parse(ID).unwrap();
        let knowledge = Knowledge {
            confirmed: held_gone.into_iter().map(|gone| (id.0, gone)).collect(),
            waiting: HashSet::from(["WAITING".to_owned()]),
            held: HashSet::from([CvId::parse(HELD).unwrap().0]),
        };
        let words = StatusWords {
            live: vec!["OPEN".into()],
            gone: vec!["VERWIJDERD".into()],
        };
        let standing = words.standing(status);
        match sift(&item, 0, DateTime::UNIX_EPOCH, &knowledge, standing) {
            Decision::Fetch(_) => "fetch",
            Decision::Skip => "skip",
            Decision::Known(outcome) => match outcome.fate {
                Fate::Gone(_) => "delete",
                Fate::Parked(_, ParkClass::BadId, _) => "park",
                other => panic!("{other:?}"),
            },
        }
    }

    #[test]
    fn every_case() {
        for (status, held_gone, decision) in [
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
                decide(Some(ID), status, held_gone),
                decision,
                "{status:?} {held_gone:?}"
            );
        }
    }

    #[test]
    fn a_delete_that_is_held_back_is_not_asked_for_again_but_a_cv_that_is_back_is_fetched() {
        assert_eq!(decide(Some(HELD), Some("VERWIJDERD"), None), "skip");
        assert_eq!(decide(Some(HELD), Some("OPEN"), None), "fetch");
    }

    #[test]
    fn a_cv_that_stands_twice_with_different_words_is_unknown() {
        let item = |id: &str, status: &str| BulkItem {
            cv_id: Some(id.to_owned()),
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
    fn garbage_is_parked_whatever_its_status() {
        for (cv_id, status) in [
            (Some("NOT_FOUND"), Some("OPEN")),
            (Some("../x"), Some("VERWIJDERD")),
            (None, None),
        ] {
            assert_eq!(decide(cv_id, status, None), "park");
        }
        assert_eq!(decide(Some("WAITING"), Some("OPEN"), None), "skip");
    }
}
