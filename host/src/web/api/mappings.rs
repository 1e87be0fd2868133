//! The versions of a flow's mapping document: who made each, and what it changed in words.

use axum::extract::{RawPathParams, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::json;
use super::error::{Error, Problem};
use super::list::{Page, part};
use super::{flows, rfc3339};
use crate::access::Right;
use crate::flow::{Digest, Flow};
use crate::mapping::document::{Document, changes};
use crate::web::Web;

/// One version of a mapping.
#[derive(Debug, Serialize, ToSchema)]
pub struct MappingVersion {
    /// The release that it is part of.
    pub(in crate::web) release: Digest,
    /// Which of the flow's releases that is, counted from 1.
    pub(in crate::web) number: usize,
    pub(in crate::web) made_at: String,
    pub(in crate::web) author: String,
    /// Whether it is in force.
    pub(in crate::web) is_active: bool,
    /// What is otherwise than in the version before, in words.
    pub(in crate::web) changes: Vec<String>,
    /// The document in its one form.
    mapping: String,
    #[serde(skip)]
    pub(in crate::web) made_at_ms: i64,
}

/// Lists the versions of a flow's mapping, newest first.
#[utoipa::path(get, path = "/api/v1/flows/{id}/mappings", tag = "releases", params(("id" = String, Path)),
    responses((status = 200, body = Page<MappingVersion>), (status = "default", body = Problem)))]
pub async fn list(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<Response, Error> {
    web.may(&headers, Right::View).await?;
    let catalog = web.pipeline.store.catalog();
    let flow = flows::kept(&catalog, &part(&params, "id")?).await?.document;
    let page = Page {
        items: versions(&web, &flow).await?,
        next: None,
    };
    Ok(json(StatusCode::OK, &page))
}

/// Every version of a flow's mapping, newest first.
pub(in crate::web) async fn versions(web: &Web, flow: &Flow) -> Result<Vec<MappingVersion>, Error> {
    let catalog = web.pipeline.store.catalog();
    let rows = catalog.releases(&flow.account, &flow.id).await?;
    let components = catalog.components(&flow.account).await?;
    let mut versions: Vec<MappingVersion> = Vec::new();
    let mut before: Option<Document> = None;
    for (at, row) in rows.into_iter().rev().enumerate() {
        let mut known = components.iter();
        let component = known.find(|known| known.digest == row.release.component);
        let document = component.and_then(|component| Document::parse(&component.document).ok());
        let Some(document) = document else {
            continue;
        };
        let said = match &before {
            Some(before) => changes(before, &document),
            None => Vec::new(),
        };
        versions.push(MappingVersion {
            number: at + 1,
            made_at: rfc3339(row.created_at_ms),
            made_at_ms: row.created_at_ms,
            author: row.author,
            is_active: flow.release.as_ref() == Some(&row.digest),
            changes: said,
            mapping: document.to_text(),
            release: row.digest,
        });
        before = Some(document);
    }
    versions.reverse();
    Ok(versions)
}
