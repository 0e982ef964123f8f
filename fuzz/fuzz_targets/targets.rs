//! Code that reads bytes from outside: each target is a function of bytes that panics if a guarantee is broken.
//!
//! `cargo fuzz` runs them without an end (see `fuzz/Cargo.toml`), the normal tests for a few seconds.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta};
use cvsync::config::{Config, Env, VARIABLES};
use cvsync::input;
use cvsync::model::{CvId, Document, JsonPointer, Names, Standing, StatusWords};
use cvsync::model::{is_hidden, one_line, visible};
use cvsync::vdab::answer::Raw;
use cvsync::vdab::{Detail, bulk, detail, headers, reference, search};
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// The requested CV.
pub(super) const ID: &str = "30dbfef1-59df-4521-a111-964bf0208e68";

const STATUSES: [u16; 10] = [200, 204, 302, 400, 401, 404, 408, 410, 429, 503];
const CONTENT_TYPES: [&str; 4] = [
    "application/json",
    "application/json;charset=UTF-8",
    "text/html",
    "",
];
const HEADERS: [&str; 4] = [
    "retry-after",
    "date",
    "x-ratelimit-reset",
    "x-ratelimit-remaining",
];
const GONE: &str = "GESLOTEN";

/// A response to a detail call. The first byte selects its status, the second its content type. The rest is its body.
pub(super) fn detail_answer(data: &[u8]) {
    let Some(raw) = raw(data) else { return };
    let words = StatusWords {
        live: vec!["OPEN".into()],
        gone: vec![GONE.into()],
    };
    let asked = CvId::parse(ID).expect("it is an id");
    let body = raw.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&raw.body);
    let claims = serde_json::from_slice::<Value>(body).ok();
    let field = |name: &str| claims.as_ref()?.get(name)?.as_str();
    match detail::classify(&raw, asked, &words, &[], &Names::default()) {
        Ok(Detail::Live(document)) => {
            assert_eq!(raw.status, 200);
            assert!(headers::is_json(&raw.headers));
            assert_eq!(field("cvId").and_then(CvId::parse), Some(asked));
            assert_ne!(words.standing(document.status()), Standing::Gone);
            let (_, again) = Document::read(document.json().as_bytes(), &[])
                .expect("what can be stored can be read again");
            assert_eq!(again.hash(), document.hash(), "the canonical form is one");
        }
        Ok(Detail::Gone) if raw.status == 200 => {
            assert_eq!(field("cvId").and_then(CvId::parse), Some(asked));
            assert_eq!(words.standing(field("status")), Standing::Gone);
        }
        Ok(Detail::Gone) => {
            assert!(raw.status.is_client_error());
            assert!(headers::is_json(&raw.headers), "not from the API");
            let body = std::str::from_utf8(&raw.body).expect("it is text");
            let body = body.trim_start_matches('\u{feff}');
            let fields = serde_json::from_str::<IgnoredAny>(body);
            assert!(
                fields.is_ok() && body.trim_ascii_start().starts_with('{'),
                "no proof"
            );
        }
        Err(error) => harmless(&error.to_string()),
    }
}

/// JSON as another parser sees it: duplicate names stay duplicate.
#[allow(
    clippy::cast_precision_loss,
    reason = "it only has to tell 0 from others"
)]
enum Tree {
    Text(String),
    /// Whether it is 0.
    Number(bool),
    List(Vec<Tree>),
    Object(Vec<(String, Tree)>),
    Other,
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Tree;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("JSON")
            }

            fn visit_bool<E>(self, _: bool) -> Result<Tree, E> {
                Ok(Tree::Other)
            }

            fn visit_u64<E>(self, number: u64) -> Result<Tree, E> {
                Ok(Tree::Number(number == 0))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Tree, E> {
                Ok(Tree::Number(number == 0))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Tree, E> {
                Ok(Tree::Number(number == 0.0))
            }

            fn visit_unit<E>(self) -> Result<Tree, E> {
                Ok(Tree::Other)
            }

            fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
                Ok(Tree::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Tree::List(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
                let mut fields: Vec<(String, Tree)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Tree>()? {
                    fields.push((name, value));
                }
                // serde_json passes numbers like this, to keep every digit.
                if let [(name, Tree::Text(digits))] = &fields[..]
                    && name == "$serde_json::private::Number"
                {
                    return Ok(Tree::Number(digits.parse() == Ok(0.0)));
                }
                Ok(Tree::Object(fields))
            }
        }

        deserializer.deserialize_any(Read)
    }
}

impl Tree {
    /// The fields with this name, in any case.
    fn fields(&self, wanted: &str) -> Vec<&Self> {
        let Self::Object(fields) = self else {
            return Vec::new();
        };
        let fields = fields
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        fields.map(|(_, value)| value).collect()
    }

    fn texts<'a>(&'a self, all: &mut BTreeSet<&'a str>) {
        match self {
            Self::Text(text) => {
                all.insert(text.trim());
            }
            Self::List(items) => items.iter().for_each(|item| item.texts(all)),
            Self::Object(fields) => fields.iter().for_each(|(_, value)| value.texts(all)),
            Self::Number(_) | Self::Other => {}
        }
    }

    fn is_empty_list(&self) -> bool {
        match self {
            Self::List(items) => items.is_empty(),
            Self::Object(fields) => fields.is_empty(),
            _ => false,
        }
    }

    fn is_zero(&self) -> bool {
        match self {
            Self::Number(is_zero) => *is_zero,
            Self::Text(text) => {
                matches!(text.trim(), "0" | "+0" | "0.0" | "+0.0")
                    || text
                        .trim()
                        .trim_start_matches('+')
                        .bytes()
                        .all(|byte| byte == b'0')
            }
            _ => false,
        }
    }
}

/// A page of `count` items with these ids: no id is lost or invented, and an empty page has proof.
fn honest_page(raw: &Raw, count: usize, ids: &[String]) {
    assert_eq!(raw.status, 200);
    assert!(headers::is_json(&raw.headers));
    let body = std::str::from_utf8(&raw.body).expect("it is text");
    let body = body.trim_start_matches('\u{feff}');
    let tree: Tree = serde_json::from_str(body).expect("a page is whole JSON");
    let mut texts = BTreeSet::new();
    tree.texts(&mut texts);
    let texts: BTreeSet<_> = texts.iter().map(|text| text.to_lowercase()).collect();
    for id in ids {
        assert!(
            texts.contains(&id.trim().to_lowercase()),
            "an id is made up"
        );
    }
    let lists = tree.fields("resultaten");
    let items = lists.iter().map(|list| match list {
        Tree::List(items) => Some(items.len()),
        Tree::Other => Some(0),
        Tree::Text(text) if text.trim().is_empty() => Some(0),
        _ => None,
    });
    if let Some(items) = items.sum::<Option<usize>>()
        && matches!(tree, Tree::Object(_))
    {
        assert_eq!(items, count, "an item is lost");
    }
    if let Tree::List(items) = &tree {
        assert_eq!(items.len(), count, "an item is lost");
        assert!(count > 0, "an empty array proves nothing");
    }
    if count == 0 {
        let totals = ["aantal", "totaalAantalResultaten"].map(|name| tree.fields(name));
        let is_zero = totals.iter().flatten().any(|total| total.is_zero());
        let is_list = lists.iter().any(|list| list.is_empty_list());
        assert!(is_zero || is_list, "nothing proves that it is empty");
    }
}

/// A response with a page of ids, with the layout of [`detail_answer`].
pub(super) fn bulk_answer(data: &[u8]) {
    let Some(raw) = raw(data) else { return };
    match bulk::classify(&raw, 0, &Names::default()) {
        Ok(page) => {
            let ids = page.items.iter().filter_map(|item| item.id.valid());
            let ids: Vec<_> = ids.map(|id| id.to_string()).collect();
            honest_page(&raw, page.items.len(), &ids);
        }
        Err(error) => harmless(&error.to_string()),
    }
}

/// A response to a search, with the layout of [`detail_answer`].
pub(super) fn search_answer(data: &[u8]) {
    let Some(raw) = raw(data) else { return };
    match search::classify(&raw, 0, &Names::default()) {
        Ok(page) => {
            let ids = page.items.iter().filter_map(|item| item.get("cvId"));
            let ids: Vec<_> = ids.filter_map(Value::as_str).map(str::to_owned).collect();
            honest_page(&raw, page.items.len(), &ids);
        }
        Err(error) => harmless(&error.to_string()),
    }
}

/// A response with a reference list, with the layout of [`detail_answer`].
pub(super) fn reference_answer(data: &[u8]) {
    let Some(raw) = raw(data) else { return };
    match reference::classify(&raw, "omschrijving", &Names::default()) {
        Ok(entries) => {
            assert_eq!(raw.status, 200);
            assert!(headers::is_json(&raw.headers));
            for entry in entries {
                assert!(!entry.code.is_empty() && entry.code.chars().count() <= 100);
                let texts = [Some(&entry.code), entry.label.as_ref()];
                for text in texts.into_iter().flatten() {
                    assert!(!text.contains(is_hidden), "{text:?}");
                }
            }
        }
        Err(error) => harmless(&error.to_string()),
    }
}

/// Headers, one per line, in the order of [`HEADERS`].
pub(super) fn answer_headers(data: &[u8]) {
    let mut map = HeaderMap::new();
    for (name, value) in HEADERS.iter().zip(data.split(|byte| *byte == b'\n')) {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            map.insert(HeaderName::from_static(name), value);
        }
    }
    let _ = headers::date(&map);
    let waits = [headers::retry_after(&map), headers::rate_limit_reset(&map)];
    let _ = headers::rate_limit_remaining(&map);
    for wait in waits.into_iter().flatten() {
        let has_digit = |value: &HeaderValue| value.as_bytes().iter().any(u8::is_ascii_digit);
        assert!(
            map.values().any(has_digit),
            "a wait of {wait:?} out of nothing"
        );
    }
}

/// Variables, one per line. The first byte selects the variable, the rest is its value.
pub(super) fn env(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let pairs: Vec<(&str, &str)> = text
        .split('\n')
        .filter_map(|line| {
            let at = *line.as_bytes().first()?;
            let variable = VARIABLES[usize::from(at) % VARIABLES.len()];
            let path = variable.name.ends_with("_FILE");
            (at.is_ascii() && !path).then(|| (variable.name, &line[1..]))
        })
        .collect();
    let Err(problems) = Config::load(&Env::new(pairs.iter().copied())) else {
        return;
    };
    for problem in &problems {
        assert!(VARIABLES.iter().any(|one| one.name == problem.name()));
        let line = problem.to_string();
        let secrets = pairs.iter().filter(|(name, value)| {
            let value = value.trim();
            let secret = |name: &str| VARIABLES.iter().any(|one| one.name == name && one.secret);
            // Examples and variables that may be shown are not secret.
            let public = VARIABLES.iter().any(|one| one.example.contains(value))
                || pairs
                    .iter()
                    .any(|(name, text)| !secret(name) && text.contains(value));
            // Shorter ones can occur in any sentence.
            secret(name) && value.len() > 12 && !public
        });
        for (name, value) in secrets {
            assert!(!line.contains(value.trim()), "{name} is in a message");
        }
    }
}

/// A pointer, a NUL, and the document to which it is applied.
pub(super) fn json_pointer(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let (Some(pointer), Some(body)) = (parts.next(), parts.next()) else {
        return;
    };
    let Ok(text) = std::str::from_utf8(pointer) else {
        return;
    };
    let Some(pointer) = JsonPointer::parse(text) else {
        assert!(!text.starts_with('/') || text.contains('~'));
        return;
    };
    let Ok((id, whole)) = Document::read(body, &[]) else {
        return;
    };
    let (same, less) = Document::read(body, &[pointer]).expect("it was readable");
    assert_eq!(id, same);
    assert_eq!(whole.status(), less.status(), "known before it was dropped");
    let whole: Value = serde_json::from_str(whole.json()).expect("it is JSON");
    let less: Value = serde_json::from_str(less.json()).expect("it is JSON");
    // serde_json's own reading of RFC 6901 says which part must be gone.
    assert_eq!(whole.pointer(text).is_none(), whole == less);
}

/// A cron pattern: an accepted pattern has a next tick, again and again.
pub(super) fn cron(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let env = Env::new([
        ("CVSYNC_API_KEY", "key"),
        ("CVSYNC_DATABASE_URL", "postgres://localhost/cv"),
        ("CVSYNC_SCHEDULE", text),
    ]);
    let Ok(config) = Config::load(&env) else {
        return;
    };
    let schedule = config.sync.schedule;
    let from = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
    let next = schedule
        .cron
        .find_next_occurrence(&from.with_timezone(&schedule.zone), false)
        .expect("what never comes round is refused");
    assert!(next > from);
}

/// The body of an action of the administrator. The first byte selects the action.
pub(super) fn admin_action(data: &[u8]) {
    let Some((action, body)) = data.split_first() else {
        return;
    };
    let actions = [input::retry, input::deletes, input::pause];
    is_fault_of_the_client(actions[usize::from(*action) % actions.len()](body));
}

/// The parameters of a call of the mirror. The first byte selects the operation.
pub(super) fn mirror_query(data: &[u8]) {
    let Some((operation, query)) = data.split_first() else {
        return;
    };
    let operations = [input::search, input::changes];
    let query = String::from_utf8_lossy(query);
    is_fault_of_the_client(operations[usize::from(*operation) % operations.len()](
        &query,
    ));
}

fn is_fault_of_the_client(read: Result<(), (u16, String)>) {
    if let Err((status, text)) = read {
        assert_eq!(status, 400, "{text}");
        assert!(text.chars().count() < 600, "{text}");
        assert!(!text.contains(is_hidden), "{text:?}");
    }
}

/// Text from outside that is shown.
pub(super) fn shown_text(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let line = one_line(&text, 40);
    assert!(line.chars().count() <= 40, "{line:?}");
    assert!(!line.contains(is_hidden), "{line:?}");
    assert_eq!(one_line(&line, 40), line);
    let shown = visible(&text);
    assert!(!shown.contains(|c| c != '\n' && is_hidden(c)), "{shown:?}");
    assert_eq!(visible(&shown), shown);
}

fn raw(data: &[u8]) -> Option<Raw> {
    let ([status, content_type], body) = data.split_first_chunk::<2>()?;
    let pick = |byte: &u8, length| usize::from(*byte) % length;
    let status = STATUSES[pick(status, STATUSES.len())];
    let content_type = CONTENT_TYPES[pick(content_type, CONTENT_TYPES.len())];
    let mut headers = HeaderMap::new();
    if !content_type.is_empty() {
        headers.insert("content-type", HeaderValue::from_static(content_type));
    }
    Some(Raw {
        status: StatusCode::from_u16(status).expect("it is a status"),
        headers,
        body: body.to_vec(),
    })
}

/// A message is short and printable. It contains no id or address, and no number from the response except a status.
fn harmless(message: &str) {
    assert!(message.chars().count() < 300, "{message}");
    assert!(!message.contains(is_hidden), "{message:?}");
    assert!(!message.contains('@'), "{message:?}");
    let digits = message.chars().filter(char::is_ascii_digit).count();
    assert!(digits <= 6, "{message:?}");
}
