//! One review for all flows that share a mapping: what it changes in each, and the button that puts it in force.

use std::collections::BTreeSet;

use askama::Template;
use axum::extract::{RawPathParams, State};
use axum::response::Response;
use serde_json::{Value, json};

use super::cookie::encoded;
use super::form::Form;
use super::visit::{Frame, Visit, html, told};
use crate::web::Web;
use crate::web::api::body::Unread;
use crate::web::api::list::part;
use crate::web::api::shared_mappings::{self, SharedMappingView};
use crate::web::fault::Fault;

#[derive(Template)]
#[template(path = "shared_mapping.html")]
struct ReviewPage {
    frame: Frame,
    shared: SharedMappingView,
    has_candidates: bool,
    is_outbound: bool,
    /// What candidates write and the account lacks.
    lacking: BTreeSet<String>,
}

/// Where the review of a shared mapping is.
pub(super) fn path(account: &str, name: &str) -> String {
    format!("/shared-mappings/{}/{}", encoded(account), encoded(name))
}

/// Shows what the document as it stands would change.
pub async fn show(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
) -> Result<Response, Fault> {
    let account = part(&params, "account")?.into();
    let name = part(&params, "name")?;
    let shared = Box::pin(shared_mappings::view(&web, &account, &name)).await?;
    let sharing = shared_mappings::sharers(&web, &account, &name).await?;
    html(&ReviewPage {
        frame: visit.frame("flows"),
        has_candidates: shared.flows.iter().any(|flow| flow.candidate.is_some()),
        is_outbound: sharing.iter().any(|kept| kept.document.outbound.is_some()),
        lacking: shared
            .flows
            .iter()
            .flat_map(|flow| flow.lacking.clone())
            .collect(),
        shared,
    })
}

/// Puts the candidates of the flows that are ticked in force.
pub async fn activate(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
    form: Form,
) -> Result<Response, Fault> {
    let to = path(&part(&params, "account")?, &part(&params, "name")?);
    let decided: Vec<Value> = form
        .all("flow")
        .into_iter()
        .map(|flow| {
            let release = form.get(&format!("release.{flow}"));
            let version: Option<i64> = form.get(&format!("version.{flow}")).parse().ok();
            json!({ "flow": flow, "release": release, "version": version })
        })
        .collect();
    let body = Unread::of(json!({
        "flows": decided,
        "confirm_not_unique": form.has("confirm_not_unique"),
        "confirm_no_condition": form.has("confirm_no_condition"),
        "make_fields": form.has("make_fields"),
        "confirm_lacking": form.has("confirm_lacking"),
    }));
    let headers = visit.headers.clone();
    let activating = shared_mappings::activate(State(web), headers, params, body);
    let said = "The flows run with the mapping as it stands.";
    Ok(told(&visit, &to, Box::pin(activating).await, said))
}
