//! Search and reference lists.

use super::{Looker, total};
use crate::config::DIPLOMAS;
use crate::conformance::seen::Filtered;
use crate::vdab::probe::{Outline, Sight};
use crate::vdab::{ApiError, Operation};

/// Regions that many want to work in.
const REGIOS: [&str; 2] = ["BE231A", "BE211A"];

impl Looker<'_> {
    pub(super) async fn search(&mut self) -> Result<(), ApiError> {
        let regio = |at: usize| ("gewensteRegios", REGIOS[at].to_owned());
        let velden = [
            "cvId",
            "status",
            "wijzigingsDatum",
            "iklId",
            "attesteringen",
            "competenties",
        ];
        let few = ("aantal", "1".to_owned());
        let mut statuses = Vec::new();
        for count in [5, 6] {
            let mut query = vec![regio(0), few.clone()];
            query.extend(
                velden[..count]
                    .iter()
                    .map(|veld| ("velden", (*veld).to_owned())),
            );
            statuses.push(self.found(&query).await?.0);
        }
        if matches!(statuses[0], 401 | 403 | 404) {
            self.seen.search.trouble = Some(format!("status {}", statuses[0]));
            return Ok(());
        }
        self.seen.search.velden = Some((statuses[0], statuses[1]));
        let mut statuses = Vec::new();
        for size in ["200", "201"] {
            let query = [regio(0), ("aantal", size.to_owned())];
            statuses.push(self.found(&query).await?.0);
        }
        self.seen.search.page = Some((statuses[0], statuses[1]));
        let one = self.found(&[regio(0), few.clone()]).await?.1;
        let other = self.found(&[regio(1), few.clone()]).await?.1;
        let both = self.found(&[regio(0), regio(1), few.clone()]).await?.1;
        let licence = ("rijbewijzen", "B".to_owned());
        let licence = self.found(&[regio(0), licence, few.clone()]).await?;
        let nothing = ("cvsyncOnbekend", "1".to_owned());
        let nothing = self.found(&[regio(0), nothing, few]).await?;
        self.seen.search.filters = one.map(|alone| (alone, licence, nothing));
        if let (Some(one), Some(other), Some(both)) = (one, other, both) {
            self.seen.search.repeated = Some((one, other, both));
        }
        Ok(())
    }

    /// The status of a search, and how many CVs it found.
    async fn found(&mut self, query: &[(&str, String)]) -> Result<Filtered, ApiError> {
        let sight = self.get(Operation::Search, &["kandidaten"], query).await?;
        Ok((sight.status, total(&sight).map(|(_, total)| total)))
    }

    pub(super) async fn reference(&mut self) -> Result<(), ApiError> {
        for list in &self.source.sync.reference.lists {
            let path: Vec<_> = list.path.split('/').collect();
            let keyword = [("trefwoord", "master".to_owned())];
            let is_diplomas = list.name == DIPLOMAS;
            let query = if is_diplomas { &keyword[..] } else { &[] };
            let sight = self.get(Operation::Reference, &path, query).await?;
            if matches!(sight.status, 401 | 403) {
                self.seen.reference.trouble = Some(format!(
                    "status {}: the key may need a subscription to the Referentie API",
                    sight.status
                ));
                return Ok(());
            }
            let reference = &mut self.seen.reference;
            let Some(entries) = entries(&sight) else {
                reference.missing.push((list.clone(), sight.status));
                continue;
            };
            if is_diplomas {
                reference.diplomas = Some(entries.len());
            } else {
                let first = entries.first().and_then(Outline::fields);
                let names = first.into_iter().flat_map(|entry| entry.keys().cloned());
                reference.fields.extend(names);
            }
            reference.found.push(list.clone());
        }
        Ok(())
    }
}

/// The entries of a reference list: the answer, or the only list in it.
fn entries(sight: &Sight) -> Option<&[Outline]> {
    if sight.status != 200 {
        return None;
    }
    let inside = || sight.body.fields()?.values().find_map(Outline::items);
    sight.body.items().or_else(inside)
}
