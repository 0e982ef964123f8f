//! What is in a list: where its rows are, and which of their fields are id and status.

use std::collections::{BTreeMap, BTreeSet};

use super::{Looker, Row, word};
use crate::vdab::probe::{Shape, Sight};

/// No source has more status words; what has is none.
const MOST_WORDS: usize = 8;

impl Looker<'_> {
    /// The rows of a good list, under whatever name.
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
        Some(rows.filter_map(Shape::fields).cloned().collect())
    }

    /// Finds the fields of id and status.
    pub(super) fn learn_fields(&mut self, rows: &[Row]) {
        let names = &mut self.seen.dialect.names;
        let of = |is: &dyn Fn(&Shape) -> bool, name: &str| {
            rows.iter().any(|row| row.get(name).is_some_and(is))
        };
        let all: BTreeSet<_> = rows.iter().flat_map(BTreeMap::keys).collect();
        let is_id = |shape: &Shape| matches!(shape, Shape::Id(_));
        let is_word = |shape: &Shape| matches!(shape, Shape::Word(_));
        for (ours, is) in [
            ("cvId", &is_id as &dyn Fn(&Shape) -> bool),
            ("status", &is_word),
        ] {
            let known = [names.of(ours).to_owned(), ours.to_owned()];
            // A status in small letters is a status all the same, and nothing else is to be taken for it.
            let is_there = |name: &&String| of(is, name) || ours == "status" && all.contains(*name);
            let known = known.iter().find(is_there);
            let found = known.or_else(|| all.iter().copied().find(|name| of(is, name)));
            let words: BTreeSet<_> = rows
                .iter()
                .filter_map(|row| match row.get(found?) {
                    Some(Shape::Word(word)) => Some(word),
                    _ => None,
                })
                .collect();
            if let Some(found) = found.filter(|_| words.len() <= MOST_WORDS) {
                names.set(ours, found);
            }
        }
    }

    pub(super) fn id(&self, row: &Row) -> Option<usize> {
        match row.get(self.seen.dialect.names.of("cvId")) {
            Some(Shape::Id(id)) => Some(*id),
            _ => None,
        }
    }

    pub(super) fn word(&self, row: &Row) -> Option<String> {
        word(row.get(self.seen.dialect.names.of("status")))
    }
}
