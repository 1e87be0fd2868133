//! The sample message of a flow: pasted, or taken from traffic and de-identified.

use axum::extract::{RawPathParams, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::body::{Unread, json};
use super::error::{Error, Problem};
use super::flows;
use super::list::{Asked, part};
use crate::access::Right;
use crate::flow::check::Fault;
use crate::flow::template::{Template, findings};
use crate::flow::{Flow, MessageId};
use crate::hl7::validate::Finding;
use crate::hl7::{self, Message};
use crate::store::catalog::Change;
use crate::web::Web;

const NOUN: &str = "template";

/// A flow's sample message.
#[derive(Debug, Serialize, ToSchema)]
pub struct TemplateView {
    flow: String,
    /// The event that it was chosen for.
    event: String,
    /// `deidentified`, `made-up`, or `original`, which is patient data and shown masked.
    pub(in crate::web) kept: &'static str,
    /// Segments end with a carriage return.
    pub(in crate::web) message: String,
    /// In what it differs from the flow's event; empty is best.
    pub(in crate::web) findings: Vec<FindingView>,
}

/// Something in which a sample differs from the standard.
#[derive(Debug, Serialize, ToSchema)]
pub struct FindingView {
    /// Such as `event-differs` or `not-a-date`.
    pub(in crate::web) code: &'static str,
    /// Such as `PID-7`; empty where it is no one place.
    pub(in crate::web) place: String,
    /// Bytes from the start of the text.
    pub(in crate::web) offset: usize,
}

/// A sample message that is pasted; nothing for one from traffic.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "read member by member, so that faults have their place"
)]
pub struct TemplateInput {
    /// One message; lines may end with CR, LF or both.
    message: Option<String>,
    /// It tells about nobody and is kept as it is; else other values are put in the place of its own.
    made_up: Option<bool>,
}

/// Where the sample comes from, and how it is kept.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Source {
    /// A message of the account's traffic.
    from_message: Option<String>,
    /// Keep it with its patient data; needs the right to see those.
    keep_original: Option<bool>,
}

pub(in crate::web) fn view(template: &Template, flow: &Flow) -> Result<TemplateView, Error> {
    let unreadable = |fault: hl7::Error| bad(format!("cannot be read: {fault}"));
    let whole = Message::parse(template.bytes()).map_err(unreadable)?;
    let shown = Message::parse(&template.shown().map_err(unreadable)?).map_err(unreadable)?;
    let lines = shown
        .segments()
        .map(|segment| format!("{}\r", segment.raw()));
    let findings = findings(&whole, &flow.event).into_iter();
    Ok(TemplateView {
        flow: template.flow.to_string(),
        event: template.event.to_string(),
        kept: template.kept.as_str(),
        message: lines.collect(),
        findings: findings
            .map(
                |Finding {
                     code,
                     offset,
                     place,
                 }| FindingView {
                    code,
                    place,
                    offset,
                },
            )
            .collect(),
    })
}

fn bad(message: String) -> Error {
    Error::invalid(NOUN, vec![Fault::new("message", message)])
}

async fn flow(web: &Web, params: &RawPathParams) -> Result<Flow, Error> {
    let (account, id) = (part(params, "account")?, part(params, "flow")?);
    let flow = flows::kept(&web.pipeline.store.catalog(), &id)
        .await?
        .document;
    match flow.account.as_str() == account {
        true => Ok(flow),
        false => Err(Error::not_found(format!("flow {id} of account {account}"))),
    }
}

async fn kept(web: &Web, flow: &Flow) -> Result<Template, Error> {
    let templates = web.pipeline.store.templates();
    let template = templates.get(&flow.account, &flow.id).await?;
    template.ok_or_else(|| Error::not_found(format!("template of flow {}", flow.id)))
}

/// A pasted message, in the character set that it names.
fn pasted(text: &str) -> Result<Message, Error> {
    // Whatever it was copied from has line ends of its own.
    let text = text.replace("\r\n", "\r").replace('\n', "\r");
    let unreadable = |fault: hl7::Error| bad(format!("is no HL7 message: {fault}"));
    let declared = Message::parse(text.as_bytes())
        .map_err(unreadable)?
        .charset();
    Message::parse(&declared.bytes_of(&text)).map_err(unreadable)
}

pub(super) async fn of_traffic(web: &Web, flow: &Flow, id: &str) -> Result<Message, Error> {
    let journal = web.pipeline.store.journal();
    let id = MessageId::from(id);
    let reading = Box::pin(journal.message(&flow.account, &id));
    let found = reading.await?;
    let found = found.ok_or_else(|| Error::not_found(format!("message {id}")))?;
    let payload = found.payload.ok_or_else(|| {
        Error::new(
            StatusCode::CONFLICT,
            "not-kept",
            format!("of message {id} only header facts are kept: take another one"),
        )
    })?;
    let reading = web.pipeline.configuration().reading(&found.message.channel);
    Message::parse_with(&payload, reading).map_err(|fault| bad(format!("cannot be read: {fault}")))
}

/// Shows the sample message of a flow; patient data are masked.
#[utoipa::path(get, path = "/api/v1/accounts/{account}/flows/{flow}/template", tag = "flows",
    params(("account" = String, Path), ("flow" = String, Path)),
    responses((status = 200, body = TemplateView), (status = "default", body = Problem)))]
pub async fn show(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<Response, Error> {
    web.may(&headers, Right::View).await?;
    let flow = flow(&web, &params).await?;
    let template = kept(&web, &flow).await?;
    Ok(json(StatusCode::OK, &view(&template, &flow)?))
}

/// Puts a sample message in the place of a flow's: one that is pasted, or one from traffic.
#[utoipa::path(put, path = "/api/v1/accounts/{account}/flows/{flow}/template", tag = "flows",
    params(("account" = String, Path), ("flow" = String, Path), Source), request_body = TemplateInput,
    responses((status = 200, body = TemplateView), (status = "default", body = Problem)))]
pub async fn save(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
    Asked(source): Asked<Source>,
    sent: Unread,
) -> Result<Response, Error> {
    web.may(&headers, Right::Map).await?;
    let mut body = sent.read().await?;
    let text: Option<String> = body.optional("message", NOUN)?;
    let made_up: Option<bool> = body.optional("made_up", NOUN)?;
    body.end(NOUN, &["flow", "event", "kept", "findings"])?;
    let sample = Sample {
        text,
        from_message: source.from_message,
        original: source.keep_original == Some(true),
        made_up: made_up == Some(true),
    };
    let flow = flow(&web, &params).await?;
    let shown = Box::pin(put(&web, &headers, flow, sample)).await?;
    Ok(json(StatusCode::OK, &shown))
}

/// A sample message that is to be kept.
#[derive(Default)]
pub(in crate::web) struct Sample {
    pub(in crate::web) text: Option<String>,
    pub(in crate::web) from_message: Option<String>,
    pub(in crate::web) original: bool,
    pub(in crate::web) made_up: bool,
}

/// What [`save`] does, for a page.
pub(in crate::web) async fn put(
    web: &Web,
    headers: &HeaderMap,
    flow: Flow,
    sample: Sample,
) -> Result<TemplateView, Error> {
    let caller = web.may(headers, Right::Map).await?;
    let Sample {
        text,
        from_message,
        original,
        made_up,
    } = sample;
    if original {
        caller.may(Right::SeePatientData)?;
    }
    let message = match (text, from_message) {
        (Some(text), None) => pasted(&text)?,
        (None, Some(id)) if !made_up => of_traffic(web, &flow, &id).await?,
        (None, Some(_)) => {
            let fault = Fault::new("made_up", "a message from traffic is about somebody");
            return Err(Error::invalid(NOUN, vec![fault]));
        }
        _ => return Err(bad("paste one, or name one with ?from_message".into())),
    };
    let template = match (original, made_up) {
        (true, false) => Template::original(&flow, &message),
        (false, true) => Template::made_up(&flow, &message),
        (false, false) => Template::deidentified(&flow, &message),
        (true, true) => {
            let fault = Fault::new("made_up", "it is an original, or made up, not both");
            return Err(Error::invalid(NOUN, vec![fault]));
        }
    };
    let shown = view(&template, &flow)?;
    let changes = [Change::Template(Box::new(template))];
    let catalog = web.pipeline.store.catalog();
    catalog.apply(&changes, &caller.author()).await?;
    Ok(shown)
}

/// Takes the sample message of a flow away.
#[utoipa::path(delete, path = "/api/v1/accounts/{account}/flows/{flow}/template", tag = "flows",
    params(("account" = String, Path), ("flow" = String, Path)),
    responses((status = 204), (status = "default", body = Problem)))]
pub async fn delete(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<StatusCode, Error> {
    let caller = web.may(&headers, Right::Map).await?;
    let flow = flow(&web, &params).await?;
    kept(&web, &flow).await?;
    let changes = [Change::DeleteTemplate(flow.account, flow.id)];
    let catalog = web.pipeline.store.catalog();
    catalog.apply(&changes, &caller.author()).await?;
    Ok(StatusCode::NO_CONTENT)
}
