//! One delivery looked at closely, and a message sent again.

use axum::extract::{RawPathParams, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::{Unread, json};
use super::error::{Error, Problem};
use super::list::part;
use super::reveal::{record, said_why};
use super::traffic;
use crate::access::Right;
use crate::flow::{DeliveryId, Digest};
use crate::pipeline::again::Again;
use crate::pipeline::lineage::Lineage;
use crate::store::catalog::audit::Record;
use crate::web::Web;

/// Which release a delivery is looked at with, and whether values are shown.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "read member by member, so that faults have their place"
)]
pub struct LineageInput {
    /// The digest of a release of the flow; the one that it was carried out with if left out.
    release: Option<Digest>,
    /// Why the values are needed; without it there are none. Recorded, so no patient data in it.
    reason: Option<String>,
}

/// How a message is sent again.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "read member by member, so that faults have their place"
)]
pub struct AgainInput {
    /// Through this flow alone; through all that take it if left out.
    flow: Option<String>,
    /// Through this release of the flow, instead of the one in force.
    release: Option<Digest>,
    /// What is sent in the place of what was kept, a line for each segment. Needs the right to see patient data.
    message: Option<String>,
    /// Why it is sent again; recorded, so no patient data in it.
    reason: String,
}

/// A message that was made from another.
#[derive(Debug, Serialize, ToSchema)]
pub struct Sent {
    pub(in crate::web) message: String,
    made_from: String,
}

/// Shows what a delivery was mapped to, each value with its way: places, steps, entry of a table, release.
#[utoipa::path(post, path = "/api/v1/deliveries/{id}/lineage", tag = "replays", params(("id" = String, Path)),
    request_body = LineageInput,
    responses((status = 200, body = Lineage), (status = "default", body = Problem)))]
pub async fn lineage(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
    sent: Unread,
) -> Result<Response, Error> {
    web.may(&headers, Right::View).await?;
    let mut body = sent.read().await?;
    let release: Option<Digest> = body.optional("release", "lineage")?;
    let reason: Option<String> = body.optional("reason", "lineage")?;
    body.end("lineage", &[])?;
    let id = part(&params, "id")?;
    let lineage = look(&web, &headers, &id, release.as_ref(), reason.as_deref()).await?;
    Ok(json(StatusCode::OK, &lineage))
}

/// What [`lineage`] does, for a page: with values only for whoever may see them and says why.
pub(in crate::web) async fn look(
    web: &Web,
    headers: &HeaderMap,
    id: &str,
    release: Option<&Digest>,
    reason: Option<&str>,
) -> Result<Lineage, Error> {
    let id = DeliveryId::from(id);
    let stored = web.pipeline.stored_anywhere(&id).await?;
    let stored = stored.ok_or_else(|| Error::not_found(format!("delivery {id}")))?;
    if let Some(reason) = reason {
        record(
            web,
            headers,
            &stored.account,
            "delivery",
            id.as_str(),
            reason,
        )
        .await?;
    }
    let tracing = web.pipeline.lineage(&stored, release, reason.is_some());
    Ok(Box::pin(tracing).await?)
}

/// Sends a kept message again, as it was or edited, as a new message that names the old one.
#[utoipa::path(post, path = "/api/v1/messages/{id}/send-again", tag = "traffic", params(("id" = String, Path)),
    request_body = AgainInput,
    responses((status = 201, body = Sent), (status = "default", body = Problem)))]
pub async fn send_again(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
    sent: Unread,
) -> Result<Response, Error> {
    web.may(&headers, Right::Operate).await?;
    let mut body = sent.read().await?;
    let again = Again {
        flow: body.optional::<String>("flow", "message")?.map(Into::into),
        pinned: body.optional("release", "message")?,
        edited: body.optional("message", "message")?,
    };
    let reason: String = body.take("reason", "message")?;
    body.end("message", &[])?;
    let id = part(&params, "id")?;
    let sent = Box::pin(send(&web, &headers, &id, again, &reason)).await?;
    Ok(json(StatusCode::CREATED, &sent))
}

/// What [`send_again`] does, for a page.
pub(in crate::web) async fn send(
    web: &Web,
    headers: &HeaderMap,
    id: &str,
    again: Again,
    reason: &str,
) -> Result<Sent, Error> {
    let caller = web.may(headers, Right::Operate).await?;
    let view = traffic::find(web, &id.into()).await?;
    if again.edited.is_some() {
        caller.may(Right::SeePatientData)?;
    }
    let reason = said_why(reason)?;
    let verb = match &again.edited {
        Some(_) => "edit-and-send",
        None => "send-again",
    };
    let message = Box::pin(web.pipeline.send_again(&view, again)).await?;
    let what = format!("{id} as {message}: {reason}");
    let record = Record::of(verb, view.message.account.as_str(), "message", &what);
    let catalog = web.pipeline.store.catalog();
    catalog.note(&caller.author(), &record).await?;
    Ok(Sent {
        message: message.to_string(),
        made_from: id.to_owned(),
    })
}
