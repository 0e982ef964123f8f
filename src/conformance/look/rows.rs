//! The rows of a list, and which of their fields are the id and the status.

use std::collections::{BTreeMap, BTreeSet};

use super::{Looker, Row, word};
use crate::model::{Standing, StatusWords};
use crate::vdab::probe::{Outline, Sight};

/// A field with more words is not a status.
const MOST_WORDS: usize = 8;

impl Looker<'_> {
    /// The rows of a list, under any name.
    pub(super) fn rows(&mut self, sight: &Sight) -> Option<Vec<Row>> {
        let fields = sight.body.fields().filter(|_| sight.status == 200)?;
        let names = &mut self.seen.dialect.names;
        let lists: Vec<_> = fields
            .iter()
            .filter(|(_, value)| value.items().is_some())
            .map(|(name, _)| name.as_str())
            .collect();
        let usual = [names.of("resultaten").to_owned(), "resultaten".to_owned()];
        let known = usual
            .iter()
            .map(String::as_str)
            .find(|name| lists.contains(name));
        let name = known.or(match lists[..] {
            [only] => Some(only),
            _ => None,
        })?;
        names.set("resultaten", name);
        let rows = fields[name].items()?.iter();
        Some(rows.filter_map(Outline::fields).cloned().collect())
    }

    /// Finds the fields of id and status.
    pub(super) fn learn_fields(&mut self, rows: &[Row]) {
        let statuses = &self.source.api.statuses;
        let names = &mut self.seen.dialect.names;
        for ours in ["cvId", "status"] {
            if let Some(found) = field(ours, names.of(ours), rows, statuses) {
                names.set(ours, &found);
            }
        }
    }

    pub(super) fn id(&self, row: &Row) -> Option<usize> {
        match row.get(self.seen.dialect.names.of("cvId")) {
            Some(Outline::Id(id)) => Some(*id),
            _ => None,
        }
    }

    pub(super) fn word(&self, row: &Row) -> Option<String> {
        word(row.get(self.seen.dialect.names.of("status")))
    }
}

/// The name of `ours`, which is `cvId` or `status`, in these rows; `usual` is the expected name.
fn field(ours: &str, usual: &str, rows: &[Row], statuses: &StatusWords) -> Option<String> {
    let is_status = ours == "status";
    let is = |shape: &Outline| match shape {
        Outline::Id(_) => !is_status,
        Outline::Word(_) => is_status,
        _ => false,
    };
    let words =
        |name: &str| -> BTreeSet<_> { rows.iter().filter_map(|row| word(row.get(name))).collect() };
    let holds = |name: &str| rows.iter().any(|row| row.get(name).is_some_and(is));
    let all: BTreeSet<&String> = rows.iter().flat_map(BTreeMap::keys).collect();
    // A status in small letters is a status all the same, and nothing else is to be taken for it.
    let known = [usual, ours]
        .into_iter()
        .find(|name| holds(name) || is_status && all.iter().any(|one| one == name));
    // Words in capitals under another name may be anything, a place or a person too, and words are told. So one of them has to
    // be a status that is known.
    let is_told = |word: &String| statuses.standing(Some(word)) != Standing::Unknown;
    let is_it = |name: &str| holds(name) && (!is_status || words(name).iter().any(is_told));
    let mut others = all.iter().map(|name| name.as_str());
    let found = known.or_else(|| others.find(|name| is_it(name)));
    found
        .filter(|name| words(name).len() <= MOST_WORDS)
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(name: &str, words: &[&str]) -> Vec<Row> {
        let row = |(at, word): (usize, &&str)| {
            let id = ("nummer".to_owned(), Outline::Id(at));
            let word = (name.to_owned(), Outline::Word((*word).to_owned()));
            Row::from([id, word])
        };
        words.iter().enumerate().map(row).collect()
    }

    #[test]
    fn a_status_has_its_name_or_a_word_that_is_known() {
        let statuses = StatusWords {
            live: vec!["OPEN".to_owned()],
            gone: Vec::new(),
        };
        let field = |ours, rows: &[Row]| field(ours, ours, rows, &statuses);
        let named = |name: &str| Some(name.to_owned());
        let renamed = rows("state", &["OPEN", "WACHT"]);
        assert_eq!(field("status", &renamed), named("state"));
        assert_eq!(field("cvId", &renamed), named("nummer"));
        assert_eq!(
            field("status", &rows("status", &["ACTIEF"])),
            named("status")
        );
        // Nobody's home is told.
        assert_eq!(field("status", &rows("gemeente", &["GENT", "AALST"])), None);
        let many = ["OPEN", "A", "B", "C", "D", "E", "F", "G", "H"];
        assert_eq!(field("status", &rows("state", &many)), None);
    }
}
