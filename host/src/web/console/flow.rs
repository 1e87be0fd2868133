//! One flow: how it stands, its releases, and what can be done with it. Its component is in `component.rs`.

use askama::Template;
use axum::extract::{RawPathParams, State};
use axum::response::Response;
use serde_json::{Value, json};

use super::canary;
use super::flows::{
    Tally, behaviour_words, direction_words, entity_words, event_words, release_number,
    state_words, tallies,
};
use super::form::Form;
use super::show::{Time, short_digests};
use super::visit::{Frame, Visit, done, html, if_match, refused, told};
use super::{flow_start, webhooks};
use crate::flow::{Direction, Entity, Flow};
use crate::pipeline::activate as rules;
use crate::web::Web;
use crate::web::api::body::Unread;
use crate::web::api::error::Error;
use crate::web::api::lacking::{self, Lack};
use crate::web::api::list::part;
use crate::web::api::{activation, flows};
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
    /// What it writes and the account does not have, and how much of that can be made.
    lacking: Vec<String>,
    can_make: usize,
    /// How LeadSquared tells it what changes; none for one to LeadSquared.
    webhook: Option<Result<webhooks::Shown, String>>,
}

pub(super) struct ReleaseLine {
    pub(super) number: usize,
    pub(super) digest: String,
    pub(super) short: String,
    pub(super) made: Time,
    pub(super) origin: &'static str,
    pub(super) is_active: bool,
    /// Was in force before.
    pub(super) was_active: bool,
    /// What activating it would change.
    pub(super) differences: Vec<String>,
}

/// The releases of a flow, newest first, and what each would change.
pub(super) async fn release_lines(web: &Web, flow: &Flow) -> Result<Vec<ReleaseLine>, Fault> {
    let catalog = web.pipeline.store.catalog();
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
            differences: rules::differences(active.map(|active| &active.release), &row.release)
                .iter()
                .map(|text| short_digests(text))
                .collect(),
            digest: row.digest.to_string(),
        }
    });
    Ok(releases.collect())
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
    let releases = release_lines(&web, &flow).await?;
    let channel = listing
        .channels
        .iter()
        .find(|kept| kept.document.id == flow.channel);
    let (state, reason) = state_words(&flow.status);
    let tallies = tallies(&web).await?;
    let is_inbound = flow.direction == Direction::EhrToLeadSquared;
    let lack = match &flow.release {
        Some(release) => Box::pin(lacking::of(&web, &flow, Some(release))).await,
        None => Ok(Lack::default()),
    };
    let lack = lack.unwrap_or_default();
    let webhook = match is_inbound {
        true => None,
        false => {
            let shown = webhooks::shown(&web, &visit, &flow.account, Some(&flow));
            Some(Box::pin(shown).await)
        }
    };
    html(&FlowPage {
        frame: visit.frame("flows"),
        version: kept.version,
        direction: direction_words(flow.direction),
        entity: entity_words(flow.entity),
        event: event_words(&flow),
        lead: behaviour_words(flow.lead_behaviour),
        activity: behaviour_words(flow.activity_behaviour),
        is_activity: flow.entity == Entity::Activity,
        is_inbound,
        lacking: lack.names(),
        can_make: lack.fields.len(),
        webhook,
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

pub(super) fn version(form: &Form) -> Value {
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
    let id = part(&params, "id")?;
    let to = format!("/flows/{id}");
    let mut body = json!({
        "version": version(&form),
        "confirm_not_unique": form.has("confirm_not_unique"),
        "confirm_no_condition": form.has("confirm_no_condition"),
        "make_fields": form.has("make_fields"),
        "confirm_lacking": form.has("confirm_lacking"),
    });
    let makes_webhook = form.has("make_webhook");
    if makes_webhook {
        let limit = form.some("limit").map(|said| match said.parse::<u32>() {
            Ok(limit) => Value::from(limit),
            Err(_) => Value::from(said),
        });
        body["make_webhook"] = json!({ "address": form.some("address"), "limit": limit });
    }
    for name in ["release", "shadow"] {
        if let Some(said) = form.some(name) {
            body[name] = said.into();
        }
    }
    let headers = visit.headers.clone();
    let activating = activation::activate(State(web.clone()), headers, params, Unread::of(body));
    Ok(match Box::pin(activating).await {
        Ok(_) if makes_webhook => done(
            &visit,
            &to,
            "The flow is active, and LeadSquared tells it what changes.",
        ),
        Ok(_) => done(
            &visit,
            &to,
            "The flow is active: messages are being transferred.",
        ),
        Err(fault) => {
            let back = form.some("back").filter(|back| back.starts_with("/flows/"));
            // There it is asked what can be confirmed.
            let asked = || {
                form.some("release")
                    .map(|release| flow_start::path(&id, &release))
            };
            let back = back.or_else(asked);
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
    let pausing = activation::pause(State(web), headers, params, Unread::of(body));
    Ok(told(
        &visit,
        &to,
        Box::pin(pausing).await,
        "The flow is paused: messages are kept and wait.",
    ))
}

/// Deletes a flow whose name was typed.
pub async fn delete(
    State(web): State<Web>,
    visit: Visit,
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
    let headers = if_match(&visit, &form);
    let deleting = flows::delete(State(web), headers, params);
    Ok(match Box::pin(deleting).await {
        Ok(_) => done(
            &visit,
            "/flows",
            &format!("The flow {name} is deleted; its messages stay."),
        ),
        Err(fault) => refused(&visit, &format!("/flows/{id}"), &fault),
    })
}
