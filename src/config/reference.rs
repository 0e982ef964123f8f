//! Reference data: its schedule, its lists and the field of labels.

use std::fmt;

use chrono_tz::Tz;

use super::reader::Reader;
use super::rules::{self, unless_off};
use super::schedule::{Schedule, cron};
use super::{Env, Problems, load};

/// The list that VDAB serves only by keyword.
pub(crate) const DIPLOMAS: &str = "diplomas";

/// Paths and the label's field are assumptions about VDAB, so they are configurable.
#[derive(Clone, Debug)]
pub struct Reference {
    /// `None` for never.
    pub schedule: Option<Schedule>,
    pub lists: Vec<List>,
    /// The field of an entry that contains the label.
    pub label_field: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// The value of `reference_code.list`.
    pub name: String,
    /// The path after the base URL, without slashes at its ends.
    pub path: String,
}

impl Reference {
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
            reader.refuse(LISTS, format!("must contain {:?} once", list.name));
            return None;
        }
        Some(Self {
            schedule: schedule?.map(|cron| Schedule { cron, zone }),
            lists,
            label_field: label_field?,
        })
    }

    #[must_use]
    pub fn list(&self, name: &str) -> Option<&List> {
        self.lists.iter().find(|list| list.name == name)
    }
}

/// Written as in the variable.
impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.path == self.name {
            return Ok(());
        }
        write!(f, "={}", self.path)
    }
}

/// Parses `name`, or `name=path` if they differ.
fn list(text: &str) -> Result<List, String> {
    let (name, path) = text.split_once('=').unwrap_or((text, text));
    let (name, path) = (name.trim(), path.trim().trim_matches('/'));
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let is_segment = |segment: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_~.".contains(c);
        !segment.is_empty() && segment.chars().all(plain) && !matches!(segment, "." | "..")
    };
    if name.is_empty() || !name.chars().all(is_name) || !path.split('/').all(is_segment) {
        return Err("must be a name such as rijbewijzen, or name=path".to_owned());
    }
    Ok(List {
        name: name.to_owned(),
        path: path.to_owned(),
    })
}
