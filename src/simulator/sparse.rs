//! CVs with little content or unusual types: every field except `cvId` is optional.

use serde_json::json;

use super::cv::{Cv, draw};
use super::json::Json;
use crate::contract::OPEN;

/// The purposes of the draws that choose sparse CVs, and their first form.
const SPARSE: u64 = 102;
const FIRST_FORM: u64 = 103;

/// One of this many CVs is sparse.
const ONE_IN: u8 = 100;

/// CVs with a lower number are never sparse, so that small worlds stay the same.
const FIRST: u32 = 100;

/// The region in the form [`Form::Region`].
const REGIO: &str = "BE231A";

/// Optional parts of a document.
const PARTS: [&str; 7] = [
    "persoonlijkeInteresse",
    "natuurlijkPersoon",
    "ervaringen",
    "opleidingen",
    "attesteringen",
    "competenties",
    "gewensteJob",
];

/// The content of a sparse CV. Each change moves to the next form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Only `cvId`.
    Bare,
    /// A region without text.
    Region,
    /// Each part is null.
    Null,
    /// Each part is empty.
    Empty,
    /// Unusual types.
    OtherTypes,
}

const FORMS: [Form; 5] = [
    Form::Bare,
    Form::Region,
    Form::Null,
    Form::Empty,
    Form::OtherTypes,
];

impl Cv {
    /// The form of this CV if it is sparse.
    pub(super) fn form(&self) -> Option<Form> {
        let is_sparse =
            self.index >= FIRST && draw(self.seed, self.index, SPARSE, 0).u8(0..ONE_IN) == 0;
        is_sparse.then(|| {
            let first = draw(self.seed, self.index, FIRST_FORM, 0).usize(0..FORMS.len());
            FORMS[(first + self.revision as usize) % FORMS.len()]
        })
    }
}

impl Form {
    pub(super) fn regios(self) -> &'static [&'static str] {
        match self {
            Self::Region => &[REGIO],
            Self::Bare | Self::Null | Self::Empty | Self::OtherTypes => &[],
        }
    }

    /// The fields after `cvId`.
    pub(super) fn render(self, json: &mut Json, date: &str) {
        if self != Self::Bare {
            json.value_at("status", OPEN);
        }
        match self {
            Self::Bare => {}
            Self::Region => json.object_at("gewensteJob", |json| {
                json.value_at("regios", self.regios());
            }),
            Self::Null => {
                json.value_at("wijzigingsDatum", date);
                for part in PARTS {
                    json.value_at(part, ());
                }
            }
            Self::Empty => {
                json.value_at("wijzigingsDatum", "");
                json.object_at("natuurlijkPersoon", |_| ());
                json.array_at("ervaringen", |_| ());
                json.object_at("opleidingen", |_| ());
                json.array_at("attesteringen", |json| json.object(|_| ()));
                json.value_at("competenties", "");
                json.object_at("gewensteJob", |_| ());
            }
            Self::OtherTypes => {
                json.value_at("wijzigingsDatum", 20_260_131);
                json.value_at("natuurlijkPersoon", "");
                json.value_at("ervaringen", false);
                json.value_at("opleidingen", 7);
                json.value_at("competenties", json!([null, "", 7, [], [{}]]));
                json.array_at("gewensteJob", |_| ());
            }
        }
    }
}
