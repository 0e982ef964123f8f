//! Looks at how the source answers, for `cvsync conformance`.
//!
//! Invariant: nobody's data leaves here. An id becomes a number, text is told to be text and nothing more; what is told
//! as it is are statuses, headers, counts, names of fields, words in capitals such as `OPEN`, and messages without
//! whatever may be somebody's.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Map, Value};

use super::answer::Raw;
use super::error::ApiError;
use super::operation::{Content, Operation};
use super::traffic::Traffic;
use super::{Client, headers, wire};
use crate::model::CvId;

/// What an answer looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sight {
    /// The HTTP status.
    pub status: u16,
    /// The content type, without parameters.
    pub content_type: Option<String>,
    /// Whether it claims to be JSON.
    pub is_json: bool,
    /// Whether a refusal asks for a Bearer token.
    pub asks_for_token: bool,
    /// Whether it tells the source's time.
    pub is_dated: bool,
    /// `X-RateLimit-Limit`
    pub limit: Option<u64>,
    /// `X-RateLimit-Remaining`
    pub remaining: Option<u64>,
    /// What an error says; empty for anything else.
    pub message: String,
    /// The body. A list has the contract's form, whatever form it came in.
    pub body: Shape,
    /// The forms of a list that are not the contract's.
    pub forms: BTreeSet<&'static str>,
    /// Why a good answer to a bulk call proves nothing.
    pub unproven: Option<&'static str>,
}

/// A value of JSON, without anything that may be somebody's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// An object; a name that may be somebody's is `…`.
    Fields(BTreeMap<String, Shape>),
    List(Vec<Shape>),
    /// An id, as a number that stands for it here.
    Id(usize),
    /// A word in capitals: of a list, or of a document if a list or the configuration has it too.
    Word(String),
    /// A date, with a time or without.
    Date,
    /// A whole number beside a list.
    Number(u64),
    /// Any other text.
    Text,
    /// Anything else, or nested too deep to be looked at.
    Other,
}

impl Shape {
    /// The fields of an object.
    #[must_use]
    pub(crate) fn fields(&self) -> Option<&BTreeMap<String, Self>> {
        match self {
            Self::Fields(fields) => Some(fields),
            _ => None,
        }
    }

    /// The items of a list.
    #[must_use]
    pub(crate) fn items(&self) -> Option<&[Self]> {
        match self {
            Self::List(items) => Some(items),
            _ => None,
        }
    }
}

/// How deep a list is looked at, and where its counts are.
const LIST: u8 = 3;
const COUNTS: u8 = LIST - 1;

/// Asks one thing after the other, each within the quota of its operation.
#[derive(Debug)]
pub(crate) struct Probe {
    client: Client,
    ids: Vec<CvId>,
    numbers: HashMap<CvId, usize>,
    words: Vec<String>,
}

impl Probe {
    /// `client` has to speak as the contract does: what differs is what is looked for.
    #[must_use]
    pub(crate) fn new(client: Client) -> Self {
        let words = client.words.live.iter().chain(&client.words.gone);
        Self {
            words: words.cloned().collect(),
            ids: Vec::new(),
            numbers: HashMap::new(),
            client,
        }
    }

    /// Attempts that have come to an end, well or not.
    #[must_use]
    pub(crate) fn answers_received(&self) -> u64 {
        self.client.traffic.iter().map(Traffic::received).sum()
    }

    /// The client's own knowledge: the source's time.
    #[must_use]
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The answer to one GET, whatever it is.
    ///
    /// # Errors
    /// If there is none, or the source does not want to be asked for now.
    pub(crate) async fn get(
        &mut self,
        operation: Operation,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<Sight, ApiError> {
        let client = &self.client;
        let request = client.http.get(client.url(path)).query(query);
        let mut raw = None;
        let classify = |answer: &Raw| {
            raw = Some(answer.clone());
            answer.json().map(drop)
        };
        let outcome = Box::pin(client.ask(operation, request, classify)).await;
        match (raw, outcome) {
            (Some(raw), _) => Ok(self.sight(operation, &raw)),
            (None, Err(error)) => Err(error),
            (None, Ok(_)) => Err(ApiError::NotAnAnswer("it was not looked at")),
        }
    }

    /// The document of the CV that a number stands for.
    pub(crate) async fn detail(&mut self, id: usize) -> Result<Sight, ApiError> {
        let id = self.ids.get(id).map(ToString::to_string);
        let id = id.ok_or(ApiError::BadId)?;
        self.get(Operation::Detail, &["kandidaten", &id], &[]).await
    }

    fn sight(&mut self, operation: Operation, raw: &Raw) -> Sight {
        let content = operation.properties().content;
        let headers = &raw.headers;
        let is_error = raw.status.as_u16() >= 400;
        let value = std::str::from_utf8(wire::without_mark(&raw.body)).ok();
        let value = value.and_then(|text| serde_json::from_str(text).ok());
        let is_list = content == Content::Page && raw.status == 200;
        let (value, forms) = match value {
            Some(value) if is_list => {
                let (value, forms) = wire::in_usual_form(&raw.body, value);
                (Some(value), forms)
            }
            value => (value, BTreeSet::new()),
        };
        // A document is looked at no deeper than its own fields.
        let depth = if content == Content::Document {
            1
        } else {
            LIST
        };
        Sight {
            status: raw.status.as_u16(),
            content_type: headers::content_type(headers).map(str::to_owned),
            is_json: headers::is_json(headers),
            asks_for_token: headers::asks_for_token(headers),
            is_dated: headers::date(headers).is_some(),
            limit: headers::rate_limit(headers),
            remaining: headers::rate_limit_remaining(headers),
            message: if is_error && wire::failure_message(&raw.body).is_some() {
                raw.message()
            } else {
                String::new()
            },
            body: value.map_or(Shape::Other, |value| {
                self.shape(&value, depth, operation == Operation::Bulk)
            }),
            forms,
            unproven: match raw.status.as_u16() {
                200 if operation == Operation::Bulk && headers::is_json(headers) => {
                    wire::page(&raw.body, 0, &self.client.dialect.names).err()
                }
                204 if operation == Operation::Bulk => Some("it has status 204 and no body"),
                _ => None,
            },
        }
    }

    fn shape(&mut self, value: &Value, depth: u8, new_words: bool) -> Shape {
        match value {
            Value::Object(fields) if depth > 0 => self.fields(fields, depth - 1, new_words),
            Value::Array(items) if depth > 0 => {
                let items = items.iter();
                Shape::List(
                    items
                        .map(|item| self.shape(item, depth - 1, new_words))
                        .collect(),
                )
            }
            Value::String(text) => self.text(text.trim(), new_words),
            // At the top of a list it is a count; a document's may be somebody's.
            Value::Number(number) if depth == COUNTS => {
                number.as_u64().map_or(Shape::Other, Shape::Number)
            }
            _ => Shape::Other,
        }
    }

    fn fields(&mut self, fields: &Map<String, Value>, depth: u8, new_words: bool) -> Shape {
        let name = |name: &str| {
            let plain = |c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '-' | '.');
            let is_name = name.len() <= 40 && name.chars().all(plain);
            if is_name { name } else { "…" }.to_owned()
        };
        let fields = fields.iter();
        Shape::Fields(
            fields
                .map(|(field, value)| (name(field), self.shape(value, depth, new_words)))
                .collect(),
        )
    }

    fn text(&mut self, text: &str, new_words: bool) -> Shape {
        if let Some(id) = CvId::parse(text) {
            let ids = &mut self.ids;
            return Shape::Id(*self.numbers.entry(id).or_insert_with(|| {
                ids.push(id);
                ids.len() - 1
            }));
        }
        let is_known = |word: &String| word.eq_ignore_ascii_case(text);
        if self.words.iter().any(is_known) {
            return Shape::Word(text.to_owned());
        }
        if new_words && is_word(text) {
            self.words.push(text.to_owned());
            return Shape::Word(text.to_owned());
        }
        let date = text.get(..10).unwrap_or_default();
        if date.parse::<chrono::NaiveDate>().is_ok() {
            return Shape::Date;
        }
        Shape::Text
    }
}

/// Such as `OPEN` or `IN_BEHANDELING`.
fn is_word(text: &str) -> bool {
    (2..=30).contains(&text.len()) && text.chars().all(|c| c.is_ascii_uppercase() || c == '_')
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::Clock;
    use crate::config::{Env, Source};
    use crate::telemetry::Metrics;

    fn sight(operation: Operation, status: u16, body: &str) -> Sight {
        let source = Source::load(&Env::new([("CVSYNC_API_KEY", "k")])).unwrap();
        let (clock, metrics) = (Clock::default(), Metrics::new().unwrap());
        let patience = Some(Duration::ZERO);
        let client = Client::new(&source.api, Vec::new(), patience, clock, metrics).unwrap();
        let raw = Raw::told(status, &[], body);
        Probe::new(client).sight(operation, &raw)
    }

    #[tokio::test]
    async fn nothing_of_a_person_leaves() {
        let id = "30dbfef1-59df-4521-a111-964bf0208e68";
        let body = format!(
            r#"{{"cvId":"{id}","status":"OPEN","naam":"PEETERS","gsm":470123456,"x":{{"straat":"Dorp"}},
            "wijzigingsDatum":"2022-08-03","{id}":1,"lijst":["PEETERS"]}}"#
        );
        let seen = format!("{:?}", sight(Operation::Detail, 200, &body));
        for secret in [id, "PEETERS", "Dorp", "straat", "2022", "470123456"] {
            assert!(!seen.contains(secret), "{secret} in {seen}");
        }
        assert!(seen.contains("OPEN") && seen.contains("Date") && seen.contains("gsm"));
        let error = format!(r#"{{"moreInformation":"{id} is geen bestaande kandidaat"}}"#);
        let error = sight(Operation::Detail, 404, &error);
        assert_eq!(error.message, "… is geen bestaande kandidaat");
        assert_eq!(sight(Operation::Bulk, 200, "<html>").body, Shape::Other);
    }

    #[tokio::test]
    async fn a_page_shows_its_ids_as_numbers_and_its_words() {
        let id = "30dbfef1-59df-4521-a111-964bf0208e68";
        let item = format!(r#"{{"id":"{id}","state":"ACTIEF"}}"#);
        let page = sight(
            Operation::Bulk,
            200,
            &format!(r#"{{"results":[{item},{item}]}}"#),
        );
        let rows = page.body.fields().unwrap()["results"].items().unwrap();
        let row = rows[0].fields().unwrap();
        assert_eq!(row["id"], Shape::Id(0));
        assert_eq!(rows[0], rows[1]);
        assert_eq!(row["state"], Shape::Word("ACTIEF".into()));
    }
}
