//! The values of one message, for somebody who may see patient data and says why; each time is recorded.

use axum::extract::{RawPathParams, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::{Unread, json};
use super::error::{Error, Problem};
use super::list::part;
use super::traffic;
use crate::access::Right;
use crate::flow::AccountId;
use crate::flow::check::Fault;
use crate::hl7::Message;
use crate::store::catalog::audit::Record;
use crate::web::Web;

/// Longest reason that is kept.
const MOST: usize = 300;

/// Why somebody looks at a patient's data.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "read member by member, so that faults have their place"
)]
pub struct Reason {
    /// Such as `ticket 4711`; it is recorded, so no patient data in it.
    reason: String,
}

/// A message with its values.
#[derive(Serialize, ToSchema)]
pub struct Revealed {
    id: String,
    /// As it came, a line for each segment; none where only header facts are kept.
    pub(in crate::web) message: Option<String>,
    /// What was answered.
    pub(in crate::web) acknowledgement: Option<String>,
    /// What its deliveries left for people to read, by delivery.
    pub(in crate::web) notes: Vec<Note>,
}

/// What a delivery says of itself, which may hold patient data.
#[derive(Serialize, ToSchema)]
pub struct Note {
    pub(in crate::web) delivery: String,
    pub(in crate::web) text: String,
}

/// Shows the values of a message, and records who saw them and why.
#[utoipa::path(post, path = "/api/v1/messages/{id}/reveal", tag = "traffic", params(("id" = String, Path)),
    request_body = Reason, responses((status = 200, body = Revealed), (status = "default", body = Problem)))]
pub async fn reveal(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
    sent: Unread,
) -> Result<Response, Error> {
    web.may(&headers, Right::SeePatientData).await?;
    let mut body = sent.read().await?;
    let reason: String = body.take("reason", "reason")?;
    body.end("reason", &[])?;
    let revealed = look(&web, &headers, &part(&params, "id")?, &reason).await?;
    Ok(json(StatusCode::OK, &revealed))
}

/// A reason, if somebody gave one.
pub(super) fn said_why(reason: &str) -> Result<String, Error> {
    let reason: String = reason.split_whitespace().collect::<Vec<_>>().join(" ");
    if reason.chars().count() < 5 || reason.chars().count() > MOST {
        let text = "say in a few words why: it is recorded";
        return Err(Error::invalid("", vec![Fault::new("reason", text)]));
    }
    Ok(reason)
}

/// Records that somebody who may see patient data looks at something, and why; what cannot be recorded is not shown.
pub(super) async fn record(
    web: &Web,
    headers: &HeaderMap,
    account: &AccountId,
    what: &str,
    id: &str,
    reason: &str,
) -> Result<(), Error> {
    let caller = web.may(headers, Right::SeePatientData).await?;
    let seen = format!("{id}: {}", said_why(reason)?);
    let record = Record::of("reveal", account.as_str(), what, &seen);
    let catalog = web.pipeline.store.catalog();
    Ok(catalog.note(&caller.author(), &record).await?)
}

/// What [`reveal`] does, for a page.
pub(in crate::web) async fn look(
    web: &Web,
    headers: &HeaderMap,
    id: &str,
    reason: &str,
) -> Result<Revealed, Error> {
    web.may(headers, Right::SeePatientData).await?;
    said_why(reason)?;
    let view = traffic::find(web, &id.into()).await?;
    record(web, headers, &view.message.account, "message", id, reason).await?;
    let reading = web.pipeline.configuration().reading(&view.message.channel);
    let lines = |bytes: &[u8]| match Message::parse_with(bytes, reading) {
        Ok(message) => {
            let lines = message.segments().map(|segment| segment.raw().to_owned());
            lines.collect::<Vec<_>>().join("\n")
        }
        Err(_) => String::from_utf8_lossy(bytes).replace('\r', "\n"),
    };
    let notes = view.message.deliveries.iter().zip(&view.deliveries);
    let notes = notes.filter_map(|(delivery, seen)| {
        let text = seen.note.clone()?;
        Some(Note {
            delivery: delivery.id.to_string(),
            text,
        })
    });
    Ok(Revealed {
        id: id.to_owned(),
        message: view.payload.as_deref().map(lines),
        acknowledgement: view.acknowledgement.as_deref().map(lines),
        notes: notes.collect(),
    })
}
