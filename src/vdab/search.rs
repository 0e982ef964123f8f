//! Searches by filters, and reads a page of results (docs/contract.md, "GET /kandidaten").

use super::answer::Raw;
use super::error::ApiError;
use super::page::{self, SearchPage};
use crate::model::{Dialect, Names};

/// The largest page that is read, in bytes: 200 results of five fields each, one of which may be a list of all jobs.
pub const LARGEST_RESULT: usize = 16 << 20;

pub const LARGEST_PAGE: u16 = 200;

/// The most fields that may be selected.
pub const MOST_VELDEN: usize = 5;

/// A search. Only VDAB checks its names and values.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// Names and values. A name that occurs twice has two values.
    pub filters: Vec<(String, String)>,
    /// The fields of each result besides its id; at most [`MOST_VELDEN`].
    pub velden: Vec<String>,
}

impl Search {
    /// The parameters of the page that begins at `offset`.
    pub(super) fn query<'a>(
        &'a self,
        Dialect { names, paging, .. }: &'a Dialect,
        offset: u64,
        size: u16,
    ) -> Vec<(&'a str, String)> {
        let filters = self.filters.iter();
        let filters = filters.map(|(name, value)| (name.as_str(), value.clone()));
        let velden = self.velden.iter().map(|veld| ("velden", veld.clone()));
        let page = [
            (names.of("vanaf"), paging.number(offset, size).to_string()),
            (names.of("aantal"), size.to_string()),
        ];
        filters.chain(velden).chain(page).collect()
    }
}

/// Reads the response to a search, page by page as bulk responses are read (`page::page`).
pub fn classify(answer: &Raw, offset: u64, names: &Names) -> Result<SearchPage, ApiError> {
    let page = page::page(answer.json()?, offset, names).map_err(ApiError::NotAnAnswer)?;
    let items = page.items.into_iter();
    Ok(SearchPage {
        total: page.total,
        items: items.map(|item| page::result(item, names)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classified(status: u16, content_type: &str, body: &str) -> Result<SearchPage, ApiError> {
        let answer = Raw::of(status, &[("content-type", content_type)], body);
        classify(&answer, 0, &Names::default())
    }

    #[test]
    fn a_page_has_a_total_under_either_name_or_none_and_its_results_whole() {
        for (body, total) in [
            (
                r#"{"aantal":7,"resultaten":[{"cvId":"x","nieuw":[1]}]}"#,
                Some(7),
            ),
            (
                r#"{"totaalAantalResultaten":7,"resultaten":[{"cvId":"x","nieuw":[1]}]}"#,
                Some(7),
            ),
            (
                r#"{"resultaten":[{"cvId":"x","nieuw":[1]}],"facetten":{}}"#,
                None,
            ),
        ] {
            let page = classified(200, "application/json", body).unwrap();
            assert_eq!(page.total, total);
            assert_eq!(page.items[0]["nieuw"][0], 1);
            for cut in 0..body.len() {
                let error = classified(200, "application/json", &body[..cut]).unwrap_err();
                assert_eq!(error.class(), "not_an_answer");
            }
        }
        for nonsense in ["{}", "[]", "null", r#"{"resultaten":7}"#] {
            let error = classified(200, "application/json", nonsense).unwrap_err();
            assert_eq!(error.class(), "not_an_answer", "{nonsense}");
        }
        let html = classified(200, "text/html", "<p>Even geduld").unwrap_err();
        assert_eq!(html.class(), "not_an_answer");
    }

    #[test]
    fn words_about_a_filter_are_only_for_the_terminal() {
        let body = r#"{"httpCode":"400","moreInformation":"Er kunnen maximaal 5 velden\ngekozen\u001b[31m worden"}"#;
        let error = classified(400, "application/json", body).unwrap_err();
        assert_eq!(
            error.to_string(),
            "VDAB refuses the request (400: 46 characters not shown)"
        );
        let in_full = error.in_full().unwrap();
        assert_eq!(in_full, "Er kunnen maximaal 5 velden gekozen[31m worden");
        let error = classified(400, "text/html", "<p>").unwrap_err();
        assert!(error.to_string().contains("no reason given"));
    }

    #[test]
    fn a_page_is_asked_for_with_all_that_was_given() {
        let search = Search {
            filters: vec![
                ("studies".into(), "A".into()),
                ("studies".into(), "B&c=d".into()),
            ],
            velden: vec!["status".into()],
        };
        let dialect = Dialect::default();
        let query = search.query(&dialect, 200, 100);
        let query: Vec<_> = query.iter().map(|(n, v)| (*n, v.as_str())).collect();
        assert_eq!(
            query,
            [
                ("studies", "A"),
                ("studies", "B&c=d"),
                ("velden", "status"),
                ("vanaf", "200"),
                ("aantal", "100")
            ]
        );
    }
}
