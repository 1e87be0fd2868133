//! Additional details of a flow.
//!
//! How leads are found, how numbers and times are read; of a flow to the EHR, which leads are sent, what becomes of those
//! whom the EHR does not know, and what is read of its answers.

use askama::Template;
use axum::extract::{RawPathParams, State};
use axum::response::Response;
use serde_json::{Value, json};

use super::flow_new::behaviours;
use super::flow_steps::{kept, save, word};
use super::form::Form;
use super::visit::{Faults, Frame, Visit, again, done, html};
use crate::flow::outbound::{Condition, Outbound, ReadBack};
use crate::flow::{Direction, Entity, Flow};
use crate::store::catalog::Kept;
use crate::web::Web;
use crate::web::fault::Fault;

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
    /// Conditions that are no line of the form, in words; they stay as they are.
    others: Vec<String>,
    to_ehr: Option<ToEhr>,
}

/// What a flow to the EHR has beside its conditions.
struct ToEhr {
    is_activity: bool,
    behaviours: Vec<(&'static str, &'static str)>,
    behaviour: String,
    /// Lead flows that can tell the EHR of a patient.
    patients: Vec<(String, String)>,
    register: String,
    update: String,
    unidentified: String,
    wait_hours: String,
    read_back: Vec<ReadBack>,
    max_sends: String,
}

struct SearchField {
    name: String,
    label: String,
    is_unique: bool,
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
        .filter(|condition| is_line(condition))
        .map(|condition| (condition.field.clone(), condition.any_of.join(", ")))
        .collect();
    let others = outbound
        .into_iter()
        .flat_map(|outbound| &outbound.condition);
    let others = others.filter(|condition| !is_line(condition)).map(in_words);
    let others = others.collect();
    let to_ehr = match outbound {
        Some(outbound) => Some(to_ehr(web, &flow, outbound).await?),
        None => None,
    };
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
        others,
        to_ehr,
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

const HOUR_MS: f64 = 3_600_000.0;

/// Whether a condition is a line of the form.
fn is_line(condition: &Condition) -> bool {
    condition.none_of.is_empty() && condition.present != Some(false)
}

fn in_words(condition: &Condition) -> String {
    let field = &condition.field;
    match condition.present {
        Some(false) => format!("{field} is empty"),
        _ => format!("{field} is none of {}", condition.none_of.join(", ")),
    }
}

async fn to_ehr(web: &Web, flow: &Flow, outbound: &Outbound) -> Result<ToEhr, Fault> {
    let flows = web.pipeline.store.catalog().list().await?.flows.into_iter();
    let flows = flows.map(|kept| kept.document).filter(|other| {
        let is_patients = other.outbound.is_some() && other.entity == Entity::Lead;
        is_patients && other.account == flow.account && other.id != flow.id
    });
    let named = |flow: &Option<crate::flow::FlowId>| {
        let flow = flow.as_ref();
        flow.map(ToString::to_string).unwrap_or_default()
    };
    let mut read_back = outbound.read_back.clone();
    let empty = ReadBack {
        path: String::new(),
        field: String::new(),
        activity: flow.entity == Entity::Activity,
    };
    read_back.resize(read_back.len().max(1) + 1, empty);
    Ok(ToEhr {
        is_activity: flow.entity == Entity::Activity,
        behaviours: behaviours(),
        behaviour: word(outbound.patient.behaviour),
        patients: flows.map(|flow| (flow.id.to_string(), flow.name)).collect(),
        register: named(&outbound.patient.register),
        update: named(&outbound.patient.update),
        unidentified: word(outbound.unidentified),
        wait_hours: (outbound.wait_for_identifier_ms as f64 / HOUR_MS).to_string(),
        read_back,
        max_sends: outbound.max_sends.to_string(),
    })
}

/// The lines of the form, behind the conditions that are none.
fn read_conditions(outbound: &mut Outbound, form: &Form) {
    let pairs = form.all("condition_field");
    let pairs = pairs.into_iter().zip(form.all("condition_values"));
    let pairs = pairs.filter(|(field, _)| !field.is_empty());
    let lines = pairs.map(|(field, values)| {
        let any_of = values.split(',').map(str::trim);
        let any_of: Vec<String> = (any_of.filter(|value| !value.is_empty()))
            .map(str::to_owned)
            .collect();
        Condition {
            field,
            present: any_of.is_empty().then_some(true),
            any_of,
            none_of: Vec::new(),
        }
    });
    outbound.condition.retain(|condition| !is_line(condition));
    outbound.condition.extend(lines);
}

/// What else the form says of a flow to the EHR; what it does not say stays.
fn read_rest(outbound: &mut Outbound, is_activity: bool, form: &Form) {
    let said = |name: &str| serde_json::from_value(Value::from(form.get(name))).ok();
    if let Some(unidentified) = said("unidentified") {
        outbound.unidentified = unidentified;
    }
    let behaviour = serde_json::from_value(Value::from(form.get("behaviour")));
    if let Ok(behaviour) = behaviour {
        outbound.patient.behaviour = behaviour;
    }
    for (name, flow) in [
        ("register", &mut outbound.patient.register),
        ("update", &mut outbound.patient.update),
    ] {
        if form.has(name) {
            *flow = form.some(name).map(|id| id.as_str().into());
        }
    }
    if form.has("answer_path") {
        let of = form.all("answer_of").into_iter().map(|of| of == "activity");
        let lines = form.all("answer_path").into_iter();
        let lines = lines.zip(form.all("answer_field"));
        let lines = lines.zip(of.chain(std::iter::repeat(false)));
        let lines = lines.filter(|((path, field), _)| !path.is_empty() || !field.is_empty());
        let lines = lines.map(|((path, field), of_activity)| ReadBack {
            path,
            field,
            activity: is_activity && of_activity,
        });
        outbound.read_back = lines.collect();
    }
}

/// Asks how leads are found, and how numbers and times are read.
pub async fn show(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
) -> Result<Response, Fault> {
    let kept = kept(&web, &params).await?;
    html(&Box::pin(additional_page(&web, &visit, kept, Faults::default())).await?)
}

/// Keeps how leads are found, and how numbers and times are read.
pub async fn save_details(
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
    let is_activity = flow.entity == Entity::Activity;
    if let Some(outbound) = &mut flow.outbound {
        read_conditions(outbound, &form);
        read_rest(outbound, is_activity, &form);
    }
    let mut body = json!({
        "flow": flow,
        "confirm_not_unique": form.has("confirm_not_unique"),
        "confirm_no_condition": form.has("confirm_no_condition"),
    });
    // What is no number is refused at its place.
    for (name, scale) in [("max_sends", 1.0), ("wait_for_identifier_ms", HOUR_MS)] {
        if let Some(said) = form.some(name) {
            let number = said.parse::<f64>().ok().filter(|number| *number >= 0.0);
            body["flow"]["outbound"][name] = match number.map(|number| number * scale) {
                // Of hours any part will do; of sends there is no half.
                Some(number) if scale > 1.0 || number.fract() == 0.0 => {
                    Value::from(number.round() as u64)
                }
                _ => Value::from(said),
            };
        }
    }
    match save(&web, &visit, params, body, &form).await {
        Ok(()) => Ok(done(
            &visit,
            &format!("/flows/{id}/event"),
            "Additional details are saved.",
        )),
        Err(fault) => {
            let faults = Faults::of(&fault);
            let mut page = Box::pin(additional_page(&web, &visit, kept, faults)).await?;
            // As they were typed: what is no number has no place in a flow.
            if let Some(to_ehr) = &mut page.to_ehr {
                for (name, shown) in [
                    ("max_sends", &mut to_ehr.max_sends),
                    ("wait_for_identifier_ms", &mut to_ehr.wait_hours),
                ] {
                    if form.has(name) {
                        form.get(name).clone_into(shown);
                    }
                }
            }
            again(&page)
        }
    }
}
