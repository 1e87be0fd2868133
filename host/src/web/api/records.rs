//! Who changed what.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::json;
use super::error::{Error, Problem};
use super::list::{Asked, Page, Which, limit};
use super::rfc3339;
use crate::access::Right;
use crate::web::Web;

/// One change.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecordView {
    id: String,
    at: String,
    /// Such as `token ops` or `flow import`.
    actor: String,
    /// `create`, `update`, `delete`, `activate`, `release`, ...
    action: String,
    /// Empty where it belongs to no account.
    account: String,
    kind: String,
    document: String,
    version: Option<i64>,
}

/// Lists changes, newest first; a page of one account may be shorter than its limit.
#[utoipa::path(get, path = "/api/v1/audit", tag = "audit", params(Which),
    responses((status = 200, body = Page<RecordView>), (status = "default", body = Problem)))]
pub async fn list(
    State(web): State<Web>,
    headers: HeaderMap,
    Asked(which): Asked<Which>,
) -> Result<Response, Error> {
    web.may(&headers, Right::Audit).await?;
    let limit = limit(which.limit);
    let catalog = web.pipeline.store.catalog();
    let mut rows = catalog.audit(which.after.as_deref(), limit + 1).await?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|row| row.id.clone());
    let items = rows
        .into_iter()
        .filter(|row| which.wants(&row.record.account))
        .map(|row| RecordView {
            id: row.id,
            at: rfc3339(row.at_ms),
            actor: row.actor,
            action: row.record.action,
            account: row.record.account,
            kind: row.record.kind,
            document: row.record.document,
            version: row.version,
        });
    let page = Page {
        items: items.collect(),
        next,
    };
    Ok(json(StatusCode::OK, &page))
}
