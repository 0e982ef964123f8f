//! `/kandidaten`: which CVs match, and the fields that `velden` selects.

use serde_json::{Map, Value};

use super::call::Call;
use super::world::World;
use crate::contract::SearchPage;

impl World {
    /// One page of what matches. A filter's values are alternatives; all filters must hold; unknown ones are ignored.
    pub(super) fn search(&self, call: &Call, vanaf: usize, aantal: usize) -> SearchPage {
        let studies: Vec<_> = call.values("studies").collect();
        let regios: Vec<_> = call.values("gewensteRegios").collect();
        let velden: Vec<_> = call.values("velden").collect();
        let mut page = SearchPage {
            aantal: 0,
            resultaten: Vec::new(),
        };
        for (index, id) in self
            .live()
            .filter(|(index, _)| self.matches(*index, &studies, &regios))
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

    fn matches(&self, index: u32, studies: &[&str], regios: &[&str]) -> bool {
        let any = |sought: &[&str], found: &[&str]| sought.iter().any(|code| found.contains(code));
        match self.cv(index) {
            Ok(cv) => {
                (studies.is_empty() || any(studies, &cv.studies()))
                    && (regios.is_empty() || any(regios, &cv.regios()))
            }
            Err(text) => {
                let document: Value = serde_json::from_str(text).unwrap_or_default();
                let opleidingen = document["opleidingen"].as_array().into_iter().flatten();
                let found_studies: Vec<_> = opleidingen
                    .filter_map(|opleiding| opleiding["naam"].as_str())
                    .collect();
                let found_regios = document["gewensteJob"]["regios"]
                    .as_array()
                    .into_iter()
                    .flatten();
                let found_regios: Vec<_> = found_regios.filter_map(Value::as_str).collect();
                (studies.is_empty() || any(studies, &found_studies))
                    && (regios.is_empty() || any(regios, &found_regios))
            }
        }
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
