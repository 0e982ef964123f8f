//! Parts of a document that the contract does not have; pure. They are stored, and status names them.

use serde::Serialize;
use serde_json::Value;

/// A kind of difference between a response and the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftKind {
    /// A field that the contract does not have.
    NewField,
    NewStatus,
    /// A list, an object or a plain value where the contract has another of the three types.
    Type,
}

impl DriftKind {
    pub const ALL: [Self; 3] = [Self::NewField, Self::NewStatus, Self::Type];

    /// The name in metrics and status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NewField => "new_field",
            Self::NewStatus => "new_status",
            Self::Type => "type",
        }
    }
}

/// The type at a place in the contract. Numbers sometimes come as text, so all plain values are one type.
enum Shape {
    Plain,
    /// An object whose fields are not documented.
    Open,
    Fields(&'static [(&'static str, Shape)]),
    List(&'static Shape),
}

use Shape::{Fields, List, Open, Plain};

/// The top-level fields of a document in the contract.
pub(crate) fn top_fields() -> impl Iterator<Item = &'static str> {
    let fields = match CV {
        Fields(fields) => fields,
        Plain | Open | List(_) => &[],
    };
    fields.iter().map(|(name, _)| *name)
}

const ADRES: Shape = Fields(&[
    ("straat", Plain),
    ("huisnummer", Plain),
    ("busnummer", Plain),
    ("postcode", Plain),
    ("gemeente", Plain),
    ("land", Plain),
]);

/// The fields of a document (docs/contract.md, "GET /kandidaten/{id}").
const CV: Shape = Fields(&[
    ("cvId", Plain),
    ("status", Plain),
    ("wijzigingsDatum", Plain),
    ("iklId", Plain),
    ("persoonlijkeInteresse", Open),
    (
        "natuurlijkPersoon",
        Fields(&[
            ("gsm", Plain),
            ("officieelAdres", ADRES),
            ("contactAdres", ADRES),
            ("email", Plain),
            ("achternaam", Plain),
            ("voornaam", Plain),
            ("roepnaam", Plain),
            ("website", Plain),
            ("geslacht", Plain),
            ("nationaliteit", Plain),
            ("geboortedatum", Plain),
        ]),
    ),
    (
        "ervaringen",
        List(&Fields(&[
            ("type", Plain),
            ("functieTitel", Plain),
            ("van", Plain),
            ("tot", Plain),
            ("werkgever", Fields(&[("naam", Plain)])),
        ])),
    ),
    (
        "opleidingen",
        List(&Fields(&[
            ("type", Plain),
            ("info", Plain),
            ("behaaldOp", Plain),
            ("behaaldIn", Plain),
            ("diploma", Plain),
            ("naam", Plain),
        ])),
    ),
    (
        "attesteringen",
        List(&Fields(&[
            ("type", Plain),
            ("code", Plain),
            ("eigenWagen", Plain),
        ])),
    ),
    (
        "competenties",
        List(&Fields(&[
            ("type", Plain),
            ("code", Plain),
            ("niveau", Plain),
            ("score", Plain),
            ("naam", Plain),
            ("beschrijving", Plain),
        ])),
    ),
    (
        "gewensteJob",
        Fields(&[
            ("arbeidsRegimes", List(&Plain)),
            ("arbeidsStelsels", List(&Plain)),
            ("regios", List(&Plain)),
            (
                "functies",
                List(&Fields(&[
                    ("titel", Plain),
                    ("ervaring", Plain),
                    ("beroepsprofiel", Fields(&[("code", Plain)])),
                ])),
            ),
        ]),
    ),
]);

/// The most places reported per document.
const MOST: usize = 100;

/// The places of a document that differ from the contract, each once, as paths such as `ervaringen[].loon`.
#[must_use]
pub(crate) fn drift(document: &Value) -> Vec<(DriftKind, String)> {
    let mut found = Vec::new();
    compare(&CV, document, &mut Vec::new(), &mut found);
    found
}

fn compare<'a>(
    shape: &Shape,
    value: &'a Value,
    path: &mut Vec<&'a str>,
    found: &mut Vec<(DriftKind, String)>,
) {
    match (shape, value) {
        (_, Value::Null)
        | (Open, _)
        | (Plain, Value::Bool(_) | Value::Number(_) | Value::String(_)) => {}
        (Fields(known), Value::Object(fields)) => {
            for (name, value) in fields {
                path.push(name);
                match known.iter().find(|(known, _)| known == name) {
                    Some((_, shape)) => compare(shape, value, path, found),
                    None => note(found, DriftKind::NewField, path),
                }
                path.pop();
            }
        }
        (List(shape), Value::Array(items)) => {
            path.push("[]");
            for item in items {
                compare(shape, item, path, found);
            }
            path.pop();
        }
        _ => note(found, DriftKind::Type, path),
    }
}

fn note(found: &mut Vec<(DriftKind, String)>, kind: DriftKind, path: &[&str]) {
    let place = (kind, text(path));
    if found.len() < MOST && !found.contains(&place) {
        found.push(place);
    }
}

/// The drift of an unknown status word.
#[must_use]
pub(crate) fn new_status(word: &str) -> (DriftKind, String) {
    (DriftKind::NewStatus, shown(word).to_owned())
}

fn text(path: &[&str]) -> String {
    let names: Vec<_> = path.iter().map(|name| shown(name)).collect();
    names.join(".").replace(".[]", "[]")
}

/// A name is shown only if it looks like an API's: anything else could be personal data.
fn shown(name: &str) -> &str {
    let is_name = name.len() <= 40
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if is_name || name == "[]" { name } else { "?" }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(document: &Value) -> Vec<(&'static str, String)> {
        let found = drift(document).into_iter();
        found.map(|(kind, path)| (kind.as_str(), path)).collect()
    }

    #[test]
    fn documents_of_vdab_match_the_contract() {
        for text in [
            include_str!("../../tests/it/seed/cv.json"),
            include_str!("../../tests/it/seed/cv-in-part.json"),
        ] {
            assert_eq!(found(&serde_json::from_str(text).unwrap()), []);
        }
    }

    #[test]
    fn each_place_is_reported_once_and_at_most_a_hundred_are() {
        let same: Vec<_> = (0..5_000).map(|n| json!({"loon": n})).collect();
        assert_eq!(found(&json!({"ervaringen": same})).len(), 1);
        let fields = (0..5_000_u32).map(|n| {
            let name = (0..20).map(|bit| if n >> bit & 1 == 0 { 'a' } else { 'b' });
            (name.collect(), json!(1))
        });
        let many = Value::Object(fields.collect());
        assert_eq!(found(&many).len(), MOST);
    }

    #[test]
    fn new_fields_are_named_unless_they_could_be_personal_data() {
        let document = json!({
            "cvId": 7,
            "status": null,
            "ervaringen": [{}, {"loon": 3}, "x"],
            "opleidingen": {"naam": "x"},
            "competenties": [{"score": 43, "naam": ["x"]}],
            "persoonlijkeInteresse": {"Jan Janssens": 1},
            "natuurlijkPersoon": {"Jan Janssens": 1},
        });
        let mut found = found(&document);
        found.sort_unstable();
        let expected = [
            ("new_field", "ervaringen[].loon"),
            ("new_field", "natuurlijkPersoon.?"),
            ("type", "competenties[].naam"),
            ("type", "ervaringen[]"),
            ("type", "opleidingen"),
        ];
        assert_eq!(found, expected.map(|(kind, path)| (kind, path.to_owned())));
    }
}
