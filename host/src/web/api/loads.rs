//! Loads of existing data: made, filled, begun, held, ended.

use axum::extract::{RawPathParams, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::body::{self, Unread, json};
use super::error::{Error, Problem};
use super::list::{Asked, Page, Which, part};
use crate::access::{Caller, Right};
use crate::flow::load::{Leads, Load};
use crate::pipeline::load::Standing;
use crate::web::Web;

const NOUN: &str = "loads";

/// Messages of one request: the largest frame that a channel takes by itself, and as much again.
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// What is to be loaded.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "read member by member, so that faults have their place"
)]
pub struct LoadInput {
    /// The flow's id.
    flow: String,
    /// The leads of a flow to the EHR; left out, messages are sent next.
    leads: Option<Leads>,
}

/// Where the messages of a request belong.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Behind {
    /// The number of messages that the load has already: one of several requests is never taken twice.
    total: u64,
}

async fn kept(web: &Web, params: &RawPathParams) -> Result<Load, Error> {
    let id = part(params, "id")?;
    let load = web.pipeline.store.loads().get(&id).await?;
    load.ok_or_else(|| Error::not_found(format!("load {id}")))
}

/// The load as it stands now.
async fn answer(web: &Web, id: &str, status: StatusCode) -> Result<Response, Error> {
    let load = web.pipeline.store.loads().get(id).await?;
    let load = load.ok_or_else(|| Error::not_found(format!("load {id}")))?;
    Ok(json(status, &web.pipeline.load_standing(&load).await?))
}

async fn operator(
    web: &Web,
    headers: &HeaderMap,
    params: &RawPathParams,
) -> Result<(Caller, Load), Error> {
    let caller = web.may(headers, Right::Operate).await?;
    Ok((caller, kept(web, params).await?))
}

/// Lists loads.
#[utoipa::path(get, path = "/api/v1/loads", tag = "loads", params(Which),
    responses((status = 200, body = Page<Standing>), (status = "default", body = Problem)))]
pub async fn list(
    State(web): State<Web>,
    headers: HeaderMap,
    Asked(which): Asked<Which>,
) -> Result<Response, Error> {
    web.may(&headers, Right::View).await?;
    let mut found = Vec::new();
    for load in web.pipeline.store.loads().list().await? {
        if which.wants(load.account.as_str()) {
            let standing = web.pipeline.load_standing(&load).await?;
            found.push((load.id, standing));
        }
    }
    Ok(json(StatusCode::OK, &which.page(found)))
}

/// Makes a load. Leads are listed in the background; it is `ready` when they are.
#[utoipa::path(post, path = "/api/v1/loads", tag = "loads", request_body = LoadInput,
    responses((status = 201, body = Standing), (status = "default", body = Problem)))]
pub async fn create(
    State(web): State<Web>,
    headers: HeaderMap,
    sent: Unread,
) -> Result<Response, Error> {
    let caller = web.may(&headers, Right::Operate).await?;
    let mut body = sent.read().await?;
    let flow: String = body.take("flow", NOUN)?;
    let leads: Option<Leads> = body.optional("leads", NOUN)?;
    body.end(NOUN, &[])?;
    let flow = flow.as_str().into();
    let load = web
        .pipeline
        .create_load(&flow, leads, &caller.author())
        .await?;
    answer(&web, &load.id, StatusCode::CREATED).await
}

/// Shows a load: what it takes, what it costs, what became of it.
#[utoipa::path(get, path = "/api/v1/loads/{id}", tag = "loads", params(("id" = String, Path)),
    responses((status = 200, body = Standing), (status = "default", body = Problem)))]
pub async fn show(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<Response, Error> {
    web.may(&headers, Right::View).await?;
    let load = kept(&web, &params).await?;
    answer(&web, &load.id, StatusCode::OK).await
}

/// Adds messages to a load, one behind the other or in batches.
#[utoipa::path(post, path = "/api/v1/loads/{id}/messages", tag = "loads",
    params(("id" = String, Path), Behind),
    request_body(content = Vec<u8>, content_type = "application/hl7-v2"),
    responses((status = 200, body = Standing), (status = "default", body = Problem)))]
pub async fn add(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
    Asked(behind): Asked<Behind>,
    request: Request,
) -> Result<Response, Error> {
    let (_, load) = operator(&web, &headers, &params).await?;
    let bytes = body::bytes(request, MAX_BYTES).await?;
    web.pipeline
        .add_messages(&load, behind.total, &bytes)
        .await?;
    answer(&web, &load.id, StatusCode::OK).await
}

/// Begins a load of which everything is there.
#[utoipa::path(post, path = "/api/v1/loads/{id}/start", tag = "loads", params(("id" = String, Path)),
    responses((status = 200, body = Standing), (status = "default", body = Problem)))]
pub async fn start(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<Response, Error> {
    let (caller, load) = operator(&web, &headers, &params).await?;
    web.pipeline.start_load(&load, &caller.author()).await?;
    answer(&web, &load.id, StatusCode::OK).await
}

/// Holds a load: what has become a message is carried out, and nothing more becomes one.
#[utoipa::path(post, path = "/api/v1/loads/{id}/pause", tag = "loads", params(("id" = String, Path)),
    responses((status = 200, body = Standing), (status = "default", body = Problem)))]
pub async fn pause(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<Response, Error> {
    let (caller, load) = operator(&web, &headers, &params).await?;
    web.pipeline.pause_load(&load, &caller.author()).await?;
    answer(&web, &load.id, StatusCode::OK).await
}

/// Goes on with a load that was held.
#[utoipa::path(post, path = "/api/v1/loads/{id}/resume", tag = "loads", params(("id" = String, Path)),
    responses((status = 200, body = Standing), (status = "default", body = Problem)))]
pub async fn resume(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<Response, Error> {
    let (caller, load) = operator(&web, &headers, &params).await?;
    web.pipeline.start_load(&load, &caller.author()).await?;
    answer(&web, &load.id, StatusCode::OK).await
}

/// Ends a load: what has become a message is carried out, and the rest is forgotten.
#[utoipa::path(post, path = "/api/v1/loads/{id}/cancel", tag = "loads", params(("id" = String, Path)),
    responses((status = 200, body = Standing), (status = "default", body = Problem)))]
pub async fn cancel(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<Response, Error> {
    let (caller, load) = operator(&web, &headers, &params).await?;
    web.pipeline.cancel_load(&load, &caller.author()).await?;
    answer(&web, &load.id, StatusCode::OK).await
}
