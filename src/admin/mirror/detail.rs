//! `/mirror/v1/kandidaten/{id}`: a stored document.

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::access::Reader;
use super::answer::{Refusal, as_of};
use crate::admin::{Admin, etag};
use crate::contract::GatewayError;
use crate::model::CvId;

pub(super) async fn detail(
    State(admin): State<Arc<Admin>>,
    Extension(reader): Extension<Reader>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let id = id.ok().and_then(|Path(id)| CvId::parse(&id));
    let id = id.ok_or_else(GatewayError::malformed_id)?;
    let (found, at) = admin.mirror.lookup.find(id).await?;
    let Some(found) = found else {
        let refusal = Refusal::from(GatewayError::no_such_cv(&id.to_string()));
        return Ok((as_of(at), refusal).into_response());
    };
    let tag = format!("\"{}\"", found.tag);
    if etag::is_current(&headers, &found.tag) {
        let headers = [(header::ETAG, tag)];
        return Ok((StatusCode::NOT_MODIFIED, as_of(at), headers).into_response());
    }
    admin.mirror.access.given(&reader, &[id.0], None).await?;
    let content_type = "application/json".to_owned();
    let headers = [(header::CONTENT_TYPE, content_type), (header::ETAG, tag)];
    Ok((as_of(at), headers, found.json).into_response())
}
