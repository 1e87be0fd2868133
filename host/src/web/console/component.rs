//! The component of a flow: what it is, what it is told, what it may do, its releases. Uploading another is in
//! `component_upload`.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::{RawPathParams, State};
use axum::response::Response;
use serde_json::json;

use super::canary;
use super::flow::{ReleaseLine, release_lines, version};
use super::flows::state_words;
use super::form::Form;
use super::visit::{Faults, Frame, Visit, again, done, html, refused};
use crate::flow::{Choices, Flow, Grants};
use crate::mapping::manifest::{Kind, Manifest, Setting, Target};
use crate::pipeline::activate as rules;
use crate::store::catalog::Kept;
use crate::web::Web;
use crate::web::api::body::Unread;
use crate::web::api::error::Error;
use crate::web::api::inventory::{self, FlowComponent};
use crate::web::api::list::part;
use crate::web::api::{flows, releases, shadows};
use crate::web::fault::Fault;

#[derive(Template)]
#[template(path = "component.html")]
struct TabPage {
    frame: Frame,
    faults: Faults,
    flow: Flow,
    version: i64,
    state: &'static str,
    /// None while the flow has no release.
    about: Option<FlowComponent>,
    is_uploaded: bool,
    settings: Vec<SettingLine>,
    bound: Vec<Bound>,
    tables: Vec<Bound>,
    table_names: Vec<String>,
    wishes: Vec<Wish>,
    canary: Option<canary::Shown>,
    releases: Vec<ReleaseLine>,
}

/// A setting as a field of the form.
struct SettingLine {
    /// The field's name, `setting.` before the setting's.
    field: String,
    name: String,
    label: String,
    help: String,
    /// `text`, `number` or `choice`.
    kind: &'static str,
    value: String,
    default: String,
    required: bool,
    choices: Vec<String>,
}

/// A target or a table of the component, and what of the account it is bound to.
struct Bound {
    field: String,
    label: String,
    value: String,
    proposed: String,
}

/// One thing that the component asks for.
pub(super) struct Wish {
    pub(super) kind: &'static str,
    pub(super) value: String,
    pub(super) label: String,
    pub(super) is_granted: bool,
}

fn setting(setting: &Setting, chosen: &Choices) -> SettingLine {
    let chosen = chosen.settings.get(&setting.name);
    SettingLine {
        field: format!("setting.{}", setting.name),
        name: setting.name.clone(),
        label: setting.label.clone(),
        help: setting.help.clone(),
        kind: match setting.kind {
            Kind::Text => "text",
            Kind::Number => "number",
            Kind::Boolean | Kind::Choice(_) => "choice",
        },
        value: chosen.cloned().unwrap_or_default(),
        default: setting.default.clone().unwrap_or_default(),
        required: setting.required && setting.default.is_none(),
        choices: match &setting.kind {
            Kind::Choice(choices) => choices.clone(),
            Kind::Boolean => vec!["true".into(), "false".into()],
            Kind::Text | Kind::Number => Vec::new(),
        },
    }
}

/// What a component asks for, each with whether `granted` has it.
pub(super) fn wishes(asked: &Grants, granted: &Grants) -> Vec<Wish> {
    let mut wishes = Vec::new();
    let mut add = |kind, names: &[String], has: &[String], one: fn(String) -> Grants| {
        wishes.extend(names.iter().map(|name| Wish {
            kind,
            value: name.clone(),
            label: rules::wishes(&one(name.clone())).join(""),
            is_granted: has.contains(name),
        }));
    };
    add("reads", &asked.reads, &granted.reads, |name| Grants {
        reads: vec![name],
        ..Grants::default()
    });
    let (targets, has) = (&asked.lead_targets, &granted.lead_targets);
    add("lead_targets", targets, has, |name| Grants {
        lead_targets: vec![name],
        ..Grants::default()
    });
    let (targets, has) = (&asked.activity_targets, &granted.activity_targets);
    add("activity_targets", targets, has, |name| Grants {
        activity_targets: vec![name],
        ..Grants::default()
    });
    add("places", &asked.places, &granted.places, |name| Grants {
        places: vec![name],
        ..Grants::default()
    });
    wishes
}

async fn page(
    web: &Web,
    visit: &Visit,
    kept: Kept<Flow>,
    faults: Faults,
    sent: Option<Choices>,
) -> Result<TabPage, Fault> {
    let flow = kept.document;
    let about = Box::pin(inventory::component_of(web, &flow)).await?;
    let chosen = match (sent, &about) {
        (Some(sent), _) => sent,
        (None, Some(about)) => about.choices.clone(),
        (None, None) => Choices::default(),
    };
    let manifest = about.as_ref().map(|about| &about.manifest);
    let bound =
        |prefix: &str, name: &str, label: &str, value: Option<&String>, proposed: &str| Bound {
            field: format!("{prefix}.{name}"),
            label: match label.is_empty() {
                true => name.to_owned(),
                false => label.to_owned(),
            },
            value: value.cloned().unwrap_or_default(),
            proposed: proposed.to_owned(),
        };
    let proposed = |target: &Target| {
        let proposed = target.proposed.clone();
        proposed.unwrap_or_else(|| target.name.clone())
    };
    let targets = manifest.map(|manifest| {
        let targets = manifest.lead_targets.iter();
        let targets = targets.chain(&manifest.activity_targets);
        let line = |target: &Target| {
            let value = chosen.bindings.get(&target.name);
            bound(
                "binding",
                &target.name,
                &target.label,
                value,
                &proposed(target),
            )
        };
        targets.map(line).collect()
    });
    let tables = manifest.map(|manifest| {
        let tables = manifest.tables.iter();
        let line = |table: &Target| {
            let value = chosen.tables.get(&table.name);
            bound("table", &table.name, &table.label, value, &proposed(table))
        };
        tables.map(line).collect()
    });
    let tables_of_account = web.pipeline.store.catalog().list().await?.code_tables;
    let granted = about
        .as_ref()
        .and_then(|about| about.choices.grants.clone());
    let (state, _) = state_words(&flow.status);
    Ok(TabPage {
        frame: visit.frame("flows"),
        faults,
        version: kept.version,
        state,
        is_uploaded: about
            .as_ref()
            .is_some_and(|about| about.runs.origin.as_deref() == Some("uploaded")),
        settings: manifest
            .map(|manifest| {
                let settings = manifest.settings.iter();
                settings.map(|one| setting(one, &chosen)).collect()
            })
            .unwrap_or_default(),
        bound: targets.unwrap_or_default(),
        tables: tables.unwrap_or_default(),
        table_names: tables_of_account
            .into_iter()
            .filter(|table| table.account == flow.account)
            .map(|table| table.name)
            .collect(),
        wishes: manifest
            .map(|manifest| wishes(&manifest.grants(), &granted.unwrap_or_default()))
            .unwrap_or_default(),
        canary: canary::shown(web, &flow).await?,
        releases: release_lines(web, &flow).await?,
        about,
        flow,
    })
}

/// Shows the component of a flow.
pub async fn show(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
) -> Result<Response, Fault> {
    let kept = flows::kept(&web.pipeline.store.catalog(), &part(&params, "id")?).await?;
    html(&Box::pin(page(&web, &visit, kept, Faults::default(), None)).await?)
}

/// What the form says, by the names of the manifest; what is left empty goes by the manifest.
fn said(form: &Form, manifest: &Manifest, before: &Choices) -> Choices {
    let mut choices = before.clone();
    let put = |map: &mut BTreeMap<String, String>, prefix: &str, name: &str| {
        let field = format!("{prefix}.{name}");
        match (form.has(&field), form.some(&field)) {
            (_, Some(value)) => drop(map.insert(name.to_owned(), value)),
            (true, None) => drop(map.remove(name)),
            (false, None) => {}
        }
    };
    for setting in &manifest.settings {
        put(&mut choices.settings, "setting", &setting.name);
    }
    for target in manifest
        .lead_targets
        .iter()
        .chain(&manifest.activity_targets)
    {
        put(&mut choices.bindings, "binding", &target.name);
    }
    for table in &manifest.tables {
        put(&mut choices.tables, "table", &table.name);
    }
    choices
}

/// Keeps what the component is told: another release, in force at once where the flow is, or a candidate that a shadow
/// run tries first.
pub async fn save_settings(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
    form: Form,
) -> Result<Response, Fault> {
    let id = part(&params, "id")?;
    let catalog = web.pipeline.store.catalog();
    let kept = flows::kept(&catalog, &id).await?;
    let to = format!("/flows/{id}/component");
    let about = Box::pin(inventory::component_of(&web, &kept.document)).await?;
    let about = about.ok_or(Fault::NotFound)?;
    let choices = said(&form, &about.manifest, &about.choices);
    if form.has("candidate") {
        let body = json!({ "component": about.runs.component, "choices": choices });
        let beginning = shadows::begin(&web, &visit.headers, &id, Unread::of(body));
        return match Box::pin(beginning).await {
            Ok(shadow) => Ok(done(
                &visit,
                &format!("/flows/{id}/start?release={}", shadow.candidate),
                "The settings are a candidate, which runs over the messages of the last day without any effect.",
            )),
            Err(fault) => {
                let faults = Faults::of(&fault);
                again(&Box::pin(page(&web, &visit, kept, faults, Some(choices))).await?)
            }
        };
    }
    let saving = store_settings(&web, &visit, params, &kept, &about, choices.clone(), &form);
    match Box::pin(saving).await {
        Ok(()) => Ok(done(&visit, &to, "The component's settings are saved.")),
        Err(fault) => {
            let faults = Faults::of(&fault);
            again(&Box::pin(page(&web, &visit, kept, faults, Some(choices))).await?)
        }
    }
}

async fn store_settings(
    web: &Web,
    visit: &Visit,
    params: RawPathParams,
    kept: &Kept<Flow>,
    about: &FlowComponent,
    choices: Choices,
    form: &Form,
) -> Result<(), Error> {
    let mut flow = kept.document.clone();
    let grants = choices.grants.clone();
    flow.choices = choices;
    let id = flow.id.to_string();
    let is_named = flow.release.is_some();
    let body = json!({
        "flow": flow,
        "version": version(form),
        "confirm_not_unique": true,
        "confirm_no_condition": true,
    });
    let headers = visit.headers.clone();
    let saving = flows::save(State(web.clone()), headers, params, Unread::of(body));
    Box::pin(saving).await?;
    // A flow that names no release has not made one of its new settings.
    if !is_named {
        let uploaded = about.runs.origin.as_deref() == Some("uploaded");
        let body = json!({
            "component": about.runs.component,
            "grants": grants.filter(|_| uploaded),
        });
        Box::pin(releases::propose(
            web,
            &visit.headers,
            &id,
            Unread::of(body),
        ))
        .await?;
    }
    Ok(())
}

/// Makes a release of an uploaded component with what a person approves.
pub async fn approve(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
    form: Form,
) -> Result<Response, Fault> {
    let id = part(&params, "id")?;
    let grants = Grants {
        reads: form.all("reads"),
        lead_targets: form.all("lead_targets"),
        activity_targets: form.all("activity_targets"),
        places: form.all("places"),
    };
    let body = json!({ "component": form.get("component"), "grants": grants });
    let proposing = releases::propose(&web, &visit.headers, &id, Unread::of(body));
    Ok(match Box::pin(proposing).await {
        Ok(candidate) => done(
            &visit,
            &format!("/flows/{id}/start?release={}", candidate.digest),
            "The component is approved and a release is made of it. It is not in force yet.",
        ),
        Err(fault) => refused(&visit, &format!("/flows/{id}/component"), &fault),
    })
}
