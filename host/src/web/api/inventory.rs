//! Which flow runs what: release, component, version, origin; and what the component of one flow says of itself.

use axum::extract::{RawPathParams, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::json;
use super::error::{Error, Problem};
use super::flows;
use super::list::{Asked, Page, Which, part};
use crate::access::Right;
use crate::flow::{AccountId, Choices, Digest, Flow, FlowId, Status};
use crate::mapping::Manifest;
use crate::pipeline::activate;
use crate::store::catalog::release::ReleaseRow;
use crate::store::catalog::{Catalog, ComponentRow};
use crate::web::Web;

/// What one flow runs, or would run once it is started.
#[derive(Debug, Serialize, ToSchema)]
pub struct Runs {
    pub account: AccountId,
    pub flow: FlowId,
    pub name: String,
    /// `draft`, `active` or `paused`.
    pub status: &'static str,
    /// The release that the flow names, or its newest one while it names none.
    pub release: Option<Digest>,
    /// Counted from the flow's first.
    pub release_number: Option<usize>,
    pub component: Option<Digest>,
    /// `generated` of a mapping document, or `uploaded`.
    pub origin: Option<String>,
    /// What the component calls itself; none while it is not loaded on this host.
    pub component_name: Option<String>,
    pub component_version: Option<String>,
    pub vendor: Option<String>,
}

/// The component of a flow, and what the flow says to it.
#[derive(Debug, Serialize, ToSchema)]
pub struct FlowComponent {
    pub runs: Runs,
    /// What the component says of itself.
    #[schema(value_type = Object)]
    pub manifest: Manifest,
    /// What the release was made with.
    pub choices: Choices,
    /// What it may read and write, in words.
    pub granted: Vec<String>,
    /// What it asks for and is not granted, in words.
    pub not_granted: Vec<String>,
}

/// The release that a flow names, or its newest one, and its number.
pub(in crate::web) async fn release_of(
    catalog: &Catalog,
    flow: &Flow,
) -> Result<Option<(usize, ReleaseRow)>, Error> {
    let mut rows = catalog.releases(&flow.account, &flow.id).await?;
    let count = rows.len();
    let named = rows
        .iter()
        .position(|row| flow.release.as_ref() == Some(&row.digest));
    let at = named.unwrap_or(0);
    Ok((at < count).then(|| (count - at, rows.swap_remove(at))))
}

async fn runs(
    web: &Web,
    flow: &Flow,
    release: Option<&(usize, ReleaseRow)>,
    components: &[ComponentRow],
) -> Runs {
    let component = release.map(|(_, row)| row.release.component.clone());
    let row = components
        .iter()
        .find(|row| component.as_ref() == Some(&row.digest));
    let configuration = web.pipeline.configuration();
    let route = configuration.route(&flow.id);
    let in_force = route.and_then(|route| route.in_force.as_ref());
    let manifest = in_force
        .filter(|in_force| component.as_ref() == Some(&in_force.release.component))
        .map(|in_force| &in_force.component.manifest);
    Runs {
        account: flow.account.clone(),
        flow: flow.id.clone(),
        name: flow.name.clone(),
        status: match flow.status {
            Status::Draft => "draft",
            Status::Active => "active",
            Status::Paused(_) => "paused",
        },
        release: release.map(|(_, row)| row.digest.clone()),
        release_number: release.map(|(number, _)| *number),
        origin: row.map(|row| row.origin.clone()),
        component_name: manifest.map(|manifest| manifest.name.clone()),
        component_version: manifest.map(|manifest| manifest.version.clone()),
        vendor: manifest.map(|manifest| manifest.vendor.clone()),
        component,
    }
}

/// What every flow of the accounts that are asked for runs.
pub(in crate::web) async fn all(web: &Web, which: &Which) -> Result<Vec<Runs>, Error> {
    let catalog = web.pipeline.store.catalog();
    let listing = catalog.list().await?;
    let mut found = Vec::new();
    for account in &listing.accounts {
        let account = &account.document.id;
        if !which.wants(account.as_str()) {
            continue;
        }
        let components = catalog.components(account).await?;
        let flows = listing.flows.iter().map(|kept| &kept.document);
        for flow in flows.filter(|flow| flow.account == *account) {
            let release = release_of(&catalog, flow).await?;
            found.push(runs(web, flow, release.as_ref(), &components).await);
        }
    }
    Ok(found)
}

/// Tells which flow runs what.
#[utoipa::path(get, path = "/api/v1/inventory", tag = "components", params(Which),
    responses((status = 200, body = Page<Runs>), (status = "default", body = Problem)))]
pub async fn list(
    State(web): State<Web>,
    headers: HeaderMap,
    Asked(which): Asked<Which>,
) -> Result<Response, Error> {
    web.may(&headers, Right::View).await?;
    let found = all(&web, &which).await?;
    let found = found.into_iter().map(|runs| (runs.flow.to_string(), runs));
    Ok(json(StatusCode::OK, &which.page(found)))
}

/// The component of a flow; none while the flow has no release.
pub(in crate::web) async fn component_of(
    web: &Web,
    flow: &Flow,
) -> Result<Option<FlowComponent>, Error> {
    let catalog = web.pipeline.store.catalog();
    let Some(release) = release_of(&catalog, flow).await? else {
        return Ok(None);
    };
    let components = catalog.components(&flow.account).await?;
    let mut runs = runs(web, flow, Some(&release), &components).await;
    let row = release.1.release;
    let bytes = catalog.component_bytes(&flow.account, &row.component);
    let bytes = bytes.await?;
    let bytes = bytes.ok_or_else(|| Error::not_found(format!("component {}", row.component)))?;
    let loading = activate::load(&web.pipeline.runtime, bytes);
    let component = Box::pin(loading).await?;
    let manifest = component.manifest.clone();
    runs.component_name = Some(manifest.name.clone());
    runs.component_version = Some(manifest.version.clone());
    runs.vendor = Some(manifest.vendor.clone());
    Ok(Some(FlowComponent {
        choices: row.choices(),
        granted: activate::wishes(&row.grants),
        not_granted: activate::wishes(&manifest.grants().beyond(&row.grants)),
        runs,
        manifest,
    }))
}

/// Tells what the component of a flow says of itself, and what the flow says to it.
#[utoipa::path(get, path = "/api/v1/flows/{id}/component", tag = "components", params(("id" = String, Path)),
    responses((status = 200, body = FlowComponent), (status = "default", body = Problem)))]
pub async fn component(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<Response, Error> {
    web.may(&headers, Right::View).await?;
    let id = part(&params, "id")?;
    let flow = flows::kept(&web.pipeline.store.catalog(), &id)
        .await?
        .document;
    let found = Box::pin(component_of(&web, &flow)).await?;
    let found = found.ok_or_else(|| Error::not_found(format!("release of flow {id} yet")))?;
    Ok(json(StatusCode::OK, &found))
}
