//! Observations about a source as plain data, without ids and without content of documents.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;

use crate::config::List;
use crate::model::{Dialect, Paging};
use crate::vdab::Operation;
use crate::vdab::probe::Sight;

/// All observations; `None` if something could not be observed.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// The reason why nothing, or no more, could be observed.
    pub trouble: Option<Trouble>,
    /// The dialect that it understands, as far as it was found.
    pub dialect: Dialect,
    /// The reason why it refuses bulk calls in each dialect that was tried.
    pub refused: Option<String>,
    /// Whether a window long ago is empty, so that `van` and `tot` have an effect.
    pub heeds_window: Option<bool>,
    /// Whether `aantal` limits a page.
    pub heeds_size: Option<bool>,
    /// How it counts pages; `None` if unknown.
    pub paging: Option<Paging>,
    /// The lowest value of `vanaf` that it accepts.
    pub first: u64,
    /// Whether `vanaf` has an effect.
    pub heeds_offset: Option<bool>,
    /// The widest window that it accepts, of those that were tried.
    pub width: Option<TimeDelta>,
    /// Whether it cuts wider windows silently.
    pub cuts_windows: bool,
    /// The status of a window of six days.
    pub six_days: Option<u16>,
    /// The page size that it accepts, of those that were tried.
    pub page_size: Option<u64>,
    /// Items of a page, if it is shorter than requested although there are more.
    pub page_capped: Option<u64>,
    /// Items of a page without `aantal`, and whether there are more.
    pub default_page: Option<(u64, bool)>,
    /// A page of a window.
    pub sample: Option<Sample>,
    pub order: Option<Order>,
    pub details: Vec<ListedDetail>,
    /// The response to an unknown id, and to a malformed one.
    pub unknown_id: Option<Sight>,
    pub malformed_id: Option<Sight>,
    /// An error in JSON, from any call.
    pub error: Option<Sight>,
    /// The status of an error without JSON.
    pub error_page: Option<u16>,
    /// The remaining quota in the latest response.
    pub left: Option<u64>,
    /// The quota in the headers of each endpoint's responses.
    pub quota: BTreeMap<Operation, Quota>,
    /// Whether responses have a date, and how many seconds this machine's clock is ahead of it.
    pub dated: Option<bool>,
    pub ahead: Option<i64>,
    /// Forms of lists that differ from the contract's.
    pub forms: BTreeSet<&'static str>,
    /// The reason why a response to a bulk call proves nothing.
    pub unproven: Option<&'static str>,
    /// Content types of successful responses.
    pub content_types: BTreeSet<String>,
    pub search: Search,
    pub reference: Reference,
    pub calls: u64,
}

/// The reason why the API cannot be tested.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    pub what: String,
    pub variables: Vec<&'static str>,
    /// Whether the key is refused.
    pub key: bool,
}

/// A page of a window.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    pub items: u64,
    /// The field of the total, and its value.
    pub total: Option<(String, u64)>,
    pub duplicates: u64,
    /// Items whose id is not a UUID.
    pub garbage: u64,
    /// Names of the fields of items.
    pub fields: BTreeSet<String>,
    /// How often each status word occurs.
    pub words: BTreeMap<Option<String>, u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    OldestFirst,
    NewestFirst,
    Neither,
}

/// The result of a detail call for a listed CV.
#[derive(Clone, Debug)]
pub(super) struct ListedDetail {
    /// Its status word in the list.
    pub listed: Option<String>,
    pub status: u16,
    pub kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A document with content: its status word, and the names of its leading fields.
    Document {
        word: Option<String>,
        names: Leading,
    },
    /// A document with only an id and a status.
    Bare {
        word: Option<String>,
    },
    /// An error that proves that the CV is gone.
    Gone,
    Other(String),
}

/// Names of the leading fields of a document; `None` if the field is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Leading {
    pub id: Option<String>,
    pub status: Option<String>,
    pub date: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Quota {
    pub calls: u64,
    pub limit: Option<u64>,
    /// Remaining calls after the first call to this endpoint.
    pub first_remaining: Option<u64>,
    /// Remaining calls after the call before that one, to any endpoint.
    pub left_before: Option<u64>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Search {
    pub trouble: Option<String>,
    /// The statuses of calls with 5 and with 6 fields.
    pub velden: Option<(u16, u16)>,
    /// The statuses of pages of 200 and of 201.
    pub page: Option<(u16, u16)>,
    /// Matches of one value, of another, and of both.
    pub repeated: Option<(u64, u64, u64)>,
    /// Matches of one value; then status and matches with a filter named as in the document, and with an unknown filter.
    pub filters: Option<(u64, Filtered, Filtered)>,
}

/// The status of a search, and its number of matches.
pub(super) type Filtered = (u16, Option<u64>);

#[derive(Clone, Debug, Default)]
pub(super) struct Reference {
    pub trouble: Option<String>,
    /// Lists that were found, and lists that were not, with the status.
    pub found: Vec<List>,
    pub missing: Vec<(List, u16)>,
    /// Names of the fields of an entry.
    pub fields: BTreeSet<String>,
    /// Number of diplomas that a keyword found.
    pub diplomas: Option<usize>,
}
