//! Reads a page of ids (docs/contract.md, "GET /kandidaten/bulk").

use super::answer::Raw;
use super::error::ApiError;
use super::page::{self, BulkItem, BulkPage};
use crate::model::Names;

/// The largest page that is read, in bytes: 2,000 ids take about 150 kB.
pub const LARGEST_PAGE: usize = 8 << 20;

/// Reads the response to a bulk call from `offset` on. `page::page` says what it proves.
pub fn classify(answer: &Raw, offset: u64, names: &Names) -> Result<BulkPage, ApiError> {
    let page = page::page(answer.json()?, offset, names).map_err(ApiError::NotAnAnswer)?;
    let items = page.items.iter();
    Ok(BulkPage {
        total: page.total,
        items: items.map(|item| BulkItem::read(item, names)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classified(
        status: u16,
        content_type: &'static str,
        body: &str,
    ) -> Result<BulkPage, ApiError> {
        let answer = Raw::of(status, &[("content-type", content_type)], body);
        classify(&answer, 0, &Names::default())
    }

    #[test]
    fn a_page_is_a_page_only_when_whole() {
        let body = r#"{"aantal":1,"resultaten":[{"cvId":"x","status":"OPEN"}]}"#;
        assert_eq!(
            classified(200, "application/json", body)
                .unwrap()
                .items
                .len(),
            1
        );
        for cut in 0..body.len() {
            let error = classified(200, "application/json", &body[..cut]).unwrap_err();
            assert_eq!(error.class(), "not_an_answer");
        }
        for nonsense in ["{}", "[]", "[0,[]]", "null", r#"{"aantal":1}"#] {
            let error = classified(200, "application/json", nonsense).unwrap_err();
            assert_eq!(error.class(), "not_an_answer", "{nonsense}");
        }
        assert_eq!(
            classified(200, "text/html", body).unwrap_err().class(),
            "not_an_answer"
        );
        assert_eq!(
            classified(400, "application/json", "{}")
                .unwrap_err()
                .class(),
            "refused"
        );
        assert_eq!(
            classified(404, "application/json", "{}")
                .unwrap_err()
                .class(),
            "refused"
        );
    }
}
