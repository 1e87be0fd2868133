//! Create flow: the choices of the connector's own first screen, or a starter set that makes several flows in one go.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use super::flows::behaviour_words;
use super::form::{self, Form};
use super::visit::{Faults, Frame, Visit, again, done, html};
use crate::flow::check::Fault as Wrong;
use crate::flow::{Account, Behaviour, Channel, Direction, Event, Flow, WebhookEvent};
use crate::mapping::starter::{self, SETS, Set, Starter};
use crate::store::catalog::Listing;
use crate::web::Web;
use crate::web::api::body::Unread;
use crate::web::api::duplicate::free_id;
use crate::web::api::error::Error;
use crate::web::api::templates::{Sample, put};
use crate::web::api::{flows, releases, shared_mappings};
use crate::web::fault::Fault;

/// A field of activities that most accounts keep an appointment's number in.
const KEY_FIELD: &str = "mx_Custom_1";

#[derive(Template)]
#[template(path = "flow_new.html")]
struct NewPage {
    frame: Frame,
    faults: Faults,
    accounts: Vec<Account>,
    chosen: Chosen,
    behaviours: Vec<(&'static str, &'static str)>,
    webhooks: Vec<(&'static str, &'static str)>,
    activity_types: Vec<(u32, String)>,
}

/// What the form says, to show it again.
#[derive(Default)]
struct Chosen {
    direction: String,
    entity: String,
    lead: String,
    activity: String,
    webhook: String,
    code: String,
}

pub(super) fn behaviours() -> Vec<(&'static str, &'static str)> {
    [
        ("capture", Behaviour::Capture),
        ("create-only", Behaviour::CreateOnly),
        ("update-only", Behaviour::UpdateOnly),
        ("nothing", Behaviour::Nothing),
    ]
    .map(|(word, behaviour)| (word, behaviour_words(behaviour)))
    .into()
}

pub(super) fn webhook_words(event: WebhookEvent) -> &'static str {
    match event {
        WebhookEvent::LeadCreate => "Lead is created",
        WebhookEvent::LeadUpdate => "Lead is updated",
        WebhookEvent::LeadActivityCreate => "Activity is posted on a lead",
        WebhookEvent::LeadActivityUpdate => "Activity of a lead is updated",
    }
}

/// Activity types below this come with LeadSquared, such as those of phone calls.
const OWN_TYPES: u32 = 200;

/// The activity types of the first account that knows any, those that were made for a purpose first.
pub(super) async fn activity_types(web: &Web, accounts: &[Account]) -> Vec<(u32, String)> {
    for account in accounts {
        if let Ok(read) = web.pipeline.activity_types(&account.id).await {
            let types = read.document.into_iter();
            let mut types: Vec<_> = types.map(|known| (known.code, known.name)).collect();
            types.sort_by_key(|(code, _)| (*code < OWN_TYPES, *code));
            return types;
        }
    }
    Vec::new()
}

async fn page(web: &Web, visit: &Visit, faults: Faults, chosen: Chosen) -> Result<NewPage, Fault> {
    let listing = web.pipeline.store.catalog().list().await?;
    let accounts: Vec<Account> = listing
        .accounts
        .into_iter()
        .map(|kept| kept.document)
        .collect();
    Ok(NewPage {
        frame: visit.frame("flows"),
        faults,
        activity_types: activity_types(web, &accounts).await,
        accounts,
        chosen,
        behaviours: behaviours(),
        webhooks: WebhookEvent::ALL
            .map(|event| (event.as_str(), webhook_words(event)))
            .into(),
    })
}

/// Asks what kind of flow.
pub async fn show(State(web): State<Web>, visit: Visit) -> Result<Response, Fault> {
    let chosen = Chosen {
        direction: Direction::EhrToLeadSquared.as_str().into(),
        entity: "lead".into(),
        lead: "capture".into(),
        activity: "capture".into(),
        webhook: WebhookEvent::LeadUpdate.as_str().into(),
        code: String::new(),
    };
    html(&page(&web, &visit, Faults::default(), chosen).await?)
}

/// Makes the flow, or all flows of a set, as drafts.
pub async fn create(State(web): State<Web>, visit: Visit, form: Form) -> Result<Response, Fault> {
    let set = SETS.iter().find(|set| set.name == form.get("set"));
    let made = match set {
        Some(set) => Box::pin(make_set(&web, &visit, &form, set)).await,
        None => make_one(&web, &visit, &form).await,
    };
    match made {
        Ok((to, text)) => Ok(done(&visit, &to, &text)),
        Err(fault) => {
            let chosen = Chosen {
                direction: form.get("direction").into(),
                entity: form.get("entity").into(),
                lead: form.get("lead_behaviour").into(),
                activity: form.get("activity_behaviour").into(),
                webhook: form.get("webhook").into(),
                code: form.get("code").into(),
            };
            again(&page(&web, &visit, Faults::of(&fault), chosen).await?)
        }
    }
}

/// What several flows with one webhook come to.
fn alike_words(names: &str) -> String {
    format!(
        "The same change in LeadSquared also sets this going: {names}. Where the conditions of both hold, each sends a message."
    )
}

async fn make_one(web: &Web, visit: &Visit, form: &Form) -> Result<(String, String), Error> {
    let is_inbound = form.get("direction") != Direction::LeadSquaredToEhr.as_str();
    let is_activity = match is_inbound {
        true => form.get("entity") == "activity",
        false => WebhookEvent::parse(form.get("webhook"))
            .is_some_and(|event| event.entity() == crate::flow::Entity::Activity),
    };
    let event = match (is_inbound, is_activity) {
        (true, false) => "ADT^A04",
        (false, false) => "ADT^A08",
        (_, true) => "SIU^S12",
    };
    let flow = draft(web, form, event, is_inbound, is_activity).await?;
    let id = flow["id"].as_str().unwrap_or_default().to_owned();
    let flow = make(web, visit, flow).await?;
    let listing = web.pipeline.store.catalog().list().await?;
    let alike = flows::told_of_the_same(&listing, &flow);
    let alike: Vec<_> = alike.map(|other| other.name.as_str()).collect();
    let mut text =
        "The flow is there, as a draft. It takes no messages until you start it.".to_owned();
    if !alike.is_empty() {
        text.push_str(&format!(" {}", alike_words(&alike.join(", "))));
    }
    Ok((format!("/flows/{id}/basic"), text))
}

async fn make_set(
    web: &Web,
    visit: &Visit,
    form: &Form,
    set: &Set,
) -> Result<(String, String), Error> {
    let shared = match form.has("share") {
        true => Some(free_name(web, set.name).await?),
        false => None,
    };
    let mut made = Vec::new();
    for event in set.events {
        let Some(starter) = starter::for_event(event).next() else {
            continue;
        };
        let is_activity = !starter.document().activities.is_empty();
        let mut flow = draft(web, form, event, true, is_activity).await?;
        flow["shared_mapping"] = shared.clone().into();
        let flow: Flow = make(web, visit, flow).await?;
        match shared {
            Some(_) => Box::pin(put_sample(web, visit, flow.clone(), starter)).await?,
            None => Box::pin(begin(web, visit, flow.clone(), starter)).await?,
        }
        made.push(flow);
    }
    let count = made.len();
    let (Some(name), Some(first)) = (shared, made.first()) else {
        let text = format!(
            "{count} flows are there as drafts, each with its mapping and a sample. Look at each, then start it."
        );
        return Ok(("/flows".into(), text));
    };
    let body = Unread::of(json!({ "mapping": set.document }));
    let (headers, account) = (&visit.headers, &first.account);
    Box::pin(shared_mappings::propose(web, headers, account, &name, body)).await?;
    let text = format!(
        "{count} flows are there as drafts, each with a sample, and one mapping for all of them. Look at it, then start them."
    );
    Ok(("/flows".into(), text))
}

/// A name under which no flow shares a mapping yet.
async fn free_name(web: &Web, usual: &str) -> Result<String, Error> {
    let flows = web.pipeline.store.catalog().list().await?.flows;
    let taken = |name: &str| {
        let mut flows = flows.iter();
        flows.any(|kept| kept.document.shared_mapping.as_deref() == Some(name))
    };
    Ok(form::free_id(usual, usual, taken))
}

async fn make(web: &Web, visit: &Visit, flow: Value) -> Result<Flow, Error> {
    let id = flow["id"].as_str().unwrap_or_default().to_owned();
    let body = Unread::of(json!({ "flow": flow }));
    let creating = flows::create(State(web.clone()), visit.headers.clone(), body);
    Box::pin(creating).await?;
    let catalog = web.pipeline.store.catalog();
    Ok(flows::kept(&catalog, &id).await?.document)
}

/// The starter for what a flow carries, if there is one.
pub(super) fn starter_of(flow: &Flow) -> Option<&'static Starter> {
    let event = match &flow.outbound {
        Some(outbound) => outbound.webhook.to_string(),
        None => flow.event.to_string(),
    };
    starter::for_event(&event).find(|starter| starter.document().direction == flow.direction)
}

/// Gives a flow the starter's sample and a release of the starter's mapping.
pub(super) async fn begin(
    web: &Web,
    visit: &Visit,
    flow: Flow,
    starter: &Starter,
) -> Result<(), Error> {
    let id = flow.id.to_string();
    Box::pin(put_sample(web, visit, flow, starter)).await?;
    let body = Unread::of(json!({ "mapping": starter.document }));
    Box::pin(releases::propose(web, &visit.headers, &id, body)).await?;
    Ok(())
}

/// Gives a flow the starter's sample.
async fn put_sample(web: &Web, visit: &Visit, flow: Flow, starter: &Starter) -> Result<(), Error> {
    let sample = Sample {
        // Outbound there is a message to fill; the sample is a change in LeadSquared.
        text: Some(starter.template.unwrap_or(starter.sample).to_owned()),
        made_up: true,
        ..Sample::default()
    };
    Box::pin(put(web, &visit.headers, flow, sample)).await?;
    Ok(())
}

/// A draft with everything that a flow must have, chosen so that it can be saved.
async fn draft(
    web: &Web,
    form: &Form,
    event: &str,
    is_inbound: bool,
    is_activity: bool,
) -> Result<Value, Error> {
    let listing = web.pipeline.store.catalog().list().await?;
    let mut accounts = listing.accounts.iter().map(|kept| &kept.document);
    let account = match form.some("account") {
        Some(id) => accounts.find(|account| account.id.as_str() == id),
        None => accounts.next(),
    };
    let account =
        account.ok_or_else(|| Error::not_found("account yet: connect LeadSquared first"))?;
    let channel = channel(&listing, account, is_inbound).ok_or_else(|| {
        let text = match is_inbound {
            true => "there is no channel yet that listens for the EHR: make one first",
            false => "there is no channel yet that sends to the EHR: make one first",
        };
        Error::invalid("flows", vec![Wrong::new("channel", text)])
    })?;
    let parsed: Option<Event> = event.parse().ok();
    let label = parsed.as_ref().and_then(Event::label);
    let label = label
        .as_deref()
        .and_then(|label| label.split(" - ").nth(1))
        .unwrap_or(event);
    let name = match is_inbound {
        true => label.to_owned(),
        false => format!("{label} in the EHR"),
    };
    let search = account.identifier_fields.first().cloned();
    let mut flow = json!({
        "id": free_id(&listing, event, is_inbound),
        "account": account.id,
        "name": name,
        "direction": if is_inbound { "ehr-to-leadsquared" } else { "leadsquared-to-ehr" },
        "channel": channel.id,
        "event": event,
        "entity": if is_activity { "activity" } else { "lead" },
        "lead_behaviour": word(form.get("lead_behaviour")),
        "activity_behaviour": word(form.get("activity_behaviour")),
    });
    if is_inbound {
        flow["primary_search_field"] = search.unwrap_or_else(|| "mx_MRN".into()).into();
        flow["lead_source"] = "EHR".into();
    } else {
        let webhook = Some(form.get("webhook")).filter(|word| !word.is_empty());
        flow["outbound"] = json!({ "webhook": webhook.unwrap_or("lead-update") });
    }
    if is_activity {
        let accounts = [account.clone()];
        let code: Option<u32> = form.get("code").parse().ok();
        let known = activity_types(web, &accounts).await;
        let code = code
            .or_else(|| known.first().map(|(code, _)| *code))
            .unwrap_or(200);
        flow["activity"] = json!({ "code": code, "key_field": KEY_FIELD });
    }
    Ok(flow)
}

fn word(sent: &str) -> &str {
    if sent.is_empty() { "capture" } else { sent }
}

fn channel<'a>(listing: &'a Listing, account: &Account, is_inbound: bool) -> Option<&'a Channel> {
    let mut channels = listing.channels.iter().map(|kept| &kept.document);
    channels.find(|channel| channel.account == account.id && channel.target.is_none() == is_inbound)
}
