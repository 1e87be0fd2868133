//! What a message was mapped to by one flow, value by value with its way, and what another release makes of it.
//!
//! Values are masked until somebody who may see them says why. Nothing is written before *Send again*.

use askama::Template;
use axum::extract::{Query, RawPathParams, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::Value as Json;

use super::cookie::encoded;
use super::form::Form;
use super::visit::{Faults, Frame, Visit, done, html, refused};
use crate::access::Right;
use crate::flow::{DeliveryId, Digest};
use crate::mapping::compare::Verdict;
use crate::pipeline::again::Again;
use crate::pipeline::lineage::{FieldLineage, Lineage};
use crate::pipeline::replay::{FieldReplay, Replay};
use crate::store::journal::Stored;
use crate::web::Web;
use crate::web::api::again;
use crate::web::api::error::Error;
use crate::web::api::lacking;
use crate::web::api::list::part;
use crate::web::fault::Fault;

/// What stands in the place of a value that is not shown.
const HIDDEN: &str = "•••";

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// `now` for the release in force, else that of then.
    with: Option<String>,
}

#[derive(Template)]
#[template(path = "delivery.html")]
struct ShowPage {
    frame: Frame,
    faults: Faults,
    id: String,
    message: String,
    flow: String,
    flow_id: String,
    /// Whether the release in force is looked at, and not that of then.
    is_now: bool,
    /// There is another release in force than the one that it was carried out with.
    has_both: bool,
    /// What was recorded: `wrote`, `skipped`, or the code of a failure; empty if nothing ran.
    outcome: String,
    number: usize,
    is_mapping: bool,
    fields: Vec<FieldLine>,
    /// Of the release in force: what it makes otherwise.
    difference: Option<Difference>,
    is_revealed: bool,
    reason: String,
    may_send: bool,
    /// The flow writes fields that the account does not have.
    lacks_fields: bool,
}

struct FieldLine {
    field: String,
    label: String,
    from: String,
    places: Vec<String>,
    steps: Vec<StepLine>,
    entry: Option<String>,
    value: String,
    /// The message goes no further without it, and it is not there.
    is_needed: bool,
}

struct StepLine {
    step: String,
    value: String,
}

/// What another release makes of the message.
struct Difference {
    was: String,
    now: String,
    same: usize,
    changed: Vec<ChangeLine>,
}

struct ChangeLine {
    field: String,
    verdict: &'static str,
    was: String,
    now: String,
}

/// What a person reads for a value.
fn text(value: &Json) -> String {
    match value {
        Json::Null => "(cleared)".into(),
        Json::String(text) => text.clone(),
        Json::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        Json::Object(members) => members.values().next().map(text).unwrap_or_default(),
        other => other.to_string(),
    }
}

fn line(field: FieldLineage, is_revealed: bool) -> FieldLine {
    let seen = |value: Option<&Json>| match (is_revealed, value) {
        (true, Some(value)) => text(value),
        (true, None) => "nothing".into(),
        (false, _) => String::new(),
    };
    FieldLine {
        value: match (is_revealed, field.is_filled) {
            (false, true) => HIDDEN.into(),
            (false, false) => "nothing".into(),
            (true, _) => seen(field.value.as_ref()),
        },
        is_needed: field.is_required && !field.is_filled,
        places: field
            .places
            .into_iter()
            .map(|place| format!("{} {}", place.path, place.name).trim().to_owned())
            .collect(),
        entry: field.entry.map(|entry| {
            let code = entry.code.as_ref().map(text);
            let code = code.map_or_else(String::new, |code| format!(" for “{code}”"));
            let short: String = entry.version.chars().take(8).collect();
            let what = if entry.is_miss { "no entry" } else { "entry" };
            format!("{what}{code} in {}, version {short}", entry.table)
        }),
        steps: field
            .steps
            .iter()
            .map(|step| StepLine {
                step: step.step.clone(),
                value: seen(step.value.as_ref()),
            })
            .collect(),
        field: field.field,
        label: field.label,
        from: field.from,
    }
}

fn difference(replay: Replay, is_revealed: bool) -> Difference {
    let same = |field: &&FieldReplay| field.change == Verdict::Same;
    let seen = |value: &Option<Json>| match (is_revealed, value) {
        (true, Some(value)) => text(value),
        (true, None) => String::new(),
        (false, _) => HIDDEN.into(),
    };
    Difference {
        was: replay
            .recorded
            .map_or_else(String::new, |recorded| recorded.outcome),
        now: replay.outcome,
        same: replay.fields.iter().filter(same).count(),
        changed: replay
            .fields
            .iter()
            .filter(|field| !same(field))
            .map(|field| ChangeLine {
                field: match field.field.as_str() {
                    "?" => "a field that is gone".into(),
                    name => name.to_owned(),
                },
                verdict: field.change.as_str(),
                was: seen(&field.was),
                now: seen(&field.now),
            })
            .collect(),
    }
}

async fn stored(web: &Web, id: &str) -> Result<Stored, Fault> {
    let stored = web.pipeline.stored_anywhere(&DeliveryId::from(id)).await;
    stored.map_err(Error::from)?.ok_or(Fault::NotFound)
}

/// The page; with values where somebody said why, who may see them.
async fn page(
    web: &Web,
    visit: &Visit,
    id: &str,
    is_now: bool,
    reason: Option<&str>,
) -> Result<ShowPage, Fault> {
    let stored = stored(web, id).await?;
    let configuration = web.pipeline.configuration();
    let flow = stored.ran.as_ref().map_or(&stored.flow, |ran| &ran.flow);
    let route = configuration.route(flow);
    let own = route
        .and_then(|route| route.in_force.as_ref())
        .map(|in_force| in_force.digest.clone());
    let then = stored.ran.as_ref().map(|ran| ran.release.clone());
    let has_both = own.is_some() && then.is_some() && own != then;
    let release = if is_now { own } else { then };
    let looking = again::look(web, &visit.headers, id, release.as_ref(), reason);
    let (lineage, faults) = match Box::pin(looking).await {
        Ok(lineage) => (Some(lineage), Faults::default()),
        Err(fault) => (None, Faults::of(&fault)),
    };
    let is_revealed = reason.is_some() && lineage.is_some();
    let mut page = ShowPage {
        frame: visit.frame("messages"),
        faults,
        id: id.to_owned(),
        message: stored.message.to_string(),
        flow: route.map_or_else(|| flow.to_string(), |route| route.flow.name.clone()),
        flow_id: flow.to_string(),
        is_now,
        has_both,
        outcome: stored
            .ran
            .as_ref()
            .map_or_else(String::new, |ran| ran.outcome.clone()),
        number: 0,
        is_mapping: false,
        fields: Vec::new(),
        difference: None,
        is_revealed,
        reason: reason.unwrap_or_default().to_owned(),
        may_send: visit.may(Right::Operate),
        lacks_fields: match route {
            Some(route) => {
                let release = route.flow.release.as_ref();
                let lack = lacking::of(web, &route.flow, release);
                Box::pin(lack).await.is_ok_and(|lack| !lack.is_empty())
            }
            None => false,
        },
    };
    if is_now && has_both && page.faults.is_empty() {
        let replaying = web.pipeline.replay(&stored, release.as_ref(), is_revealed);
        match Box::pin(replaying).await {
            Ok(replay) => page.difference = Some(difference(replay, is_revealed)),
            Err(fault) => page.faults = Faults::of(&Error::from(fault)),
        }
    }
    if let Some(Lineage {
        number,
        made_by,
        fields,
        ..
    }) = lineage
    {
        page.number = number;
        page.is_mapping = made_by == "mapping";
        page.fields = fields
            .into_iter()
            .map(|field| line(field, is_revealed))
            .collect();
    }
    Ok(page)
}

/// The values, masked.
pub async fn show(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
    Query(query): Query<Params>,
) -> Result<Response, Fault> {
    let is_now = query.with.as_deref() == Some("now");
    let id = part(&params, "id")?;
    html(&Box::pin(page(&web, &visit, &id, is_now, None)).await?)
}

/// The values, for somebody who says why.
pub async fn reveal(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
    form: Form,
) -> Result<Response, Fault> {
    let is_now = form.get("with") == "now";
    let id = part(&params, "id")?;
    let reason = Some(form.get("reason"));
    let shown = Box::pin(page(&web, &visit, &id, is_now, reason)).await?;
    if shown.faults.is_empty() {
        return html(&shown);
    }
    let mut masked = Box::pin(page(&web, &visit, &id, is_now, None)).await?;
    masked.faults = shown.faults;
    masked.reason = shown.reason;
    Ok((StatusCode::UNPROCESSABLE_ENTITY, html(&masked)?).into_response())
}

/// Sends the message through the flow again, with the release that was looked at.
pub async fn again(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
    form: Form,
) -> Result<Response, Fault> {
    let id = part(&params, "id")?;
    let is_now = form.get("with") == "now";
    let back = format!(
        "/deliveries/{}{}",
        encoded(&id),
        if is_now { "?with=now" } else { "" }
    );
    let sending = send(&web, &visit, &id, is_now, form.get("reason"));
    Ok(match Box::pin(sending).await {
        Ok(message) => done(
            &visit,
            &format!("/messages/{}", encoded(&message)),
            "The message is on its way again, as a message of its own.",
        ),
        Err(fault) => refused(&visit, &back, &fault),
    })
}

async fn send(
    web: &Web,
    visit: &Visit,
    id: &str,
    is_now: bool,
    reason: &str,
) -> Result<String, Error> {
    let stored = web.pipeline.stored_anywhere(&DeliveryId::from(id)).await?;
    let stored = stored.ok_or_else(|| Error::not_found(format!("delivery {id}")))?;
    let then: Option<Digest> = stored.ran.as_ref().map(|ran| ran.release.clone());
    let wanted = Again {
        flow: Some(stored.flow.clone()),
        pinned: then.filter(|_| !is_now),
        edited: None,
    };
    let sending = again::send(web, &visit.headers, stored.message.as_str(), wanted, reason);
    Ok(Box::pin(sending).await?.message)
}
