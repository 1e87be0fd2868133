//! The mapping screen: the sample as a tree, the rows of the document, and what they make of the sample.
//!
//! The page hands its script everything at once ([`Desk`]); what a change makes is asked of `api::preview`. Saving makes a
//! release that is not in force; `flow_start.rs` asks whether it shall be.

use std::collections::BTreeSet;

use askama::Template;
use axum::extract::{Query, RawPathParams, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::flow_new::starter_of;
use super::flows::event_words;
use super::form::Form;
use super::shared_mapping;
use super::visit::{Frame, Visit, done, html, refused};
use super::way;
use crate::access::Right;
use crate::flow::{Direction, Entity, Flow};
use crate::hl7::Message;
use crate::mapping::document::{Document, Part, Row, groups, spoken};
use crate::mapping::propose;
use crate::mapping::starter::Starter;
use crate::pipeline::account::Field;
use crate::web::Web;
use crate::web::api::body::Unread;
use crate::web::api::error::Error;
use crate::web::api::list::part;
use crate::web::api::preview::from_json;
use crate::web::api::samples::{self, Live, OFFERED};
use crate::web::api::{flows, releases, shared_mappings};
use crate::web::fault::Fault;

#[derive(Template)]
#[template(path = "mapping.html")]
struct MappingPage {
    frame: Frame,
    flow: Flow,
    event: String,
    /// Such as `draft 4, release 3 is active`.
    standing: String,
    /// The flows that share it, this one among them; none where it is the flow's own.
    sharers: Vec<(String, String)>,
    desk: String,
}

/// The same for somebody who may only look.
#[derive(Template)]
#[template(path = "mapping_read.html")]
struct ReadPage {
    frame: Frame,
    flow: Flow,
    event: String,
    standing: String,
    parts: Vec<Part>,
    /// Conditions that rows share, by the name that they call them.
    groups: Vec<(String, String)>,
}

/// What the script of the page works with.
#[derive(Serialize)]
struct Desk {
    flow: String,
    account: String,
    /// Changes when somebody saves: unsaved work of before is offered, not forced.
    base: String,
    inbound: bool,
    activity: bool,
    document: Value,
    tree: Vec<Branch>,
    /// Where rows can go.
    targets: Vec<Target>,
    slots: Vec<Target>,
    /// The activity type that they are of.
    code: Option<u32>,
    tables: Vec<String>,
    proposals: Vec<Proposed>,
    may_add: bool,
    /// The last messages of the flow's event.
    live: Vec<Live>,
}

/// A segment, or the record of LeadSquared that fields are of.
#[derive(Serialize, ToSchema)]
pub(in crate::web) struct Branch {
    name: String,
    label: String,
    places: Vec<Leaf>,
}

/// A place with its name and what the sample has there.
#[derive(Serialize, ToSchema)]
pub(in crate::web) struct Leaf {
    path: String,
    label: String,
    value: String,
}

#[derive(Serialize)]
struct Target {
    name: String,
    label: String,
    kind: String,
    /// `mandatory`, `unique`, `search key`.
    marks: Vec<&'static str>,
    options: Vec<String>,
}

#[derive(Serialize)]
struct Proposed {
    row: Value,
    confidence: u8,
    why: String,
}

/// A document as JSON, in its one form.
fn as_json(text: &str) -> Value {
    let table: Option<toml::Table> = text.parse().ok();
    serde_json::to_value(table).unwrap_or_default()
}

/// The version that is asked for in the address.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// The digest of a release, to begin with its mapping; the newest if left out.
    version: Option<String>,
}

/// The document to go on with: of `version` or of the newest release, or of the starter for the event.
async fn document(
    web: &Web,
    flow: &Flow,
    version: Option<&str>,
) -> Result<(Document, String, String), Fault> {
    if version.is_none()
        && let Some(shared) = shared_mappings::of_flow(web, flow).await?
        && let Ok(document) = Document::parse(&shared.mapping)
    {
        let standing = "as it was saved last";
        return Ok((document, shared.component.to_string(), standing.to_owned()));
    }
    let catalog = web.pipeline.store.catalog();
    let rows = catalog.releases(&flow.account, &flow.id).await?;
    let components = catalog.components(&flow.account).await?;
    let count = rows.len();
    let active = rows
        .iter()
        .position(|row| flow.release.as_ref() == Some(&row.digest));
    let of_active = active.map(|at| format!("release {} is active", count - at));
    for (at, row) in rows.iter().enumerate() {
        if version.is_some_and(|version| row.digest.as_str() != version) {
            continue;
        }
        let mut known = components.iter();
        let component = known.find(|known| known.digest == row.release.component);
        let document = component.and_then(|component| Document::parse(&component.document).ok());
        if let Some(document) = document {
            let standing = match (active == Some(at), of_active) {
                (true, Some(active)) => active,
                (false, Some(active)) => format!("draft {}, {active}", count - at),
                (_, None) => format!("draft {}", count - at),
            };
            return Ok((document, row.digest.to_string(), standing));
        }
    }
    let begun = starter_of(flow).map(Starter::document);
    let standing = match &begun {
        Some(_) => "begun with a starter; nothing is saved yet",
        None => "nothing is saved yet",
    };
    let begun = begun.unwrap_or_else(|| Document::new(flow.direction, &flow.name));
    Ok((begun, String::new(), standing.to_owned()))
}

/// Shows the screen.
pub async fn show(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
    Query(query): Query<Params>,
) -> Result<Response, Fault> {
    let catalog = web.pipeline.store.catalog();
    let flow = flows::kept(&catalog, &part(&params, "id")?).await?.document;
    let (document, base, standing) = document(&web, &flow, query.version.as_deref()).await?;
    if !visit.may(Right::Map) {
        let is_kept = !base.is_empty();
        return html(&ReadPage {
            frame: visit.frame("flows"),
            event: event_words(&flow),
            standing,
            parts: match is_kept {
                true => spoken(&document),
                false => Vec::new(),
            },
            groups: groups(&document),
            flow,
        });
    }
    let live = match flow.direction {
        Direction::EhrToLeadSquared => samples::live(&web, &flow, OFFERED).await?,
        Direction::LeadSquaredToEhr => Vec::new(),
    };
    let template = web
        .pipeline
        .store
        .templates()
        .get(&flow.account, &flow.id)
        .await?;
    let shown = template.and_then(|template| template.shown().ok());
    let sample = shown.and_then(|bytes| Message::parse(&bytes).ok());
    let fields = web.pipeline.lead_fields(&flow.account).await;
    let fields = fields.map(|read| read.document).unwrap_or_default();
    let is_inbound = flow.direction == Direction::EhrToLeadSquared;
    let slots = match &flow.activity {
        Some(activity) => web.pipeline.slots(&flow.account, activity.code).await,
        None => Ok(crate::store::catalog::metadata::Read {
            document: Vec::new(),
            read_at_ms: 0,
        }),
    };
    let slots = slots.map(|read| read.document).unwrap_or_default();
    let slots: Vec<_> = slots
        .into_iter()
        .map(|slot| Target {
            name: slot.schema_name,
            label: slot.display_name,
            kind: slot.data_type,
            marks: if slot.is_mandatory {
                vec!["mandatory"]
            } else {
                Vec::new()
            },
            options: slot.options,
        })
        .collect();
    let proposals = match (&sample, is_inbound) {
        (Some(sample), true) => proposals(sample, &fields, &document),
        _ => Vec::new(),
    };
    let leads = fields.iter().map(|field| target(field, &flow));
    let places = sample.as_ref().map(branches).unwrap_or_default();
    let (tree, targets) = match is_inbound {
        true => (places, leads.collect()),
        false => (sources(leads.collect(), &slots, &flow), as_targets(places)),
    };
    let tables = catalog.code_tables(&flow.account).await?;
    let desk = Desk {
        flow: flow.id.to_string(),
        account: flow.account.to_string(),
        base,
        inbound: is_inbound,
        activity: flow.entity == Entity::Activity,
        document: as_json(&document.to_text()),
        tree,
        targets,
        slots,
        code: flow.activity.as_ref().map(|activity| activity.code),
        tables: tables.into_iter().map(|table| table.name).collect(),
        proposals,
        may_add: visit.may(Right::Administer),
        live: live.into_iter().map(samples::shown).collect(),
    };
    let sharers = match &flow.shared_mapping {
        Some(name) => shared_mappings::sharers(&web, &flow.account, name).await?,
        None => Vec::new(),
    };
    let sharers = sharers.into_iter().map(|kept| kept.document);
    html(&MappingPage {
        sharers: sharers
            .map(|flow| (flow.id.to_string(), flow.name))
            .collect(),
        frame: visit.frame("flows"),
        event: event_words(&flow),
        standing,
        desk: serde_json::to_string(&desk).unwrap_or_default(),
        flow,
    })
}

pub(in crate::web) fn branches(sample: &Message) -> Vec<Branch> {
    let segments = way::segments(sample).into_iter();
    let branches = segments.map(|segment| Branch {
        name: segment.name,
        label: segment.label.to_owned(),
        places: segment
            .places
            .into_iter()
            .map(|place| Leaf {
                path: place.path,
                label: place.label,
                value: place.value,
            })
            .collect(),
    });
    branches.collect()
}

fn target(field: &Field, flow: &Flow) -> Target {
    let mut marks = Vec::new();
    if field.is_mandatory {
        marks.push("mandatory");
    }
    if field.is_unique {
        marks.push("unique");
    }
    let searched = [
        Some(&flow.primary_search_field),
        flow.secondary_search_field.as_ref(),
    ];
    if searched.contains(&Some(&field.schema_name)) {
        marks.push("search key");
    }
    Target {
        name: field.schema_name.clone(),
        label: field.display_name.clone(),
        kind: field.data_type.clone(),
        marks,
        options: field.options.clone(),
    }
}

/// Outbound: what a row can take, by entity.
fn sources(leads: Vec<Target>, slots: &[Target], flow: &Flow) -> Vec<Branch> {
    let leaves = |entity: &str, targets: &[Target]| {
        let leaf = |target: &Target| Leaf {
            path: format!("{entity}.{}", target.name),
            label: target.label.clone(),
            value: target.kind.clone(),
        };
        targets.iter().map(leaf).collect()
    };
    let mut branches = vec![Branch {
        name: "lead".into(),
        label: "Lead fields".into(),
        places: leaves("lead", &leads),
    }];
    if flow.entity == Entity::Activity {
        branches.insert(
            0,
            Branch {
                name: "activity".into(),
                label: "Activity fields".into(),
                places: leaves("activity", slots),
            },
        );
    }
    branches
}

/// Outbound: the places of the template.
fn as_targets(branches: Vec<Branch>) -> Vec<Target> {
    let leaves = branches.into_iter().flat_map(|branch| branch.places);
    let target = |leaf: Leaf| Target {
        name: leaf.path,
        label: leaf.label,
        kind: "HL7".into(),
        marks: Vec::new(),
        options: Vec::new(),
    };
    leaves.map(target).collect()
}

/// Rows for fields that have none yet.
fn proposals(sample: &Message, fields: &[Field], document: &Document) -> Vec<Proposed> {
    let mapped: BTreeSet<&str> = document
        .lead
        .iter()
        .map(|row| row.target.as_ref())
        .collect();
    let fields = fields
        .iter()
        .filter(|field| !mapped.contains(field.schema_name.as_str()));
    let fields: Vec<_> = fields
        .map(|field| propose::Field {
            name: field.schema_name.clone(),
            label: field.display_name.clone(),
            data_type: field.data_type.clone(),
            options: field.options.clone(),
        })
        .collect();
    let rows = propose::rows(sample, &fields).into_iter().take(40);
    let rows = rows.map(|proposal| Proposed {
        row: row_as_json(proposal.row),
        confidence: proposal.confidence,
        why: proposal.why,
    });
    rows.collect()
}

fn row_as_json(row: Row) -> Value {
    let mut document = Document::new(Direction::EhrToLeadSquared, "row");
    document.lead.push(row);
    let mut json = as_json(&document.to_text());
    json["lead"][0].take()
}

/// Makes a release of what the screen sends, not yet in force; of a shared document, one for each flow.
pub async fn save(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
    form: Form,
) -> Result<Response, Fault> {
    let id = part(&params, "id")?;
    let document: Option<Value> = serde_json::from_str(form.raw("document")).ok();
    let text = match document {
        Some(document) => from_json(document),
        None => Err(Error::bad("the screen sent no document: load it again")),
    };
    let saved = match text {
        Ok(text) => Box::pin(propose(&web, &visit, &id, text)).await,
        Err(fault) => Err(fault),
    };
    Ok(match saved {
        Ok((to, text)) => done(&visit, &to, text),
        Err(fault) => refused(&visit, &format!("/flows/{id}/mapping"), &fault),
    })
}

/// Keeps a document; gives where it is decided on, and what to say.
async fn propose(
    web: &Web,
    visit: &Visit,
    id: &str,
    text: String,
) -> Result<(String, &'static str), Error> {
    let flow = flows::kept(&web.pipeline.store.catalog(), id)
        .await?
        .document;
    let body = Unread::of(json!({ "mapping": text }));
    match &flow.shared_mapping {
        Some(name) => {
            let (headers, account) = (&visit.headers, &flow.account);
            let making = shared_mappings::propose(web, headers, account, name, body);
            Box::pin(making).await?;
            let to = shared_mapping::path(account.as_str(), name);
            Ok((
                to,
                "The mapping is saved: a candidate for each flow that shares it.",
            ))
        }
        None => {
            let making = releases::propose(web, &visit.headers, id, body);
            let candidate = Box::pin(making).await?;
            let to = format!("/flows/{id}/start?release={}", candidate.digest);
            Ok((to, "The mapping is saved as a draft release."))
        }
    }
}
