//! One message with its way, its attempts and writes, and what can be done with it.
//!
//! Values are masked. Whoever may see patient data asks for them with a reason, which is recorded, see `api::reveal`.

use askama::Template;
use axum::extract::{RawPathParams, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::cookie::encoded;
use super::form::Form;
use super::messages::{AttemptLine, MessageLine, OperationLine, line};
use super::show::Time;
use super::visit::{Faults, Frame, Visit, done, html, refused, told};
use super::way::{self, Piece, Segment, Step};
use crate::access::Right;
use crate::flow::{Direction, MessageId};
use crate::hl7::Message;
use crate::hl7::deidentify::mask;
use crate::pipeline::Pipeline;
use crate::pipeline::again::Again;
use crate::store::journal::{self, MessageView};
use crate::web::Web;
use crate::web::api::again;
use crate::web::api::list::part;
use crate::web::api::reveal::look;
use crate::web::api::traffic;
use crate::web::fault::Fault;

#[derive(Template)]
#[template(path = "message.html")]
struct ShowPage {
    frame: Frame,
    faults: Faults,
    message: MessageLine,
    /// How it came in.
    arrival: Vec<Step>,
    segments: Vec<Segment>,
    /// The same as it came.
    raw: Vec<Vec<Piece>>,
    /// What can be edited; only where values are shown.
    text: String,
    copies: Vec<String>,
    /// Values are shown, not masked.
    is_revealed: bool,
    reason: String,
}

impl ShowPage {
    /// Whether something is about to become of a delivery: then the page looks again by itself.
    fn is_moving(&self) -> bool {
        let mut deliveries = self.message.deliveries.iter();
        deliveries.any(|delivery| ["queued", "running"].contains(&delivery.state))
    }
}

/// One message as a page.
pub async fn show(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
) -> Result<Response, Fault> {
    let view = find(&web.pipeline, &params).await?;
    html(&page(&web, &visit, &view))
}

/// One message with its values, for somebody who says why.
pub async fn reveal(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
    form: Form,
) -> Result<Response, Fault> {
    let view = find(&web.pipeline, &params).await?;
    let mut shown = page(&web, &visit, &view);
    shown.reason = form.get("reason").to_owned();
    let looking = look(
        &web,
        &visit.headers,
        view.message.id.as_str(),
        form.get("reason"),
    );
    match looking.await {
        Ok(revealed) => {
            shown.is_revealed = true;
            if let Some(message) = read(&web, &view) {
                shown.segments = way::segments(&message);
                shown.raw = way::raw(&message);
            }
            let is_change = view.message.direction == Direction::LeadSquaredToEhr.as_str();
            if visit.may(Right::Operate) && !is_change {
                shown.text = revealed.message.unwrap_or_default();
            }
            for note in revealed.notes {
                let mut deliveries = shown.message.deliveries.iter_mut();
                if let Some(line) = deliveries.find(|line| line.id == note.delivery) {
                    line.note = note.text;
                }
            }
            html(&shown)
        }
        Err(fault) => {
            shown.faults = Faults::of(&fault);
            Ok((StatusCode::UNPROCESSABLE_ENTITY, html(&shown)?).into_response())
        }
    }
}

/// Sets a delivery going again.
pub async fn release(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
    form: Form,
) -> Result<Response, Fault> {
    let to = match form.some("message") {
        Some(id) => format!("/messages/{}", encoded(&id)),
        None => {
            let id = part(&params, "id")?;
            let message = id.split_once('.').map_or("", |(message, _)| message);
            format!("/messages/{}", encoded(message))
        }
    };
    let releasing = traffic::release(State(web), visit.headers.clone(), params);
    Ok(told(
        &visit,
        &to,
        releasing.await,
        "The delivery is queued again.",
    ))
}

fn read(web: &Web, view: &MessageView) -> Option<Message> {
    let reading = web.pipeline.configuration().reading(&view.message.channel);
    Message::parse_with(view.payload.as_deref()?, reading).ok()
}

/// The page with masked values.
fn page(web: &Web, visit: &Visit, view: &MessageView) -> ShowPage {
    let mut message = line(&web.pipeline, view.message.clone());
    for ((delivery, row), seen) in message
        .deliveries
        .iter_mut()
        .zip(&view.message.deliveries)
        .zip(&view.deliveries)
    {
        delivery.lacks_field = row.state == journal::State::Dead
            && (row.reason == "unknown-field"
                || row.detail.contains("MXUnknownAttributeException"));
        delivery.way = way::of_delivery(row, seen);
        delivery.can_be_released = visit.may(Right::Operate)
            && matches!(
                row.state,
                journal::State::Dead | journal::State::Waiting | journal::State::Parked
            );
        delivery.history = seen
            .attempts
            .iter()
            .map(|attempt| AttemptLine {
                started: Time::of(attempt.started_at_ms),
                stage: attempt.stage.clone(),
                code: attempt.code.clone(),
                duration_ms: attempt.duration_ms,
            })
            .collect();
        delivery.operations = seen
            .operations
            .iter()
            .map(|operation| OperationLine {
                sent: Time::of(operation.started_at_ms),
                kind: operation.kind.as_str(),
                state: operation.state.as_str(),
                target: match &operation.state {
                    journal::OperationState::Done {
                        target: Some(target),
                    } => target.clone(),
                    _ => String::new(),
                },
            })
            .collect();
    }
    let masked = read(web, view).and_then(|message| Message::parse(&mask(&message)).ok());
    ShowPage {
        frame: visit.frame("messages"),
        faults: Faults::default(),
        arrival: way::of_arrival(view),
        raw: masked.as_ref().map(way::raw).unwrap_or_default(),
        segments: masked.as_ref().map(way::segments).unwrap_or_default(),
        text: String::new(),
        copies: view.copies.iter().map(MessageId::to_string).collect(),
        is_revealed: false,
        reason: String::new(),
        message,
    }
}

/// Sends a message again with what was typed in the place of its own.
pub async fn edit(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
    form: Form,
) -> Result<Response, Fault> {
    let id = part(&params, "id")?;
    let edited = Again {
        edited: Some(form.raw("message").to_owned()),
        ..Again::default()
    };
    let sending = again::send(&web, &visit.headers, &id, edited, form.get("reason"));
    Ok(match Box::pin(sending).await {
        Ok(sent) => done(
            &visit,
            &format!("/messages/{}", encoded(&sent.message)),
            "The edited message is kept and on its way. The one it was made from stays as it was.",
        ),
        Err(fault) => refused(&visit, &format!("/messages/{}", encoded(&id)), &fault),
    })
}

async fn find(pipeline: &Pipeline, params: &RawPathParams) -> Result<MessageView, Fault> {
    let id = params
        .iter()
        .find(|(name, _)| *name == "id")
        .map(|(_, id)| MessageId::from(id))
        .ok_or(Fault::NotFound)?;
    for account in pipeline.configuration().accounts() {
        if let Some(view) = pipeline.store.journal().message(account, &id).await? {
            return Ok(view);
        }
    }
    Err(Fault::NotFound)
}
