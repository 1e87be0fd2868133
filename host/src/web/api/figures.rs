//! How much came, and what became of it: today by flow and channel, and over the last hour, day or week.

use axum::extract::{RawPathParams, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use jiff::tz::TimeZone;
use serde::Deserialize;
use utoipa::IntoParams;

use super::body::json;
use super::error::{Error, Problem};
use super::list::{Asked, part};
use crate::access::Right;
use crate::flow::AccountId;
use crate::pipeline::tally::{Series, Span, Today};
use crate::web::Web;

/// How far back.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WhichSpan {
    /// `hour`, `day` or `week`.
    span: String,
}

/// Gives an account's figures of today, by its own clock, and what waits.
#[utoipa::path(get, path = "/api/v1/accounts/{id}/today", tag = "traffic", params(("id" = String, Path)),
    responses((status = 200, body = Today), (status = "default", body = Problem)))]
pub async fn today(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<Response, Error> {
    web.may(&headers, Right::View).await?;
    let (account, zone) = account(&web, &params)?;
    let today = web.pipeline.today(&account, &zone).await?;
    Ok(json(StatusCode::OK, &today))
}

/// Gives an account's figures over the last hour, day or week.
#[utoipa::path(get, path = "/api/v1/accounts/{id}/figures", tag = "traffic",
    params(("id" = String, Path), WhichSpan),
    responses((status = 200, body = Series), (status = "default", body = Problem)))]
pub async fn series(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
    Asked(which): Asked<WhichSpan>,
) -> Result<Response, Error> {
    web.may(&headers, Right::View).await?;
    let (account, _) = account(&web, &params)?;
    let span = Span::parse(&which.span).ok_or_else(|| Error::bad("span is hour, day or week"))?;
    let figures = web.pipeline.figures(&account, span).await?;
    Ok(json(StatusCode::OK, &figures))
}

/// The account that the path names, and its clock.
fn account(web: &Web, params: &RawPathParams) -> Result<(AccountId, TimeZone), Error> {
    let id = part(params, "id")?;
    let account = AccountId::from(id.as_str());
    let configuration = web.pipeline.configuration();
    if configuration.account(&account).is_none() {
        return Err(Error::not_found(format!("account {id}")));
    }
    let zone = configuration.zone(&account);
    Ok((account, zone))
}
