//! `/kandidaten`: finds matching CVs, and selects the fields in `velden`.

use serde_json::{Map, Value};

use super::call::Call;
use super::cv::Cv;
use super::world::World;
use crate::contract::SearchPage;

struct Filter {
    name: &'static str,
    /// The array of the document that it searches.
    list: &'static str,
    codes: Codes,
}

/// The place of the codes in that array.
enum Codes {
    /// In this field of each element.
    At(&'static str),
    /// In the elements of this type.
    Of(&'static str),
}

const fn filter(name: &'static str, list: &'static str, codes: Codes) -> Filter {
    Filter { name, list, codes }
}

const FILTERS: &[Filter] = &[
    filter("studies", "/opleidingen", Codes::At("/naam")),
    filter("gewensteRegios", "/gewensteJob/regios", Codes::At("")),
    filter(
        "arbeidsRegimes",
        "/gewensteJob/arbeidsRegimes",
        Codes::At(""),
    ),
    filter(
        "arbeidsStelsels",
        "/gewensteJob/arbeidsStelsels",
        Codes::At(""),
    ),
    filter(
        "beroepsprofielen",
        "/gewensteJob/functies",
        Codes::At("/beroepsprofiel/code"),
    ),
    filter("rijbewijzen", "/attesteringen", Codes::Of("rijbewijs")),
    filter("attesten", "/attesteringen", Codes::Of("attest")),
    filter("talen", "/competenties", Codes::Of("talen")),
    filter(
        "technischeCompetenties",
        "/competenties",
        Codes::Of("technischeCompetentie"),
    ),
    filter("softSkills", "/competenties", Codes::Of("softSkill")),
];

/// A filter, and the codes of which a CV must have one.
struct Sought<'a> {
    filter: &'static Filter,
    codes: Vec<&'a str>,
}

impl Sought<'_> {
    fn any(&self, found: &[&str]) -> bool {
        self.codes.iter().any(|code| found.contains(code))
    }

    /// Whether a CV matches, if that is known without the document.
    fn is_met_by(&self, cv: &Cv) -> Option<bool> {
        match self.filter.name {
            "studies" => Some(self.any(&cv.studies())),
            "gewensteRegios" => Some(self.any(&cv.regios())),
            _ => None,
        }
    }

    fn is_met_in(&self, document: &Value) -> bool {
        let elements = document.pointer(self.filter.list).and_then(Value::as_array);
        elements.into_iter().flatten().any(|element| {
            let code = match self.filter.codes {
                Codes::At(pointer) => element.pointer(pointer),
                Codes::Of(kind) => element.get("code").filter(|_| element["type"] == kind),
            };
            code.and_then(Value::as_str)
                .is_some_and(|code| self.any(&[code]))
        })
    }
}

impl World {
    /// One page of matches. The values of a filter are alternatives, all filters must match, and unknown filters are ignored.
    pub(super) fn search(&self, call: &Call, vanaf: usize, aantal: usize) -> SearchPage {
        let sought: Vec<_> = FILTERS
            .iter()
            .map(|filter| Sought {
                filter,
                codes: call.values(filter.name).collect(),
            })
            .filter(|sought| !sought.codes.is_empty())
            .collect();
        let velden: Vec<_> = call.values("velden").collect();
        let mut page = SearchPage {
            aantal: 0,
            resultaten: Vec::new(),
        };
        for (index, id) in self
            .live()
            .filter(|(index, _)| self.matches(*index, &sought))
        {
            if page.aantal >= vanaf && page.resultaten.len() < aantal {
                let mut result = self.selected(index, &velden);
                result.insert("cvId".to_owned(), id.to_string().into());
                page.resultaten.push(result);
            }
            page.aantal += 1;
        }
        page
    }

    fn matches(&self, index: u32, sought: &[Sought<'_>]) -> bool {
        let known: Vec<_> = match self.cv(index) {
            Ok(cv) => sought.iter().map(|one| one.is_met_by(&cv)).collect(),
            Err(_) => vec![None; sought.len()],
        };
        if known.contains(&Some(false)) {
            return false;
        }
        // Documents are rendered and read only where they have to be: that takes far longer.
        if !known.contains(&None) {
            return true;
        }
        let document: Value = serde_json::from_str(&self.document_at(index)).unwrap_or_default();
        sought.iter().all(|one| one.is_met_in(&document))
    }

    fn selected(&self, index: u32, velden: &[&str]) -> Map<String, Value> {
        if velden.is_empty() {
            return Map::new();
        }
        let mut document: Map<_, _> =
            serde_json::from_str(&self.document_at(index)).unwrap_or_default();
        document.retain(|veld, _| velden.contains(&veld.as_str()));
        document
    }
}
