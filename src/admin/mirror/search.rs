//! `/mirror/v1/kandidaten`: the CVs that match, each with the requested fields.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use sqlx::PgConnection;

use super::access::Reader;
use super::answer::{Refusal, as_of};
use super::query::{LONGEST_SHOWN, Query};
use super::to_its_end;
use crate::admin::Admin;
use crate::contract::{DEFAULT_SEARCH_PAGE, MAX_SEARCH_PAGE, MAX_VELDEN};
use crate::model::one_line;
use crate::model::shape::top_fields;
use crate::store::fence;
use crate::store::mirror::{self, FILTERS, Search};

const ZOEKTERM: &str = "zoekterm";
const VELDEN: &str = "velden";
const VANAF: &str = "vanaf";
const AANTAL: &str = "aantal";

/// Parameters that may be given only once.
const SINGLE: [&str; 3] = [ZOEKTERM, VANAF, AANTAL];

/// The most values of all filters together, and the longest value in characters.
const MAX_VALUES: usize = 200;
const LONGEST_VALUE: usize = 200;

/// The filter whose values may end with a colon and a level, and the highest level.
const TALEN: &str = "talen";
const HIGHEST_LEVEL: char = '9';

pub(super) async fn search(
    State(admin): State<Arc<Admin>>,
    Extension(reader): Extension<Reader>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let search = read(&Query::read(query))?;
    let velden = search.velden.clone();
    let shared = Arc::clone(&admin);
    let (found, at) = to_its_end(async move {
        let mirror = &shared.mirror;
        let _turn = mirror.turn().await?;
        mirror.reads.fences.refresh().await;
        let found = async |tx: &mut PgConnection, as_of| {
            let as_of = fence::searchable_as_of(tx, as_of).await?;
            Ok((mirror::search(tx, &search).await?, as_of))
        };
        Ok(mirror.reads.read("searching", found).await?)
    })
    .await?;
    if found.too_large {
        return Err(Refusal::wrong(format!(
            "the results on this page have more than {} MiB; ask for fewer results with {AANTAL}, or for fewer fields with {VELDEN}",
            mirror::LARGEST_PAGE >> 20
        )));
    }
    let access = &admin.mirror.access;
    access.given(&reader, &found.ids, Some(&velden)).await?;
    // The results are JSON already. Reading them would take many times their size.
    let (total, results) = (found.total.max(0), found.page.join(","));
    let body = format!(r#"{{"aantal":{total},"resultaten":[{results}]}}"#);
    let headers = [(header::CONTENT_TYPE, "application/json")];
    Ok((as_of(at), headers, body).into_response())
}

pub(super) fn read(query: &Query) -> Result<Search, Refusal> {
    query.only(&SINGLE, &repeated().collect::<Vec<_>>())?;
    let velden = query.values(VELDEN).flat_map(|value| value.split(','));
    let velden: Vec<String> = velden.map(|veld| veld.trim().to_owned()).collect();
    if velden.len() > MAX_VELDEN {
        return Err(Refusal::wrong(format!(
            "velden must have at most {MAX_VELDEN} fields"
        )));
    }
    let values = FILTERS.iter().map(|(name, _)| query.values(name).count());
    if values.sum::<usize>() > MAX_VALUES {
        let text = format!("the filters must have at most {MAX_VALUES} values in total");
        return Err(Refusal::wrong(text));
    }
    let searched = FILTERS
        .iter()
        .map(|(name, _)| *name)
        .chain([ZOEKTERM, VELDEN]);
    for name in searched {
        let odd = |value: &str| value.contains('\0') || value.chars().count() > LONGEST_VALUE;
        if query.values(name).any(odd) {
            let text = format!(
                "each value of {name} must have at most {LONGEST_VALUE} characters and no NUL"
            );
            return Err(Refusal::wrong(text));
        }
    }
    if let Some(veld) = velden
        .iter()
        .find(|veld| top_fields().all(|known| known != *veld))
    {
        let shown = one_line(veld, LONGEST_SHOWN);
        let known: Vec<_> = top_fields().collect();
        return Err(Refusal::wrong(format!(
            "unknown field {shown:?} in {VELDEN}; known fields: {}",
            known.join(", ")
        )));
    }
    if query.values(TALEN).any(|value| !is_level_known(value)) {
        let text = format!(
            "{TALEN} must be a code, which may be followed by a colon and a level from 1 to {HIGHEST_LEVEL}"
        );
        return Err(Refusal::wrong(text));
    }
    let terms = FILTERS.map(|(name, kind)| {
        let terms: Vec<_> = query
            .values(name)
            .map(|value| format!("{kind}:{value}"))
            .collect();
        (!terms.is_empty()).then_some(terms)
    });
    Ok(Search {
        terms,
        words: query.values(ZOEKTERM).next().map(ToOwned::to_owned),
        velden,
        offset: query.number(VANAF, 0, 0..=usize::MAX)?,
        limit: query.number(AANTAL, DEFAULT_SEARCH_PAGE, 1..=MAX_SEARCH_PAGE)?,
    })
}

/// Parameters that may be repeated.
fn repeated() -> impl Iterator<Item = &'static str> {
    let filters = FILTERS.into_iter().map(|(name, _)| name);
    filters.chain([VELDEN])
}

fn is_level_known(value: &str) -> bool {
    value.split_once(':').is_none_or(|(_, level)| {
        let mut chars = level.chars();
        matches!(
            (chars.next(), chars.next()),
            (Some('1'..=HIGHEST_LEVEL), None)
        )
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    #[test]
    fn openapi_has_exactly_the_parameters_that_are_read() {
        let document: Value = serde_json::from_str(super::super::OPENAPI).unwrap();
        let parameters = document["paths"]["/kandidaten"]["get"]["parameters"]
            .as_array()
            .unwrap();
        let served: BTreeSet<_> = parameters
            .iter()
            .map(|p| p["name"].as_str().unwrap())
            .collect();
        assert_eq!(served, repeated().chain(SINGLE).collect());
    }
}
