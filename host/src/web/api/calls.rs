//! Calls to LeadSquared: how those of an account stand, and what its answers lead to.

use axum::extract::{RawPathParams, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::json;
use super::error::{Error, Problem};
use super::list::part;
use crate::leadsquared::{Reply, replies};
use crate::pipeline::outlook::{Outlook, outlook};
use crate::web::Web;

/// What each known answer leads to.
#[derive(Debug, Serialize, ToSchema)]
pub struct Replies {
    replies: Vec<Reply>,
}

/// Says how an account's calls stand, what is waiting for them, and when that will be done.
#[utoipa::path(get, path = "/api/v1/accounts/{id}/calls", tag = "traffic", params(("id" = String, Path)),
    responses((status = 200, body = Outlook), (status = "default", body = Problem)))]
pub async fn show(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<Response, Error> {
    web.may_read(&headers).await?;
    let account = part(&params, "id")?;
    let seen = outlook(&web.pipeline, &account.as_str().into()).await?;
    let seen = seen.ok_or_else(|| Error::not_found(format!("account {account}")))?;
    Ok(json(StatusCode::OK, &seen))
}

/// Lists what each known answer of LeadSquared leads to: tried again, looked up, dead and so on.
#[utoipa::path(get, path = "/api/v1/replies", tag = "traffic",
    responses((status = 200, body = Replies), (status = "default", body = Problem)))]
pub async fn list(State(web): State<Web>, headers: HeaderMap) -> Result<Response, Error> {
    web.may_read(&headers).await?;
    let replies = Replies { replies: replies() };
    Ok(json(StatusCode::OK, &replies))
}
