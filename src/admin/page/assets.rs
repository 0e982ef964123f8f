//! Style sheet, script and icon of the page, served from this binary with an ETag.

use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::admin::etag;
use crate::model::{hex, sha256};

const ASSETS: [(&str, &str, &str); 3] = [
    (
        "style.css",
        "text/css; charset=utf-8",
        include_str!("style.css"),
    ),
    (
        "page.js",
        "text/javascript; charset=utf-8",
        include_str!("page.js"),
    ),
    ("icon.svg", "image/svg+xml", include_str!("icon.svg")),
];

/// The browser must revalidate each time, because another instance may have another version. Unchanged files are not sent again.
pub(super) async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let Some((_, kind, text)) = ASSETS.iter().find(|(known, ..)| *known == name) else {
        return (StatusCode::NOT_FOUND, "not found\n").into_response();
    };
    let hash = hex(&sha256(text.as_bytes()));
    let tag = format!("\"{hash}\"");
    let about = [
        (ETAG, &*tag),
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_TYPE, kind),
    ];
    if etag::is_current(&headers, &hash) {
        (StatusCode::NOT_MODIFIED, about).into_response()
    } else {
        (about, *text).into_response()
    }
}
