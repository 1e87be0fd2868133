//! Fields that a flow writes and its account lacks, and making all of them at once.

use axum::extract::{RawPathParams, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::json;
use super::error::{Error, Problem};
use super::inventory::release_of;
use super::list::{Page, part};
use super::{flows, metadata};
use crate::access::Right;
use crate::flow::{Digest, Direction, Flow};
use crate::pipeline::account::Field;
use crate::pipeline::account::custom::{Lacking, lacking};
use crate::pipeline::activate;
use crate::web::Web;

/// Fields that were made.
#[derive(Debug, Serialize, ToSchema)]
pub struct Made {
    pub fields: Vec<Field>,
}

/// The fields of leads that a release of a flow writes and the account lacks: the newest release, if none is named.
pub(in crate::web) async fn of(
    web: &Web,
    flow: &Flow,
    release: Option<&Digest>,
) -> Result<Vec<Lacking>, Error> {
    if flow.direction != Direction::EhrToLeadSquared {
        return Ok(Vec::new());
    }
    let catalog = web.pipeline.store.catalog();
    let release = match release {
        Some(digest) => catalog.release(&flow.account, digest).await?,
        None => release_of(&catalog, flow)
            .await?
            .map(|(_, row)| row.release),
    };
    let Some(release) = release else {
        return Ok(Vec::new());
    };
    let components = catalog.components(&flow.account).await?;
    let mut components = components.into_iter();
    let component = components.find(|row| row.digest == release.component);
    let document = component.map(|row| row.document).unwrap_or_default();
    let known = web.pipeline.lead_fields(&flow.account).await?.document;
    Ok(lacking(&document, &activate::writes(&release), &known))
}

/// Lists the fields that a flow writes and its account lacks, as they would be made.
#[utoipa::path(get, path = "/api/v1/flows/{id}/lacking-fields", tag = "metadata", params(("id" = String, Path)),
    responses((status = 200, body = Page<Lacking>), (status = "default", body = Problem)))]
pub async fn list(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<Response, Error> {
    web.may(&headers, Right::View).await?;
    let id = part(&params, "id")?;
    let flow = flows::kept(&web.pipeline.store.catalog(), &id)
        .await?
        .document;
    let page = Page {
        items: Box::pin(of(&web, &flow, None)).await?,
        next: None,
    };
    Ok(json(StatusCode::OK, &page))
}

/// Makes every field in LeadSquared that a flow writes and its account lacks.
#[utoipa::path(post, path = "/api/v1/flows/{id}/lacking-fields", tag = "metadata", params(("id" = String, Path)),
    responses((status = 200, body = Made), (status = "default", body = Problem)))]
pub async fn make(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<Response, Error> {
    let made = Box::pin(make_all(&web, &headers, &part(&params, "id")?)).await?;
    Ok(json(StatusCode::OK, &made))
}

/// What [`make`] does, for a page.
pub(in crate::web) async fn make_all(
    web: &Web,
    headers: &HeaderMap,
    id: &str,
) -> Result<Made, Error> {
    let caller = web.may(headers, Right::Administer).await?;
    let flow = flows::kept(&web.pipeline.store.catalog(), id)
        .await?
        .document;
    let mut fields = Vec::new();
    for one in Box::pin(of(web, &flow, None)).await? {
        let name = &one.field.display_name;
        metadata::note(web, &caller, &flow.account, "lead-field", name).await?;
        let making = web
            .pipeline
            .create_lead_field(&flow.account, &one.field, &[]);
        fields.push(Box::pin(making).await?);
    }
    Ok(Made { fields })
}
