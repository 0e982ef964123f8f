//! How the source differs from the contract.

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
            reader.refuse(NAMES, format!("must contain {ours:?} once"));
            return None;
        }
        told.push(ours);
        names.set(ours, &theirs);
    }
    if let Some((one, other)) = names.clash() {
        reader.refuse(
            NAMES,
            format!(
                "must give {one:?} and {other:?} different names, because VDAB uses them together"
            ),
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
        .ok_or_else(|| "must be ours=theirs, such as van=from".to_owned())?;
    let known = Names::OURS.iter().find(|name| **name == ours);
    let ours = known.ok_or_else(|| {
        format!(
            "must rename one of {}; the nearest is {}",
            Names::OURS.join(", "),
            rules::nearest(ours, Names::OURS.iter().copied())
        )
    })?;
    Ok((ours, theirs.to_owned()))
}

/// Whether the text is safe as the name of a parameter or field.
fn is_name(text: &str) -> bool {
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '$' | '[' | ']');
    !text.is_empty() && text.len() <= 64 && text.chars().all(plain)
}

/// A pattern with minutes, because full windows are split down to a few minutes.
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
        Err("must be a strftime pattern with date, hour and minute".to_owned())
    }
}

fn paging(text: &str) -> Result<Paging, String> {
    let found = Paging::ALL.iter().find(|(word, _)| *word == text);
    found.map(|(_, paging)| *paging).ok_or_else(|| {
        let words: Vec<_> = Paging::ALL.iter().map(|(word, _)| *word).collect();
        format!("must be one of {}", words.join(", "))
    })
}
