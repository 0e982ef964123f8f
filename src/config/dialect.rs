//! How the source speaks where it differs from the contract.

use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, TimeDelta};

use super::reader::Reader;
use super::rules;
use crate::model::{Dialect, Names, Paging};

const NAMES: &str = "CVSYNC_API_NAMES";

pub(super) fn read(reader: &mut Reader) -> Option<Dialect> {
    let names = read_names(reader);
    let time_format = reader.required("CVSYNC_API_TIME_FORMAT", time_format);
    let paging = reader.required("CVSYNC_API_PAGING", paging);
    Some(Dialect {
        names: names?,
        time_format: time_format?,
        paging: paging?,
    })
}

fn read_names(reader: &mut Reader) -> Option<Names> {
    let pairs = reader.optional(NAMES, rules::list(pair))?;
    let mut names = Names::default();
    let mut told = Vec::new();
    for (ours, theirs) in pairs.unwrap_or_default() {
        if told.contains(&ours) {
            reader.refuse(NAMES, format!("names `{ours}` twice"));
            return None;
        }
        told.push(ours);
        names.set(ours, &theirs);
    }
    if let Some((one, other)) = names.clash() {
        reader.refuse(
            NAMES,
            format!("gives `{one}` and `{other}` the same name, and they stand side by side"),
        );
        return None;
    }
    Some(names)
}

fn pair(text: &str) -> Result<(&'static str, String), String> {
    let (ours, theirs) = text
        .split_once('=')
        .map(|(ours, theirs)| (ours.trim(), theirs.trim()))
        .filter(|(_, theirs)| is_name(theirs))
        .ok_or_else(|| "is no ours=theirs, such as van=from".to_owned())?;
    let known = Names::OURS.iter().find(|name| **name == ours);
    let ours = known.ok_or_else(|| {
        format!(
            "renames what cannot be renamed; the nearest is {}, and there are {}",
            rules::nearest(ours, Names::OURS.iter().copied()),
            Names::OURS.join(", ")
        )
    })?;
    Ok((ours, theirs.to_owned()))
}

/// What can be a parameter's or a field's name without a surprise.
fn is_name(text: &str) -> bool {
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '$' | '[' | ']');
    !text.is_empty() && text.len() <= 64 && text.chars().all(plain)
}

/// A pattern that tells two minutes apart: windows are cut down to a few of these where they are full.
fn time_format(text: &str) -> Result<String, String> {
    let items: Vec<_> = StrftimeItems::new(text).collect();
    let is_pattern = !items.iter().any(|item| matches!(item, Item::Error));
    let written = |seconds| {
        let at = DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds);
        at.format_with_items(items.iter()).to_string()
    };
    if is_pattern
        && [60, 3_600, 43_200, 86_400, 86_400 * 31, 86_400 * 366]
            .iter()
            .all(|s| written(0) != written(*s))
    {
        Ok(text.to_owned())
    } else {
        Err("is no pattern of strftime that tells dates, hours and minutes".to_owned())
    }
}

fn paging(text: &str) -> Result<Paging, String> {
    let found = Paging::ALL.iter().find(|(word, _)| *word == text);
    found.map(|(_, paging)| *paging).ok_or_else(|| {
        let words: Vec<_> = Paging::ALL.iter().map(|(word, _)| *word).collect();
        format!("is none of {}", words.join(", "))
    })
}
