//! The regular reading of an account: how it stands, and reading now.

use axum::extract::{RawPathParams, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::accounts::kept;
use super::body::json;
use super::error::{Error, Problem};
use super::list::part;
use crate::access::Right;
use crate::pipeline::poll::Standing;
use crate::web::Web;

/// How the regular reading of an account stands: last time, next time, what was found, what went wrong.
#[utoipa::path(get, path = "/api/v1/accounts/{id}/poll", tag = "accounts", params(("id" = String, Path)),
    responses((status = 200, body = Standing), (status = "default", body = Problem)))]
pub async fn show(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<Response, Error> {
    web.may(&headers, Right::View).await?;
    let account = kept(&web.pipeline.store.catalog(), &part(&params, "id")?).await?;
    let standing = web.pipeline.poll_standing(&account.document.id).await?;
    Ok(json(StatusCode::OK, &standing))
}

/// Reads an account now, if its `poll` is set; the first time only notes where to begin.
#[utoipa::path(post, path = "/api/v1/accounts/{id}/poll", tag = "accounts", params(("id" = String, Path)),
    responses((status = 200, body = Standing), (status = "default", body = Problem)))]
pub async fn run(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<Response, Error> {
    web.may(&headers, Right::Operate).await?;
    let account = kept(&web.pipeline.store.catalog(), &part(&params, "id")?).await?;
    let account = account.document.id;
    Box::pin(web.pipeline.poll(&account)).await?;
    let standing = web.pipeline.poll_standing(&account).await?;
    Ok(json(StatusCode::OK, &standing))
}
