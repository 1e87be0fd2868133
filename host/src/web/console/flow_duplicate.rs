//! *Duplicate for another event*: keeps settings and mapping, and asks only for event and sample.

use askama::Template;
use axum::extract::{RawPathParams, State};
use axum::response::Response;
use serde_json::json;

use super::flow_steps::{event_of, events, sample_of};
use super::form::Form;
use super::visit::{Faults, Frame, Visit, again, done, html, refused};
use crate::flow::Flow;
use crate::mapping::starter;
use crate::web::Web;
use crate::web::api::body::Unread;
use crate::web::api::list::part;
use crate::web::api::templates::{self, Sample};
use crate::web::api::{duplicate, flows};
use crate::web::fault::Fault;

#[derive(Template)]
#[template(path = "flow_duplicate.html")]
struct DuplicatePage {
    frame: Frame,
    faults: Faults,
    flow: Flow,
    events: Vec<(String, String)>,
    event: String,
    name: String,
    shares: bool,
    raw: String,
}

/// Asks for event and sample.
pub async fn show(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
) -> Result<Response, Fault> {
    let kept = flows::kept(&web.pipeline.store.catalog(), &part(&params, "id")?).await?;
    html(&DuplicatePage {
        frame: visit.frame("flows"),
        faults: Faults::default(),
        flow: kept.document,
        events: events(),
        event: String::new(),
        name: String::new(),
        shares: false,
        raw: String::new(),
    })
}

/// Makes the flow, with its sample where one was given or the event has a starter's.
pub async fn make(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
    form: Form,
) -> Result<Response, Fault> {
    let id = part(&params, "id")?;
    let event = event_of(&form);
    let body = json!({ "event": event, "name": form.some("name"), "share": form.has("share") });
    let duplicating = duplicate::duplicate(&web, &visit.headers, &id, Unread::of(body));
    let made = match Box::pin(duplicating).await {
        Ok(made) => made,
        Err(fault) => {
            let kept = flows::kept(&web.pipeline.store.catalog(), &id).await?;
            return again(&DuplicatePage {
                frame: visit.frame("flows"),
                faults: Faults::of(&fault),
                flow: kept.document,
                events: events(),
                event,
                name: form.get("name").to_owned(),
                shares: form.has("share"),
                raw: sample_of(&form).unwrap_or_default(),
            });
        }
    };
    let pasted = sample_of(&form).map(|text| (text, form.has("made_up")));
    let starter = || Some((starter::for_event(&event).next()?.sample.to_owned(), true));
    if let Some((text, made_up)) = pasted.or_else(starter) {
        let flow = flows::kept(&web.pipeline.store.catalog(), made.as_str()).await?;
        let sample = Sample {
            text: Some(text),
            made_up,
            ..Sample::default()
        };
        let putting = templates::put(&web, &visit.headers, flow.document, sample);
        if let Err(fault) = Box::pin(putting).await {
            return Ok(refused(&visit, &format!("/flows/{made}/event"), &fault));
        }
    }
    Ok(done(
        &visit,
        &format!("/flows/{made}/mapping"),
        "The flow is there, as a draft with the same settings and mapping.",
    ))
}
