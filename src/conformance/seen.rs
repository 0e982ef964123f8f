//! What was seen of a source, as plain data: no id, no word of a document.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;

use crate::config::List;
use crate::model::{Dialect, Paging};
use crate::vdab::Operation;
use crate::vdab::probe::Sight;

/// All of it; `None` where it could not be looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Why nothing of the API could be looked at, or no more of it.
    pub trouble: Option<Trouble>,
    /// The dialect in which it answers, as far as that was found.
    pub dialect: Dialect,
    /// Why it answers bulk calls in no dialect that was tried.
    pub refused: Option<String>,
    /// Whether a window long ago is empty: `van` and `tot` are heeded.
    pub heeds_window: Option<bool>,
    /// Whether a page holds no more than `aantal` asks for.
    pub heeds_size: Option<bool>,
    /// How it counts pages; `None` where that could not be told.
    pub paging: Option<Paging>,
    /// The first number of `vanaf` that is answered.
    pub first: u64,
    /// Whether `vanaf` makes a difference.
    pub heeds_offset: Option<bool>,
    /// The widest window that it answers, of those that were tried.
    pub width: Option<TimeDelta>,
    /// Whether a wider one is cut without a word.
    pub cuts_windows: bool,
    /// What six days are answered with.
    pub six_days: Option<u16>,
    /// The page size that it takes, of those that were tried.
    pub page_size: Option<u64>,
    /// How many items a page holds where more were asked for, and are there.
    pub page_capped: Option<u64>,
    /// How many items a page holds where nothing was asked for, and whether there are more.
    pub default_page: Option<(u64, bool)>,
    /// A page of a window.
    pub sample: Option<Sample>,
    /// Which change comes first.
    pub order: Option<Order>,
    /// Details of listed CVs.
    pub details: Vec<Told>,
    /// The detail of an id that never was one, and of one that is malformed.
    pub unknown_id: Option<Sight>,
    pub malformed_id: Option<Sight>,
    /// An error in JSON, of any call.
    pub error: Option<Sight>,
    /// An error that is no JSON.
    pub error_page: Option<u16>,
    /// What the latest answer said is left of the quota.
    pub left: Option<u64>,
    /// What the headers of each endpoint's answers told of the quota.
    pub quota: BTreeMap<Operation, Quota>,
    /// Whether answers tell the time, and how far this machine is ahead of it in seconds.
    pub dated: Option<bool>,
    pub ahead: Option<i64>,
    /// The forms of lists that are not the contract's.
    pub forms: BTreeSet<&'static str>,
    /// Why a good answer to a bulk call proves nothing.
    pub unproven: Option<&'static str>,
    /// The content types of good answers.
    pub content_types: BTreeSet<String>,
    pub search: Search,
    pub reference: Reference,
    /// How many calls it took.
    pub calls: u64,
}

/// Why nothing can be told.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    /// A sentence.
    pub what: String,
    /// The variables to look at.
    pub variables: Vec<&'static str>,
    /// Whether it is the key that is refused.
    pub key: bool,
}

/// A page of a window.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    pub items: u64,
    /// The field of the total, and what it says.
    pub total: Option<(String, u64)>,
    pub duplicates: u64,
    /// Items whose id is none.
    pub garbage: u64,
    /// Names of the fields of items.
    pub fields: BTreeSet<String>,
    /// How often which status word comes.
    pub words: BTreeMap<Option<String>, u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    OldestFirst,
    NewestFirst,
    Neither,
}

/// What a detail told of a listed CV.
#[derive(Clone, Debug)]
pub(super) struct Told {
    /// Its status word in the list.
    pub listed: Option<String>,
    pub status: u16,
    pub kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A document with something in it; its status word, and the names of the fields that lead it.
    Document {
        word: Option<String>,
        names: Leading,
    },
    /// A document with nothing in it but who it is and what became of it.
    Bare { word: Option<String> },
    /// An error that proves that it is gone.
    Gone,
    /// Any other answer.
    Other(String),
}

/// Names of the fields that lead a document; `None` where there is none.
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
    /// After the first call to it.
    pub first_remaining: Option<u64>,
    /// What the call before that one had left, to whatever endpoint.
    pub left_before: Option<u64>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Search {
    pub trouble: Option<String>,
    /// What 5 and 6 fields are answered with.
    pub velden: Option<(u16, u16)>,
    /// What pages of 200 and of 201 are answered with.
    pub page: Option<(u16, u16)>,
    /// How many match one value, another, and both.
    pub repeated: Option<(u64, u64, u64)>,
    /// How many match one value alone, and status and number with a filter of the document's words beside it, and with one that is none.
    pub filters: Option<(u64, Filtered, Filtered)>,
}

/// What a search with a certain filter is answered with, and how many it finds.
pub(super) type Filtered = (u16, Option<u64>);

#[derive(Clone, Debug, Default)]
pub(super) struct Reference {
    pub trouble: Option<String>,
    /// Lists that were found, and those that were not, with the status.
    pub found: Vec<List>,
    pub missing: Vec<(List, u16)>,
    /// Names of the fields of an entry.
    pub fields: BTreeSet<String>,
    /// How many diploma's a keyword found.
    pub diplomas: Option<usize>,
}
