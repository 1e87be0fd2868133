//! Live messages to try a mapping on: the newest of a flow's event, always with other values in the place of their own.

use axum::extract::{RawPathParams, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::json;
use super::error::{Error, Problem};
use super::list::{Page, part};
use super::{flows, rfc3339, templates};
use crate::access::Right;
use crate::flow::Flow;
use crate::hl7::Message;
use crate::hl7::deidentify::deidentify;
use crate::store::journal::{Filter, MessageRow};
use crate::web::Web;
use crate::web::console::mapping::{Branch, branches};

/// Messages that are looked at for some of the flow's event.
const LOOKED_AT: usize = 200;

/// Messages that are offered.
pub(in crate::web) const OFFERED: usize = 20;

/// A message that came, without its values.
#[derive(Debug, Serialize, ToSchema)]
pub struct Live {
    pub(in crate::web) id: String,
    pub(in crate::web) received_at: String,
    pub(in crate::web) control_id: String,
}

/// A message with other values in the same shape.
#[derive(Serialize, ToSchema)]
pub struct SampleView {
    id: String,
    segments: Vec<Branch>,
}

/// The newest messages of the flow's event over its channel, whether or not the flow takes any yet.
pub(in crate::web) async fn live(
    web: &Web,
    flow: &Flow,
    most: usize,
) -> Result<Vec<MessageRow>, Error> {
    let filter = Filter {
        account: Some(flow.account.clone()),
        ..Filter::default()
    };
    let journal = web.pipeline.store.journal();
    let newest = journal.list(&filter, None, LOOKED_AT).await?;
    let event = flow.event.to_string();
    let fits = |row: &MessageRow| row.is_whole && row.event == event && row.channel == flow.channel;
    Ok(newest.rows.into_iter().filter(fits).take(most).collect())
}

/// A message of the account with other values in the place of its own.
pub(super) async fn deidentified(web: &Web, flow: &Flow, id: &str) -> Result<Message, Error> {
    let message = templates::of_traffic(web, flow, id).await?;
    Message::parse(&deidentify(&message))
        .map_err(|_| Error::not_found(format!("a readable message {id}")))
}

/// Lists the last messages of a flow's event, without values.
#[utoipa::path(get, path = "/api/v1/flows/{id}/samples", tag = "releases", params(("id" = String, Path)),
    responses((status = 200, body = Page<Live>), (status = "default", body = Problem)))]
pub async fn list(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<Response, Error> {
    web.may(&headers, Right::Map).await?;
    let catalog = web.pipeline.store.catalog();
    let flow = flows::kept(&catalog, &part(&params, "id")?).await?.document;
    let rows = live(&web, &flow, OFFERED).await?.into_iter();
    let page = Page {
        items: rows.map(shown).collect(),
        next: None,
    };
    Ok(json(StatusCode::OK, &page))
}

pub(in crate::web) fn shown(row: MessageRow) -> Live {
    Live {
        id: row.id.to_string(),
        received_at: rfc3339(row.received_at_ms),
        control_id: row.control_id,
    }
}

/// Shows a message with other values in the same shape, to map by.
#[utoipa::path(get, path = "/api/v1/flows/{id}/samples/{message}", tag = "releases",
    params(("id" = String, Path), ("message" = String, Path)),
    responses((status = 200, body = SampleView), (status = "default", body = Problem)))]
pub async fn show(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<Response, Error> {
    web.may(&headers, Right::Map).await?;
    let catalog = web.pipeline.store.catalog();
    let flow = flows::kept(&catalog, &part(&params, "id")?).await?.document;
    let id = part(&params, "message")?;
    let message = deidentified(&web, &flow, &id).await?;
    let view = SampleView {
        segments: branches(&message),
        id,
    };
    Ok(json(StatusCode::OK, &view))
}
