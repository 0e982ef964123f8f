//! Reference data: when it is fetched, where each list is, what people read of its entries.

use std::fmt;

use chrono_tz::Tz;

use super::reader::Reader;
use super::rules::{self, unless_off};
use super::schedule::{Schedule, cron};
use super::{Env, Problems, load};

/// The list that is looked up by keyword and cannot be had whole.
pub(crate) const DIPLOMAS: &str = "diplomas";

/// How to keep reference data. Paths and the label's field are assumptions about VDAB, hence variables.
#[derive(Clone, Debug)]
pub struct Reference {
    /// When it is fetched again; `None` for never.
    pub schedule: Option<Schedule>,
    /// The lists, each once.
    pub lists: Vec<List>,
    /// The field of an entry that people read.
    pub label_field: String,
}

/// A list of codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// What it is called in `reference_code`.
    pub name: String,
    /// Its path behind the base URL, without slashes at its ends.
    pub path: String,
}

impl Reference {
    /// Reads this part alone.
    pub fn load(env: &Env) -> Result<Self, Problems> {
        load(env, |reader| {
            let zone = reader.required("CVSYNC_TIMEZONE", super::schedule::zone);
            Self::read(reader, zone)
        })
    }

    pub(super) fn read(reader: &mut Reader, zone: Option<Tz>) -> Option<Self> {
        const LISTS: &str = "CVSYNC_REFERENCE_LISTS";
        let schedule = reader.required("CVSYNC_REFERENCE_SCHEDULE", unless_off(cron));
        let lists = reader.required(LISTS, rules::list(list));
        let label_field = reader.required("CVSYNC_REFERENCE_LABEL_FIELD", rules::word);
        let (zone, lists) = (zone?, lists?);
        let twice = lists
            .iter()
            .enumerate()
            .find(|(at, list)| lists[..*at].iter().any(|other| other.name == list.name));
        if let Some((_, list)) = twice {
            reader.refuse(LISTS, format!("`{}` is in it twice", list.name));
            return None;
        }
        Some(Self {
            schedule: schedule?.map(|cron| Schedule { cron, zone }),
            lists,
            label_field: label_field?,
        })
    }

    /// The list of this name.
    #[must_use]
    pub fn list(&self, name: &str) -> Option<&List> {
        self.lists.iter().find(|list| list.name == name)
    }
}

/// As the variable has it.
impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.path == self.name {
            return Ok(());
        }
        write!(f, "={}", self.path)
    }
}

/// `name`, or `name=path` where the path is another word.
fn list(text: &str) -> Result<List, String> {
    let (name, path) = text.split_once('=').unwrap_or((text, text));
    let (name, path) = (name.trim(), path.trim().trim_matches('/'));
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let is_segment = |segment: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_~.".contains(c);
        !segment.is_empty() && segment.chars().all(plain) && !matches!(segment, "." | "..")
    };
    if name.is_empty() || !name.chars().all(is_name) || !path.split('/').all(is_segment) {
        return Err("is no name such as rijbewijzen, and no name=path".to_owned());
    }
    Ok(List {
        name: name.to_owned(),
        path: path.to_owned(),
    })
}
