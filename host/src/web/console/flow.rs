//! One flow: how it stands, its releases, its component, and what can be done with it.

use askama::Template;
use axum::body::Body as Bytes;
use axum::extract::{RawPathParams, Request, State};
use axum::http::HeaderValue;
use axum::response::Response;
use serde_json::{Value, json};

use super::canary;
use super::flows::{
    Tally, behaviour_words, direction_words, entity_words, event_words, release_number,
    state_words, tallies,
};
use super::form::Form;
use super::show::Time;
use super::visit::{Frame, Visit, done, html, refused};
use crate::flow::{Digest, Direction, Entity, Flow, Grants};
use crate::pipeline::activate as rules;
use crate::web::Web;
use crate::web::api::body::Body;
use crate::web::api::error::Error;
use crate::web::api::list::{Asked, part};
use crate::web::api::{activation, components, flows, releases};
use crate::web::fault::Fault;

#[derive(Template)]
#[template(path = "flow.html")]
struct FlowPage {
    frame: Frame,
    flow: Flow,
    version: i64,
    direction: &'static str,
    entity: &'static str,
    event: String,
    lead: &'static str,
    activity: &'static str,
    is_activity: bool,
    is_inbound: bool,
    channel: String,
    state: &'static str,
    reason: String,
    release: String,
    tally: Tally,
    canary: Option<canary::Shown>,
    releases: Vec<ReleaseLine>,
}

struct ReleaseLine {
    number: usize,
    digest: String,
    short: String,
    made: Time,
    origin: &'static str,
    is_active: bool,
    /// Was in force before.
    was_active: bool,
    /// What activating it would change.
    differences: Vec<String>,
}

#[derive(Template)]
#[template(path = "flow_component.html")]
struct ComponentPage {
    frame: Frame,
    flow: Flow,
    digest: String,
    name: String,
    version: String,
    wishes: Vec<String>,
    /// Of them, what the release in force does not grant.
    more: Vec<String>,
    grants: String,
}

/// Shows a flow.
pub async fn show(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
) -> Result<Response, Fault> {
    let catalog = web.pipeline.store.catalog();
    let kept = flows::kept(&catalog, &part(&params, "id")?).await?;
    let flow = kept.document;
    let listing = catalog.list().await?;
    let rows = catalog.releases(&flow.account, &flow.id).await?;
    let versions = catalog.flow_versions(&flow.account, &flow.id).await?;
    let components = catalog.components(&flow.account).await?;
    let active = rows
        .iter()
        .find(|row| flow.release.as_ref() == Some(&row.digest));
    let count = rows.len();
    let releases = rows.iter().enumerate().map(|(at, row)| {
        let mut components = components.iter();
        let component = components.find(|known| known.digest == row.release.component);
        let mut before = versions.iter();
        ReleaseLine {
            number: count - at,
            short: row.digest.as_str().chars().take(12).collect(),
            made: Time::of(row.created_at_ms),
            origin: match component {
                Some(component) if component.origin == "uploaded" => "uploaded component",
                _ => "mapping",
            },
            is_active: active.is_some_and(|active| active.digest == row.digest),
            was_active: before.any(|version| version.flow.release.as_ref() == Some(&row.digest)),
            differences: rules::differences(active.map(|active| &active.release), &row.release),
            digest: row.digest.to_string(),
        }
    });
    let releases = releases.collect();
    let channel = listing
        .channels
        .iter()
        .find(|kept| kept.document.id == flow.channel);
    let (state, reason) = state_words(&flow.status);
    let tallies = tallies(&web).await?;
    html(&FlowPage {
        frame: visit.frame("flows"),
        version: kept.version,
        direction: direction_words(flow.direction),
        entity: entity_words(flow.entity),
        event: event_words(&flow),
        lead: behaviour_words(flow.lead_behaviour),
        activity: behaviour_words(flow.activity_behaviour),
        is_activity: flow.entity == Entity::Activity,
        is_inbound: flow.direction == Direction::EhrToLeadSquared,
        channel: channel.map_or_else(String::new, |kept| kept.document.name.clone()),
        state,
        reason,
        release: release_number(&web, &flow).await?,
        canary: canary::shown(&web, &flow).await?,
        tally: tallies.get(&flow.id).copied().unwrap_or_default(),
        releases,
        flow,
    })
}

fn version(form: &Form) -> Value {
    form.get("version")
        .parse::<i64>()
        .map_or(Value::Null, Value::from)
}

/// Puts a flow in force with a release of it, or with the one that it has.
pub async fn activate(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
    form: Form,
) -> Result<Response, Fault> {
    let to = format!("/flows/{}", part(&params, "id")?);
    let mut body = json!({
        "version": version(&form),
        "confirm_not_unique": form.has("confirm_not_unique"),
        "confirm_no_condition": form.has("confirm_no_condition"),
    });
    if let Some(release) = form.some("release") {
        body["release"] = release.into();
    }
    let headers = visit.headers.clone();
    let activating = activation::activate(State(web), headers, params, Body::of(body));
    Ok(match Box::pin(activating).await {
        Ok(_) => done(
            &visit,
            &to,
            "The flow is active: messages are being transferred.",
        ),
        Err(fault) => {
            let back = form.some("back").filter(|back| back.starts_with("/flows/"));
            refused(&visit, back.as_deref().unwrap_or(&to), &fault)
        }
    })
}

/// Holds a flow.
pub async fn pause(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
    form: Form,
) -> Result<Response, Fault> {
    let to = format!("/flows/{}", part(&params, "id")?);
    let body = json!({ "version": version(&form), "reason": form.get("reason") });
    let headers = visit.headers.clone();
    let pausing = activation::pause(State(web), headers, params, Body::of(body));
    Ok(match Box::pin(pausing).await {
        Ok(_) => done(
            &visit,
            &to,
            "The flow is paused: messages are kept and wait.",
        ),
        Err(fault) => refused(&visit, &to, &fault),
    })
}

/// Takes a component; what it asks for is shown to be approved.
pub async fn upload(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
    form: Form,
) -> Result<Response, Fault> {
    let catalog = web.pipeline.store.catalog();
    let id = part(&params, "id")?;
    let flow = flows::kept(&catalog, &id).await?.document;
    let to = format!("/flows/{id}");
    let Some(bytes) = form.file("component").cloned() else {
        let fault = Error::bad("choose a component, a file that ends in .wasm");
        return Ok(refused(&visit, &to, &fault));
    };
    let asked = Asked(components::Whose {
        account: flow.account.to_string(),
        flow: Some(flow.id.to_string()),
        accept_findings: false,
    });
    let request = Request::new(Bytes::from(bytes.clone()));
    let uploading = components::upload(State(web.clone()), visit.headers.clone(), asked, request);
    if let Err(fault) = Box::pin(uploading).await {
        return Ok(refused(&visit, &to, &fault));
    }
    let digest = Digest::of(&bytes);
    let loading = rules::load(&web.pipeline.runtime, bytes.to_vec());
    let component = Box::pin(loading).await.map_err(Error::from)?;
    let asked = component.manifest.grants();
    let active = match &flow.release {
        Some(release) => catalog.release(&flow.account, release).await?,
        None => None,
    };
    let granted = active.map(|release| release.grants).unwrap_or_default();
    html(&ComponentPage {
        frame: visit.frame("flows"),
        digest: digest.to_string(),
        name: component.manifest.name.clone(),
        version: component.manifest.version.clone(),
        wishes: rules::wishes(&asked),
        more: rules::wishes(&asked.beyond(&granted)),
        grants: serde_json::to_string(&asked).unwrap_or_default(),
        flow,
    })
}

/// Makes a release of an uploaded component with what a person approves.
pub async fn approve(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
    form: Form,
) -> Result<Response, Fault> {
    let id = part(&params, "id")?;
    let to = format!("/flows/{id}");
    let grants: Option<Grants> = serde_json::from_str(form.get("grants")).ok();
    let body = json!({ "component": form.get("component"), "grants": grants });
    let proposing = releases::propose(&web, &visit.headers, &id, Body::of(body));
    Ok(match Box::pin(proposing).await {
        Ok(_) => done(
            &visit,
            &to,
            "The component is approved and a release is made of it. Activate the release when you are ready.",
        ),
        Err(fault) => refused(&visit, &to, &fault),
    })
}

/// Deletes a flow whose name was typed.
pub async fn delete(
    State(web): State<Web>,
    mut visit: Visit,
    params: RawPathParams,
    form: Form,
) -> Result<Response, Fault> {
    let catalog = web.pipeline.store.catalog();
    let id = part(&params, "id")?;
    let kept = flows::kept(&catalog, &id).await?;
    let name = kept.document.name;
    if form.get("name") != name {
        let fault = Error::bad(format!(
            "type {name:?} to delete the flow; nothing was deleted"
        ));
        return Ok(refused(&visit, &format!("/flows/{id}"), &fault));
    }
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", form.get("version"))) {
        visit.headers.insert(axum::http::header::IF_MATCH, tag);
    }
    let deleting = flows::delete(State(web), visit.headers.clone(), params);
    Ok(match Box::pin(deleting).await {
        Ok(_) => done(
            &visit,
            "/flows",
            &format!("The flow {name} is deleted; its messages stay."),
        ),
        Err(fault) => refused(&visit, &format!("/flows/{id}"), &fault),
    })
}
