//! Reference data: its schedule, its lists and the field of labels.

use std::fmt;

use chrono_tz::Tz;
use url::Url;

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
    /// The path after the base URL, without slashes at its ends. It may begin with `..`, for a list of another version.
    pub path: String,
    /// The entry as in the variable.
    entry: String,
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
        // A base URL that is wrong is reported by itself.
        let base = reader.value("CVSYNC_API_BASE_URL");
        let base = base.and_then(|base| Url::parse(&base).ok());
        let lists = reader.required(LISTS, rules::list(|text| list(text, base.as_ref())));
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
        f.write_str(&self.entry)
    }
}

/// Parses `name`, `name=path`, a full URL, or `name=URL`. The last segment of a URL is its name.
fn list(text: &str, base: Option<&Url>) -> Result<List, String> {
    let is_url = |text: &str| text.contains("://");
    let (name, place) = match text.split_once('=') {
        Some((name, place)) if !is_url(name) => (name.trim(), place.trim()),
        _ => (text.rsplit('/').next().unwrap_or(text), text),
    };
    if is_url(place) {
        let path = below(place, base)?;
        return named(name, &path, text);
    }
    let name = if place == text { text } else { name };
    named(name, place.trim_matches('/'), text)
}

/// The path of a URL as seen from the base URL, on whose host it must be: the API key is sent there.
fn below(url: &str, base: Option<&Url>) -> Result<String, String> {
    let Some(base) = base else {
        return Ok("unknown".to_owned());
    };
    let elsewhere = || {
        format!(
            "must be on the host of CVSYNC_API_BASE_URL ({}) and have a plain path; the API key is sent there",
            base.origin().ascii_serialization()
        )
    };
    let url = Url::parse(url).map_err(|_| elsewhere())?;
    let is_plain = url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if url.origin() != base.origin() || !is_plain {
        return Err(elsewhere());
    }
    let segments = |url: &Url| -> Vec<String> {
        let segments = url.path_segments().into_iter().flatten();
        let segments = segments.filter(|segment| !segment.is_empty());
        segments.map(ToOwned::to_owned).collect()
    };
    let (from, to) = (segments(base), segments(&url));
    let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n("..", from.len() - shared);
    let down = to[shared..].iter().map(String::as_str);
    Ok(up.chain(down).collect::<Vec<_>>().join("/"))
}

fn named(name: &str, path: &str, entry: &str) -> Result<List, String> {
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let is_segment = |segment: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_~.".contains(c);
        !segment.is_empty() && segment.chars().all(plain) && !matches!(segment, "." | "..")
    };
    // Only a URL, which has been checked, leads out of the base URL.
    let is_url = entry.contains("://");
    let inner = if is_url {
        path.trim_start_matches("../")
    } else {
        path
    };
    if name.is_empty() || !name.chars().all(is_name) || !inner.split('/').all(is_segment) {
        return Err(
            "must be a name such as rijbewijzen, name=path, or a URL on the API's host".to_owned(),
        );
    }
    Ok(List {
        name: name.to_owned(),
        path: path.to_owned(),
        entry: entry.trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_a_name_a_path_or_a_url_on_the_host_of_the_api() {
        let base = Url::parse("https://api.vdab.be/services/openservices/v1").unwrap();
        let host = "https://api.vdab.be/services/openservices";
        let read = |text: &str| list(text, Some(&base));
        for (text, name, path) in [
            ("softskills".to_owned(), "softskills", "softskills"),
            ("a=/ref/softskills/".to_owned(), "a", "ref/softskills"),
            (format!("{host}/v2/diplomas"), "diplomas", "../v2/diplomas"),
            (format!("a={host}/v2/diplomas"), "a", "../v2/diplomas"),
            (format!("{host}/v1/attesten"), "attesten", "attesten"),
            ("https://api.vdab.be/x".to_owned(), "x", "../../../x"),
            ("https://API.vdab.be:443/x".to_owned(), "x", "../../../x"),
        ] {
            let list = read(&text).unwrap();
            assert_eq!(
                (list.name.as_str(), list.path.as_str()),
                (name, path),
                "{text}"
            );
            assert_eq!(list.to_string(), text);
        }
        for wrong in [
            "https://example.com/services/openservices/v2/diplomas",
            "http://api.vdab.be/services/openservices/v2/diplomas",
            "https://api.vdab.be:8443/x",
            "https://user:canary@api.vdab.be/x",
            "https://api.vdab.be/x?sleutel=1",
            "https://api.vdab.be/x#y",
            "https://api.vdab.be/",
            "https://api.vdab.be",
            "https://api.vdab.be/services/openservices/v1",
            "https://api.vdab.be/%2e%2e/Diplomas",
            "a=https://",
            "a=../b",
            "../b",
        ] {
            let error = read(wrong).unwrap_err();
            assert!(!error.contains("canary"), "{error}");
        }
    }
}
