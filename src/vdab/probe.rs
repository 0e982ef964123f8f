//! Examines how the source responds, for `cvsync conformance`.
//!
//! Invariant: no personal data leaves here. An id becomes a number, and text is only reported to be text. Statuses, headers,
//! counts, names of fields, words in capitals such as `OPEN`, and the sentences of the contract stay as they are.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Map, Value};

use super::answer::Raw;
use super::client::Client;
use super::error::ApiError;
use super::failure::Said;
use super::operation::{Content, Operation};
use super::traffic::Traffic;
use super::{headers, json, page, usual_form};
use crate::model::CvId;

/// A response without personal data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sight {
    pub status: u16,
    /// Without parameters.
    pub content_type: Option<String>,
    pub is_json: bool,
    /// Whether a 401 asks for a Bearer token.
    pub asks_for_token: bool,
    /// Whether it has a `Date`.
    pub is_dated: bool,
    /// `X-RateLimit-Limit`
    pub limit: Option<u64>,
    /// `X-RateLimit-Remaining`
    pub remaining: Option<u64>,
    /// The message of an error.
    pub said: Said,
    /// The body. A list is rewritten in the contract's form.
    pub body: Outline,
    /// The forms of the list that the contract does not have.
    pub forms: BTreeSet<&'static str>,
    /// Why a response with status 200 to a bulk call proves nothing.
    pub unproven: Option<&'static str>,
}

/// A JSON value without personal data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outline {
    /// An object. A name that may be personal data is `…`.
    Fields(BTreeMap<String, Outline>),
    List(Vec<Outline>),
    /// An id, as the number that replaces it here.
    Id(usize),
    /// A word in capitals: of a list, or of a document if the configuration or a list has it too.
    Word(String),
    /// With or without a time.
    Date,
    /// A whole number beside a list.
    Number(u64),
    /// Any other text.
    Text,
    /// Any other value, or one that is nested too deep.
    Other,
}

impl Outline {
    #[must_use]
    pub(crate) fn fields(&self) -> Option<&BTreeMap<String, Self>> {
        match self {
            Self::Fields(fields) => Some(fields),
            _ => None,
        }
    }

    #[must_use]
    pub(crate) fn items(&self) -> Option<&[Self]> {
        match self {
            Self::List(items) => Some(items),
            _ => None,
        }
    }
}

/// The levels of a list that are examined, and the level of its counts.
const LIST: u8 = 3;
const COUNTS: u8 = LIST - 1;

/// Makes one call after the other, each within the quota of its operation.
#[derive(Debug)]
pub(crate) struct Probe {
    client: Client,
    ids: Vec<CvId>,
    numbers: HashMap<CvId, usize>,
    words: Vec<String>,
}

impl Probe {
    /// `client` must follow the contract, so that each difference shows.
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

    /// Attempts that have ended, whether they succeeded or failed.
    #[must_use]
    pub(crate) fn answers_received(&self) -> u64 {
        self.client.all_traffic.iter().map(Traffic::received).sum()
    }

    #[must_use]
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The response to one GET, with any status.
    ///
    /// # Errors
    /// If no response arrives, or the gate is closed.
    pub(crate) async fn get(
        &mut self,
        operation: Operation,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<Sight, ApiError> {
        let client = &self.client;
        let request = client.transport.get(path).query(query);
        let mut raw = None;
        let classify = |answer: &Raw| {
            raw = Some(answer.clone());
            answer.json().map(drop)
        };
        let outcome = Box::pin(client.ask(operation, request, classify)).await;
        match (raw, outcome) {
            (Some(raw), _) => Ok(self.sight(operation, &raw)),
            (None, Err(error)) => Err(error),
            (None, Ok(_)) => Err(ApiError::NotAnAnswer("it was not examined")),
        }
    }

    /// The document of the CV with this number.
    pub(crate) async fn detail(&mut self, id: usize) -> Result<Sight, ApiError> {
        let id = self.ids.get(id).map(ToString::to_string);
        let id = id.ok_or(ApiError::BadId)?;
        self.get(Operation::Detail, &["kandidaten", &id], &[]).await
    }

    fn sight(&mut self, operation: Operation, raw: &Raw) -> Sight {
        let content = operation.properties().content;
        let headers = &raw.headers;
        let is_error = raw.status.as_u16() >= 400;
        let value = std::str::from_utf8(json::without_mark(&raw.body)).ok();
        let value = value.and_then(|text| serde_json::from_str(text).ok());
        let is_list = content == Content::Page && raw.status == 200;
        let (value, forms) = match value {
            Some(value) if is_list => {
                let (value, forms) = usual_form::in_usual_form(&raw.body, value);
                (Some(value), forms)
            }
            value => (value, BTreeSet::new()),
        };
        // Of a document, only its own fields are examined.
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
            said: if is_error {
                raw.said()
            } else {
                Said::default()
            },
            body: value.map_or(Outline::Other, |value| {
                self.outline(&value, depth, operation == Operation::Bulk)
            }),
            forms,
            unproven: match raw.status.as_u16() {
                200 if operation == Operation::Bulk && headers::is_json(headers) => {
                    page::page(&raw.body, 0, &self.client.dialect.names).err()
                }
                204 if operation == Operation::Bulk => Some("it has status 204 and an empty body"),
                _ => None,
            },
        }
    }

    fn outline(&mut self, value: &Value, depth: u8, new_words: bool) -> Outline {
        match value {
            Value::Object(fields) if depth > 0 => self.fields(fields, depth - 1, new_words),
            Value::Array(items) if depth > 0 => {
                let items = items.iter();
                Outline::List(
                    items
                        .map(|item| self.outline(item, depth - 1, new_words))
                        .collect(),
                )
            }
            Value::String(text) => self.text(text.trim(), new_words),
            // At the top of a list it is a count. In a document it may be personal data.
            Value::Number(number) if depth == COUNTS => {
                number.as_u64().map_or(Outline::Other, Outline::Number)
            }
            _ => Outline::Other,
        }
    }

    fn fields(&mut self, fields: &Map<String, Value>, depth: u8, new_words: bool) -> Outline {
        let name = |name: &str| {
            let plain = |c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '-' | '.');
            let is_name = name.len() <= 40 && name.chars().all(plain);
            if is_name { name } else { "…" }.to_owned()
        };
        let fields = fields.iter();
        Outline::Fields(
            fields
                .map(|(field, value)| (name(field), self.outline(value, depth, new_words)))
                .collect(),
        )
    }

    fn text(&mut self, text: &str, new_words: bool) -> Outline {
        if let Some(id) = CvId::parse(text) {
            let ids = &mut self.ids;
            return Outline::Id(*self.numbers.entry(id).or_insert_with(|| {
                ids.push(id);
                ids.len() - 1
            }));
        }
        let is_known = |word: &String| word.eq_ignore_ascii_case(text);
        if self.words.iter().any(is_known) {
            return Outline::Word(text.to_owned());
        }
        if new_words && is_word(text) {
            self.words.push(text.to_owned());
            return Outline::Word(text.to_owned());
        }
        let date = text.get(..10).unwrap_or_default();
        if date.parse::<chrono::NaiveDate>().is_ok() {
            return Outline::Date;
        }
        Outline::Text
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
        let raw = Raw::of(status, &[], body);
        Probe::new(client).sight(operation, &raw)
    }

    #[tokio::test]
    async fn no_personal_data_leaves() {
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
        assert_eq!(error.said.to_string(), "is geen bestaande");
        assert_eq!(sight(Operation::Bulk, 200, "<html>").body, Outline::Other);
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
        assert_eq!(row["id"], Outline::Id(0));
        assert_eq!(rows[0], rows[1]);
        assert_eq!(row["state"], Outline::Word("ACTIEF".into()));
    }
}
