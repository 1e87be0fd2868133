//! Uploading a component: the page comes at once and says that it is being checked; what came of it stands below when the
//! check is done, in the same answer, so that it needs no script.

use std::convert::Infallible;

use askama::Template;
use axum::body::{Body, Bytes};
use axum::extract::{RawPathParams, Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use futures_util::stream::once;

use super::component::{Wish, wishes};
use super::form::Form;
use super::visit::{Faults, Frame, Visit, refused};
use crate::flow::{Digest, Flow};
use crate::pipeline::activate as rules;
use crate::web::Web;
use crate::web::api::error::Error;
use crate::web::api::list::{Asked, part};
use crate::web::api::{components, flows};
use crate::web::fault::Fault;

/// Where in the page what came of it will stand.
const OUTCOME: &str = "<!-- what came of it -->";

#[derive(Template)]
#[template(path = "component_checking.html")]
struct CheckingPage {
    frame: Frame,
    flow: Flow,
    kilobytes: usize,
}

/// The rest of the page.
#[derive(Template)]
#[template(path = "component_checked.html")]
struct Checked {
    frame: Frame,
    flow: Flow,
    outcome: Result<Asking, Vec<String>>,
}

/// What a component that was taken asks for.
struct Asking {
    digest: String,
    name: String,
    version: String,
    wishes: Vec<Wish>,
    /// Of them, what the release in force does not grant.
    more: Vec<String>,
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
    let Some(bytes) = form.file("component").cloned() else {
        let fault = Error::bad("choose a component, a file that ends in .wasm");
        return Ok(refused(&visit, &format!("/flows/{id}/component"), &fault));
    };
    let page = CheckingPage {
        frame: visit.frame("flows"),
        flow: flow.clone(),
        kilobytes: bytes.len().div_ceil(1024),
    };
    let page = page.render()?;
    let (head, tail) = page.split_once(OUTCOME).unwrap_or((&page, ""));
    let (head, tail) = (head.to_owned(), tail.to_owned());
    let rest = async move {
        let outcome = Box::pin(check(&web, &visit, &flow, bytes)).await;
        let checked = Checked {
            frame: visit.frame("flows"),
            flow,
            outcome: outcome.map_err(|fault| Faults::of(&fault).all()),
        };
        // A template that cannot be rendered is a fault of ours, and what is there already stays.
        checked.render().unwrap_or_default() + &tail
    };
    let part = |text: String| Ok::<_, Infallible>(Bytes::from(text));
    let whole = once(async move { part(head) }).chain(once(async move { part(rest.await) }));
    let kind = (header::CONTENT_TYPE, "text/html; charset=utf-8");
    Ok(([kind], Body::from_stream(whole)).into_response())
}

/// Has the gate look at it and keeps it; gives what it asks for.
async fn check(web: &Web, visit: &Visit, flow: &Flow, bytes: Bytes) -> Result<Asking, Error> {
    let asked = Asked(components::Whose {
        account: flow.account.to_string(),
        flow: Some(flow.id.to_string()),
        accept_findings: false,
    });
    let request = Request::new(Body::from(bytes.clone()));
    let uploading = components::upload(State(web.clone()), visit.headers.clone(), asked, request);
    Box::pin(uploading).await?;
    let digest = Digest::of(&bytes);
    let loading = rules::load(&web.pipeline.runtime, bytes.to_vec());
    let component = Box::pin(loading).await.map_err(Error::from)?;
    let asked = component.manifest.grants();
    let active = match &flow.release {
        Some(release) => {
            let catalog = web.pipeline.store.catalog();
            catalog.release(&flow.account, release).await?
        }
        None => None,
    };
    let granted = active.map(|release| release.grants).unwrap_or_default();
    let more = asked.beyond(&granted);
    Ok(Asking {
        digest: digest.to_string(),
        name: component.manifest.name.clone(),
        version: component.manifest.version.clone(),
        // What is asked for is proposed: a person takes away what it shall not have.
        wishes: wishes(&asked, &asked),
        more: rules::wishes(&more),
    })
}
