//! The steps of a flow before its mapping: basic details, and the HL7 event with its sample message; the additional details
//! between them are in `flow_additional`.
//!
//! Each is saved by *Save & Next*, so that nothing is lost between steps.

use std::collections::BTreeSet;

use askama::Template;
use axum::extract::{RawPathParams, State};
use axum::response::Response;
use serde_json::{Value, json};

use super::flow_new::{activity_types, begin, behaviours, starter_of, webhook_words};
use super::flows::{direction_words, entity_words};
use super::form::Form;
use super::show::{Time, oddity};
use super::visit::{Faults, Frame, Visit, again, done, html, refused};
use crate::flow::{Direction, Entity, Flow, WebhookEvent};
use crate::hl7::dictionary;
use crate::store::catalog::Kept;
use crate::web::Web;
use crate::web::api::body::Unread;
use crate::web::api::error::Error;
use crate::web::api::flows;
use crate::web::api::list::part;
use crate::web::api::samples;
use crate::web::api::templates::{self, FindingView, Sample};
use crate::web::fault::Fault;

/// Live messages that are offered as sample.
const OFFERED: usize = 10;

#[derive(Template)]
#[template(path = "flow_basic.html")]
struct BasicPage {
    frame: Frame,
    faults: Faults,
    flow: Flow,
    version: i64,
    direction: &'static str,
    entity: &'static str,
    is_inbound: bool,
    behaviours: Vec<(&'static str, &'static str)>,
    lead: String,
    activity: String,
    channels: Vec<(String, String)>,
    /// Outbound: the one that sets it going, and those that can.
    webhook: String,
    webhooks: Vec<(&'static str, &'static str)>,
    /// Flows that hear of the same.
    alike: Vec<String>,
    activity_types: Vec<(u32, String)>,
    shared_mapping: String,
    /// Names that flows of the account share mappings by.
    shared_mappings: BTreeSet<String>,
}

#[derive(Template)]
#[template(path = "flow_event.html")]
struct EventPage {
    frame: Frame,
    faults: Faults,
    flow: Flow,
    version: i64,
    events: Vec<(String, String)>,
    event: String,
    /// How the sample is kept; empty where there is none.
    kept: &'static str,
    text: Vec<Piece>,
    raw: String,
    findings: Vec<FindingLine>,
    live: Vec<Live>,
    has_starter: bool,
}

/// A part of the sample, marked where something is odd.
struct Piece {
    text: String,
    mark: String,
}

struct FindingLine {
    place: String,
    text: String,
}

struct Live {
    id: String,
    at: Time,
    control_id: String,
}

pub(super) async fn kept(web: &Web, params: &RawPathParams) -> Result<Kept<Flow>, Fault> {
    let catalog = web.pipeline.store.catalog();
    Ok(flows::kept(&catalog, &part(params, "id")?).await?)
}

/// The word that a document has for a value.
pub(super) fn word(value: impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

/// Saves a flow as a script would.
pub(super) async fn save(
    web: &Web,
    visit: &Visit,
    params: RawPathParams,
    mut body: Value,
    form: &Form,
) -> Result<(), Error> {
    let version: i64 = form.get("version").parse().unwrap_or_default();
    body["version"] = version.into();
    let headers = visit.headers.clone();
    let saving = flows::save(State(web.clone()), headers, params, Unread::of(body));
    Box::pin(saving).await.map(drop)
}

async fn basic_page(
    web: &Web,
    visit: &Visit,
    kept: Kept<Flow>,
    faults: Faults,
) -> Result<BasicPage, Fault> {
    let listing = web.pipeline.store.catalog().list().await?;
    let flow = kept.document;
    let is_inbound = flow.direction == Direction::EhrToLeadSquared;
    let channels = listing.channels.iter().map(|kept| &kept.document);
    let channels = channels.filter(|channel| {
        channel.account == flow.account && channel.target.is_none() == is_inbound
    });
    let channels = channels.map(|channel| (channel.id.to_string(), channel.name.clone()));
    let accounts = listing.accounts.iter().map(|kept| kept.document.clone());
    let accounts: Vec<_> = accounts
        .filter(|account| account.id == flow.account)
        .collect();
    let sharing = listing.flows.iter().map(|kept| &kept.document);
    let sharing = sharing.filter(|other| other.account == flow.account);
    Ok(BasicPage {
        shared_mappings: sharing
            .filter_map(|other| other.shared_mapping.clone())
            .collect(),
        shared_mapping: flow.shared_mapping.clone().unwrap_or_default(),
        frame: visit.frame("flows"),
        faults,
        version: kept.version,
        direction: direction_words(flow.direction),
        entity: entity_words(flow.entity),
        is_inbound,
        behaviours: behaviours(),
        lead: word(flow.lead_behaviour),
        activity: word(flow.activity_behaviour),
        channels: channels.collect(),
        webhook: flow
            .outbound
            .as_ref()
            .map_or_else(String::new, |outbound| outbound.webhook.to_string()),
        webhooks: (WebhookEvent::ALL.into_iter())
            .filter(|event| event.entity() == flow.entity)
            .map(|event| (event.as_str(), webhook_words(event)))
            .collect(),
        alike: flows::told_of_the_same(&listing, &flow)
            .map(|other| other.name.clone())
            .collect(),
        activity_types: match flow.entity {
            Entity::Activity => activity_types(web, &accounts).await,
            Entity::Lead => Vec::new(),
        },
        flow,
    })
}

/// Asks for name, channel and what happens to records.
pub async fn basic(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
) -> Result<Response, Fault> {
    let kept = kept(&web, &params).await?;
    html(&Box::pin(basic_page(&web, &visit, kept, Faults::default())).await?)
}

/// Keeps name, channel and what happens to records.
pub async fn save_basic(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
    form: Form,
) -> Result<Response, Fault> {
    let mut kept = kept(&web, &params).await?;
    let id = kept.document.id.to_string();
    let flow = &mut kept.document;
    flow.name = form.get("name").to_owned();
    flow.description = form.get("description").to_owned();
    if form.has("shared_mapping") {
        flow.shared_mapping = form.some("shared_mapping");
    }
    if let Some(channel) = form.some("channel") {
        flow.channel = channel.as_str().into();
    }
    let behaviour =
        |name: &str| serde_json::from_value(Value::from(form.get(name))).unwrap_or_default();
    if form.has("lead_behaviour") {
        flow.lead_behaviour = behaviour("lead_behaviour");
    }
    if form.has("activity_behaviour") {
        flow.activity_behaviour = behaviour("activity_behaviour");
    }
    if let (Some(outbound), Some(event)) =
        (&mut flow.outbound, WebhookEvent::parse(form.get("webhook")))
    {
        outbound.webhook = event;
    }
    if let Some(activity) = &mut flow.activity {
        if let Ok(code) = form.get("code").parse() {
            activity.code = code;
        }
        activity.key_field = form.get("key_field").to_owned();
    }
    // What is unusual about it is asked where it is set, and when it is started.
    let body = json!({ "flow": flow, "confirm_not_unique": true, "confirm_no_condition": true });
    match save(&web, &visit, params, body, &form).await {
        Ok(()) => Ok(done(
            &visit,
            &format!("/flows/{id}/additional"),
            "Basic details are saved.",
        )),
        Err(fault) => again(&Box::pin(basic_page(&web, &visit, kept, Faults::of(&fault))).await?),
    }
}

async fn event_page(
    web: &Web,
    visit: &Visit,
    kept: Kept<Flow>,
    faults: Faults,
    raw: String,
) -> Result<EventPage, Fault> {
    let flow = kept.document;
    let template = web
        .pipeline
        .store
        .templates()
        .get(&flow.account, &flow.id)
        .await?;
    let shown = template
        .map(|template| templates::view(&template, &flow))
        .transpose()?;
    let event = flow.event.to_string();
    let live = samples::live(web, &flow, OFFERED).await?;
    let live = live.into_iter().map(|row| Live {
        id: row.id.to_string(),
        at: Time::of(row.received_at_ms),
        control_id: row.control_id,
    });
    let has_starter = starter_of(&flow).is_some();
    let (kept_as, text, findings) = match shown {
        Some(shown) => (
            shown.kept,
            pieces(&shown.message, &shown.findings),
            shown.findings.iter().map(finding).collect(),
        ),
        None => ("", Vec::new(), Vec::new()),
    };
    Ok(EventPage {
        frame: visit.frame("flows"),
        faults,
        version: kept.version,
        events: events(),
        kept: kept_as,
        text,
        raw,
        findings,
        live: live.collect(),
        has_starter,
        event,
        flow,
    })
}

/// The events that are offered, with what the standard calls them.
pub(super) fn events() -> Vec<(String, String)> {
    let codes = ["ADT", "SIU", "ORM", "ORU", "MDM", "DFT"].into_iter();
    let events = codes.flat_map(|code| {
        let events = dictionary::events(code);
        events.map(move |event| (format!("{code}^{}", event.trigger_event), event.label()))
    });
    events.collect()
}

/// What a list offers may be taken with its description behind it.
pub(super) fn event_of(form: &Form) -> String {
    let mut words = form.get("event").split_whitespace();
    words.next().unwrap_or_default().to_owned()
}

/// A sample that was pasted, or sent as a file.
pub(super) fn sample_of(form: &Form) -> Option<String> {
    match form.file("file") {
        Some(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        None => Some(form.raw("message").to_owned()).filter(|text| !text.trim().is_empty()),
    }
}

/// The text with a mark at every finding.
fn pieces(message: &str, findings: &[FindingView]) -> Vec<Piece> {
    let text = message.replace('\r', "\n");
    let mut at: Vec<_> = findings
        .iter()
        .map(|finding| (finding.offset, oddity(finding.code).to_owned()))
        .collect();
    at.sort_by_key(|(offset, _)| *offset);
    let mut pieces = Vec::new();
    let mut from = 0;
    for (offset, why) in at {
        let end = |start: usize| {
            let rest = &text[start..];
            start + rest.find(['|', '^', '~', '\n']).unwrap_or(rest.len())
        };
        if offset < from || !text.is_char_boundary(offset) || offset >= text.len() {
            continue;
        }
        pieces.push(Piece {
            text: text[from..offset].to_owned(),
            mark: String::new(),
        });
        from = end(offset);
        pieces.push(Piece {
            text: text[offset..from].to_owned(),
            mark: why,
        });
    }
    pieces.push(Piece {
        text: text[from..].to_owned(),
        mark: String::new(),
    });
    pieces.retain(|piece| !piece.text.is_empty());
    pieces
}

fn finding(finding: &FindingView) -> FindingLine {
    FindingLine {
        place: finding.place.clone(),
        text: oddity(finding.code).to_owned(),
    }
}

/// Asks for the event and a sample message.
pub async fn event(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
) -> Result<Response, Fault> {
    let kept = kept(&web, &params).await?;
    html(
        &Box::pin(event_page(
            &web,
            &visit,
            kept,
            Faults::default(),
            String::new(),
        ))
        .await?,
    )
}

/// Keeps event and sample; *Save & Next* goes on to the mapping, the other buttons stay.
pub async fn save_event(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
    form: Form,
) -> Result<Response, Fault> {
    let mut kept = kept(&web, &params).await?;
    let id = kept.document.id.to_string();
    let text = sample_of(&form);
    let storing = store_event(
        &web,
        &visit,
        params,
        &form,
        &mut kept.document,
        text.clone(),
    );
    let saved = Box::pin(storing).await;
    match saved {
        Ok(true) => {
            let text = "the sample is saved, but it is of another event than the flow: look at what is marked in it below, and take \
                        another one, or go on to the mapping if it is meant";
            let to = format!("/flows/{id}/event");
            Ok(refused(&visit, &to, &Error::bad(text)))
        }
        Ok(false) if form.has("next") => Ok(done(
            &visit,
            &format!("/flows/{id}/mapping"),
            "Event and sample are saved.",
        )),
        Ok(false) => Ok(done(
            &visit,
            &format!("/flows/{id}/event"),
            "Saved. Look at what was found in the sample.",
        )),
        Err(fault) => {
            let raw = text.unwrap_or_default();
            let mut page =
                Box::pin(event_page(&web, &visit, kept, Faults::of(&fault), raw)).await?;
            page.event = form.get("event").to_owned();
            again(&page)
        }
    }
}

/// Keeps what the form says; gives whether the sample is of another event than the flow.
async fn store_event(
    web: &Web,
    visit: &Visit,
    params: RawPathParams,
    form: &Form,
    flow: &mut Flow,
    text: Option<String>,
) -> Result<bool, Error> {
    let chosen = event_of(form);
    if chosen != flow.event.to_string() {
        let mut body =
            json!({ "flow": &*flow, "confirm_not_unique": true, "confirm_no_condition": true });
        body["flow"]["event"] = chosen.as_str().into();
        save(web, visit, params, body, form).await?;
        let catalog = web.pipeline.store.catalog();
        *flow = flows::kept(&catalog, flow.id.as_str()).await?.document;
    }
    let from_message = form.some("from_message");
    match (text, from_message, starter_of(flow)) {
        (None, None, Some(starter)) if form.has("starter") => {
            Box::pin(begin(web, visit, flow.clone(), starter)).await?;
            Ok(false)
        }
        (None, None, _) => Ok(false),
        (text, from_message, _) => {
            let sample = Sample {
                from_message: from_message.filter(|_| text.is_none()),
                text,
                original: false,
                made_up: form.has("made_up"),
            };
            let putting = templates::put(web, &visit.headers, flow.clone(), sample);
            let kept = Box::pin(putting).await?;
            let mut findings = kept.findings.iter();
            Ok(findings.any(|finding| finding.code == "event-differs"))
        }
    }
}
