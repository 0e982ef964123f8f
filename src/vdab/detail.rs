//! Reads the document of a CV, or that it is gone (docs/contract.md, "GET /kandidaten/{id}").

use super::answer::Raw;
use super::error::ApiError;
use super::failure::Said;
use super::headers;
use crate::model::{CvId, Document, JsonPointer, Names, Standing, StatusWords, Unreadable};

/// The largest document that is read, in bytes: a typical one has 4 to 20 kB.
pub const LARGEST_DOCUMENT: usize = 2 << 20;

#[derive(Debug, PartialEq, Eq)]
pub enum Detail {
    Live(Document),
    /// A response, not an error.
    Gone,
}

/// Reads the response to a detail call for `asked`.
///
/// An absence needs proof: a response in the API's own form. A page of a proxy before the API proves nothing, nor does the
/// gateway's message that it does not know the path. A document with an unknown status word is a document.
pub fn classify(
    answer: &Raw,
    asked: CvId,
    words: &StatusWords,
    exclude: &[JsonPointer],
    names: &Names,
) -> Result<Detail, ApiError> {
    let body = match answer.json() {
        Ok(body) => body,
        Err(ApiError::Refused { status, said }) => return refused(answer, status, said),
        Err(error) => return Err(error),
    };
    let (cv_id, document) =
        Document::read_as(body, exclude, names).map_err(|error| match error {
            Unreadable::NotJson => ApiError::NotAnAnswer("it is not complete JSON"),
            Unreadable::NoCvId => ApiError::NotAnAnswer("it has no cvId"),
            Unreadable::Unstorable => ApiError::Unstorable,
        })?;
    if CvId::parse(&cv_id) != Some(asked) {
        return Err(ApiError::NotAnAnswer("it is the document of another CV"));
    }
    Ok(match words.standing(document.status()) {
        Standing::Gone => Detail::Gone,
        Standing::Live | Standing::Unknown => Detail::Live(document),
    })
}

fn refused(answer: &Raw, status: u16, said: Said) -> Result<Detail, ApiError> {
    if said.says("geen bestaande") && headers::is_json(&answer.headers) {
        Ok(Detail::Gone)
    } else if said.says("no resources match") {
        Err(ApiError::NotAnAnswer("the gateway does not know the path"))
    } else if said.says("invalid string syntax") {
        Err(ApiError::BadId)
    } else if !matches!(status, 404 | 410) {
        Err(ApiError::Refused { status, said })
    } else if answer.is_api_error() {
        Ok(Detail::Gone)
    } else {
        Err(ApiError::NotAnAnswer(
            "status 404 or 410, but not from the API",
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ID: &str = "30dbfef1-59df-4521-a111-964bf0208e68";
    const JSON: &str = "application/json";
    const HTML: &str = "text/html; charset=utf-8";

    fn classified(status: u16, headers: &[(&str, &str)], body: &str) -> Result<Detail, ApiError> {
        let words = StatusWords {
            live: vec!["OPEN".into()],
            gone: vec!["VERWIJDERD".into(), "GESLOTEN".into(), "AFGESLOTEN".into()],
        };
        let answer = Raw::of(status, headers, body);
        classify(
            &answer,
            CvId::parse(ID).unwrap(),
            &words,
            &[],
            &Names::default(),
        )
    }

    fn gateway(code: &str, message: &str) -> String {
        format!(r#"{{"httpCode":"{code}","httpMessage":"x","moreInformation":"{message}"}}"#)
    }

    fn proof(status: u16, content_type: &str, body: &str) -> &'static str {
        match classified(status, &[("content-type", content_type)], body) {
            Ok(Detail::Live(_)) => "document",
            Ok(Detail::Gone) => "gone",
            Err(error) => error.class(),
        }
    }

    #[test]
    #[allow(clippy::too_many_lines, reason = "a table")]
    fn every_row_of_the_contract() {
        let document = |status: &str| format!(r#"{{"cvId":"{ID}","status":"{status}"}}"#);
        let without_status = format!(r#"{{"cvId":"{ID}"}}"#);
        let upper_case = format!(r#"{{"cvId":"{}","status":"OPEN"}}"#, ID.to_uppercase());
        let another = r#"{"cvId":"cb60cf85-1380-4a5a-adae-0b7bc6160661","status":"OPEN"}"#;
        let another_gone = another.replace("OPEN", "GESLOTEN");
        let deep = format!(
            r#"{{"cvId":"{ID}","x":{}{}}}"#,
            "[".repeat(5_000),
            "]".repeat(5_000)
        );
        for (status, content_type, body, expected) in [
            (200, JSON, &*document("OPEN"), "document"),
            (
                200,
                "application/json;charset=UTF-8",
                &*document("OPEN"),
                "document",
            ),
            (200, JSON, &*without_status, "document"),
            (200, JSON, &*upper_case, "document"),
            (200, JSON, &*document("GEARCHIVEERD"), "document"),
            (200, JSON, &*document("VERWIJDERD"), "gone"),
            (200, JSON, &*document("GESLOTEN"), "gone"),
            (200, JSON, &*document("AFGESLOTEN"), "gone"),
            (200, JSON, another, "not_an_answer"),
            (200, JSON, &*another_gone, "not_an_answer"),
            (200, JSON, r#"{"status":"VERWIJDERD"}"#, "not_an_answer"),
            (200, JSON, "", "not_an_answer"),
            (200, JSON, "null", "not_an_answer"),
            (200, JSON, &*deep, "not_an_answer"),
            (
                200,
                JSON,
                &format!(r#"{{"cvId":"{ID}","x":"\u0000"}}"#),
                "unstorable",
            ),
            (200, HTML, "<html>onderhoud</html>", "not_an_answer"),
            (200, HTML, &*document("OPEN"), "not_an_answer"),
            (200, JSON, "<html>onderhoud</html>", "not_an_answer"),
            (204, JSON, "", "not_an_answer"),
            (206, JSON, &*document("OPEN"), "not_an_answer"),
            (302, HTML, "", "not_an_answer"),
            (304, JSON, "", "not_an_answer"),
            (
                400,
                JSON,
                &*gateway("400", "Invalid string syntax"),
                "bad_id",
            ),
            (
                400,
                JSON,
                &*gateway("400", "x is geen bestaande kandidaat"),
                "gone",
            ),
            (
                422,
                JSON,
                &*gateway("422", "dit is Geen bestaande kandidaat"),
                "gone",
            ),
            (
                400,
                HTML,
                &*gateway("400", "x is geen bestaande kandidaat"),
                "refused",
            ),
            (400, JSON, &*gateway("400", "something else"), "refused"),
            (400, HTML, "<html>", "refused"),
            (
                401,
                JSON,
                &*gateway("401", "Invalid client id or secret."),
                "key_refused",
            ),
            (403, JSON, &*gateway("403", "not subscribed"), "key_refused"),
            (403, HTML, "<html>", "key_refused"),
            (404, JSON, &*gateway("404", "not found"), "gone"),
            (410, JSON, &*gateway("410", "gone"), "gone"),
            (404, HTML, "<html>not found</html>", "not_an_answer"),
            (410, HTML, "", "not_an_answer"),
            (
                404,
                JSON,
                &*gateway("404", "No resources match requested URI"),
                "not_an_answer",
            ),
            (408, JSON, "", "incomplete"),
            (
                429,
                JSON,
                &*gateway("429", "Rate Limit exceeded"),
                "over_quota",
            ),
            (500, JSON, &*gateway("500", "x"), "server_error"),
            (502, HTML, "", "server_error"),
            (503, HTML, "", "server_error"),
            (504, HTML, "", "server_error"),
        ] {
            assert_eq!(
                proof(status, content_type, body),
                expected,
                "{status} {body:.120}"
            );
        }
    }

    #[test]
    fn a_document_cut_anywhere_is_no_document() {
        let body =
            format!(r#"{{"cvId":"{ID}","status":"OPEN","ervaringen":[{{}},{{"van":"2020"}}]}}"#);
        for cut in 0..body.len() {
            assert_eq!(proof(200, JSON, &body[..cut]), "not_an_answer");
        }
    }

    #[test]
    fn waits_come_from_the_headers() {
        let wait = |headers: &[(&str, &str)]| match classified(429, headers, "") {
            Err(ApiError::OverQuota { wait }) => wait,
            other => panic!("{other:?}"),
        };
        assert_eq!(wait(&[("retry-after", "7")]), Some(Duration::from_secs(7)));
        assert_eq!(
            wait(&[("x-ratelimit-reset", "name=rate-limit,22")]),
            Some(Duration::from_secs(22))
        );
        assert_eq!(
            wait(&[("retry-after", "soon"), ("x-ratelimit-reset", "5")]),
            Some(Duration::from_secs(5))
        );
        assert_eq!(wait(&[]), None);
    }
}
