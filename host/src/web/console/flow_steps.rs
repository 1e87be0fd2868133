//! The steps of a flow before its mapping: basic details, additional details, HL7 event with its sample message.
//!
//! Each is saved by *Save & Next*, so that nothing is lost between steps.

use std::collections::BTreeSet;

use askama::Template;
use axum::extract::{RawPathParams, State};
use axum::response::Response;
use serde_json::{Value, json};

use super::flow_new::{activity_types, begin, behaviours, starter_of};
use super::flows::{direction_words, entity_words};
use super::form::Form;
use super::show::{Time, oddity};
use super::visit::{Faults, Frame, Visit, again, done, html};
use crate::flow::{Direction, Entity, Flow};
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
    activity_types: Vec<(u32, String)>,
    shared_mapping: String,
    /// Names that flows of the account share mappings by.
    shared_mappings: BTreeSet<String>,
}

#[derive(Template)]
#[template(path = "flow_additional.html")]
struct AdditionalPage {
    frame: Frame,
    faults: Faults,
    flow: Flow,
    version: i64,
    is_inbound: bool,
    fields: Vec<SearchField>,
    zones: Vec<String>,
    countries: Vec<(&'static str, &'static str)>,
    lead_source: String,
    country: String,
    zone: String,
    primary: String,
    secondary: String,
    conditions: Vec<(String, String)>,
}

struct SearchField {
    name: String,
    label: String,
    is_unique: bool,
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

async fn kept(web: &Web, params: &RawPathParams) -> Result<Kept<Flow>, Fault> {
    let catalog = web.pipeline.store.catalog();
    Ok(flows::kept(&catalog, &part(params, "id")?).await?)
}

/// The word that a document has for a value.
fn word(value: impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

/// Saves a flow as a script would.
async fn save(
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
    if let Some(activity) = &mut flow.activity {
        if let Ok(code) = form.get("code").parse() {
            activity.code = code;
        }
        activity.key_field = form.get("key_field").to_owned();
    }
    let body = json!({ "flow": flow, "confirm_not_unique": true });
    match save(&web, &visit, params, body, &form).await {
        Ok(()) => Ok(done(
            &visit,
            &format!("/flows/{id}/additional"),
            "Basic details are saved.",
        )),
        Err(fault) => again(&Box::pin(basic_page(&web, &visit, kept, Faults::of(&fault))).await?),
    }
}

async fn additional_page(
    web: &Web,
    visit: &Visit,
    kept: Kept<Flow>,
    faults: Faults,
) -> Result<AdditionalPage, Fault> {
    let flow = kept.document;
    let fields = web.pipeline.lead_fields(&flow.account).await;
    let fields = fields
        .map(|read| read.document)
        .unwrap_or_default()
        .into_iter();
    let mut fields: Vec<_> = fields
        .map(|field| SearchField {
            label: field.display_name,
            name: field.schema_name,
            is_unique: field.is_unique,
        })
        .collect();
    fields.sort_by_key(|field| (!field.is_unique, field.label.clone()));
    let outbound = flow.outbound.as_ref();
    let mut conditions: Vec<_> = outbound
        .map(|outbound| outbound.condition.as_slice())
        .unwrap_or_default()
        .iter()
        .map(|condition| (condition.field.clone(), condition.any_of.join(", ")))
        .collect();
    conditions.resize(conditions.len().max(2) + 1, (String::new(), String::new()));
    Ok(AdditionalPage {
        frame: visit.frame("flows"),
        faults,
        version: kept.version,
        is_inbound: flow.direction == Direction::EhrToLeadSquared,
        fields,
        zones: zones(),
        countries: COUNTRIES.into(),
        lead_source: flow.lead_source.clone().unwrap_or_default(),
        country: flow.default_country_code.clone().unwrap_or_default(),
        zone: flow.time_zone.clone().unwrap_or_default(),
        primary: flow.primary_search_field.clone(),
        secondary: flow.secondary_search_field.clone().unwrap_or_default(),
        conditions,
        flow,
    })
}

/// The time zones that are offered.
pub(super) fn zones() -> Vec<String> {
    let known = jiff::tz::db().available();
    let known = known.map(|zone| zone.to_string());
    known.filter(|zone| zone.contains('/')).collect()
}

/// The country codes that are offered by name; any other can be typed.
pub(super) const COUNTRIES: [(&str, &str); 16] = [
    ("1", "United States, Canada"),
    ("44", "United Kingdom"),
    ("91", "India"),
    ("61", "Australia"),
    ("353", "Ireland"),
    ("971", "United Arab Emirates"),
    ("966", "Saudi Arabia"),
    ("65", "Singapore"),
    ("49", "Germany"),
    ("33", "France"),
    ("34", "Spain"),
    ("52", "Mexico"),
    ("55", "Brazil"),
    ("27", "South Africa"),
    ("63", "Philippines"),
    ("60", "Malaysia"),
];

/// Asks how leads are found, and how numbers and times are read.
pub async fn additional(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
) -> Result<Response, Fault> {
    let kept = kept(&web, &params).await?;
    html(&Box::pin(additional_page(&web, &visit, kept, Faults::default())).await?)
}

/// Keeps how leads are found, and how numbers and times are read.
pub async fn save_additional(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
    form: Form,
) -> Result<Response, Fault> {
    let mut kept = kept(&web, &params).await?;
    let id = kept.document.id.to_string();
    let flow = &mut kept.document;
    flow.default_country_code = form.some("default_country_code");
    flow.time_zone = form.some("time_zone");
    if flow.direction == Direction::EhrToLeadSquared {
        flow.lead_source = form.some("lead_source");
        flow.primary_search_field = form.get("primary_search_field").to_owned();
        flow.secondary_search_field = form.some("secondary_search_field");
    }
    if let Some(outbound) = &mut flow.outbound {
        let pairs = form.all("field").into_iter().zip(form.all("values"));
        let pairs = pairs.filter(|(field, _)| !field.is_empty());
        outbound.condition = pairs
            .map(|(field, values)| {
                let any_of = values
                    .split(',')
                    .map(str::trim)
                    .filter(|value| !value.is_empty());
                let any_of: Vec<String> = any_of.map(str::to_owned).collect();
                crate::flow::outbound::Condition {
                    field,
                    present: any_of.is_empty().then_some(true),
                    any_of,
                    none_of: Vec::new(),
                }
            })
            .collect();
    }
    let body = json!({
        "flow": flow,
        "confirm_not_unique": form.has("confirm_not_unique"),
        "confirm_no_condition": form.has("confirm_no_condition"),
    });
    match save(&web, &visit, params, body, &form).await {
        Ok(()) => Ok(done(
            &visit,
            &format!("/flows/{id}/event"),
            "Additional details are saved.",
        )),
        Err(fault) => {
            again(&Box::pin(additional_page(&web, &visit, kept, Faults::of(&fault))).await?)
        }
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
        Ok(()) if form.has("next") => Ok(done(
            &visit,
            &format!("/flows/{id}/mapping"),
            "Event and sample are saved.",
        )),
        Ok(()) => Ok(done(
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

async fn store_event(
    web: &Web,
    visit: &Visit,
    params: RawPathParams,
    form: &Form,
    flow: &mut Flow,
    text: Option<String>,
) -> Result<(), Error> {
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
            Box::pin(begin(web, visit, flow.clone(), starter)).await
        }
        (None, None, _) => Ok(()),
        (text, from_message, _) => {
            let sample = Sample {
                from_message: from_message.filter(|_| text.is_none()),
                text,
                original: false,
                made_up: form.has("made_up"),
            };
            Box::pin(templates::put(web, &visit.headers, flow.clone(), sample))
                .await
                .map(drop)
        }
    }
}
