//! An account's calls: what is left of them, when its queue will be empty, and what LeadSquared's answers lead to.

use axum::extract::{RawPathParams, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::json;
use super::error::{Error, Problem};
use super::list::part;
use crate::access::Right;
use crate::pipeline::account;
use crate::pipeline::outlook::{self, Outlook};
use crate::web::Web;

/// The reply table.
#[derive(Debug, Serialize, ToSchema)]
pub struct Replies {
    items: Vec<account::Reply>,
}

/// Says how the calls of an account stand.
#[utoipa::path(get, path = "/api/v1/accounts/{id}/calls", tag = "traffic", params(("id" = String, Path)),
    responses((status = 200, body = Outlook), (status = "default", body = Problem)))]
pub async fn outlook(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<Response, Error> {
    web.may_read(&headers).await?;
    let id = part(&params, "id")?;
    match outlook::outlook(&web.pipeline, &id.as_str().into()).await? {
        Some(outlook) => Ok(json(StatusCode::OK, &outlook)),
        None => Err(Error::not_found(format!("account {id}"))),
    }
}

/// Lists what each known answer of LeadSquared leads to.
#[utoipa::path(get, path = "/api/v1/replies", tag = "traffic",
    responses((status = 200, body = Replies), (status = "default", body = Problem)))]
pub async fn replies(State(web): State<Web>, headers: HeaderMap) -> Result<Response, Error> {
    web.may(&headers, Right::View).await?;
    let replies = Replies {
        items: account::replies(),
    };
    Ok(json(StatusCode::OK, &replies))
}
