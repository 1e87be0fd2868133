//! Fields that a flow writes and its account lacks, and making all of them at once.

use axum::extract::{RawPathParams, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::{Body, json};
use super::error::{Error, Problem};
use super::inventory::release_of;
use super::list::{Page, part};
use super::{flows, metadata};
use crate::access::{Caller, Right};
use crate::flow::{Digest, Direction, Flow, Release};
use crate::pipeline::account::Field;
use crate::pipeline::account::custom::{Lacking, lacking};
use crate::pipeline::activate;
use crate::web::Web;

/// Fields that were made.
#[derive(Debug, Serialize, ToSchema)]
pub struct Made {
    pub fields: Vec<Field>,
}

/// What a release writes and its account does not have: LeadSquared refuses a whole record for one such field.
#[derive(Debug, Default)]
pub(in crate::web) struct Lack {
    /// Fields of leads that can be made.
    pub fields: Vec<Lacking>,
    /// Fields of leads that LeadSquared would not give such a name, and slots of the activity type.
    pub others: Vec<String>,
}

impl Lack {
    pub(in crate::web) fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.others.is_empty()
    }

    /// The names of all.
    pub(in crate::web) fn names(&self) -> Vec<String> {
        let fields = self.fields.iter().map(|one| one.schema_name.clone());
        fields.chain(self.others.iter().cloned()).collect()
    }
}

/// What a release of a flow writes and the account lacks: the newest release, if none is named.
pub(in crate::web) async fn of(
    web: &Web,
    flow: &Flow,
    release: Option<&Digest>,
) -> Result<Lack, Error> {
    // What a flow to the EHR writes are places of a message.
    if flow.direction != Direction::EhrToLeadSquared {
        return Ok(Lack::default());
    }
    let catalog = web.pipeline.store.catalog();
    let release = match release {
        Some(digest) => catalog.release(&flow.account, digest).await?,
        None => release_of(&catalog, flow)
            .await?
            .map(|(_, row)| row.release),
    };
    let Some(release) = release else {
        return Ok(Lack::default());
    };
    of_release(web, flow, &release, None).await
}

/// The same of a release that need not be kept yet: then `document` is the text of its mapping.
async fn of_release(
    web: &Web,
    flow: &Flow,
    release: &Release,
    document: Option<&str>,
) -> Result<Lack, Error> {
    if flow.direction != Direction::EhrToLeadSquared {
        return Ok(Lack::default());
    }
    let known = web.pipeline.lead_fields(&flow.account).await?.document;
    let mut written = activate::writes(release);
    let is_known = |name: &String| known.iter().any(|field| field.schema_name == *name);
    let fields = match document {
        _ if written.iter().all(is_known) => Vec::new(),
        Some(document) => lacking(document, &written, &known),
        None => {
            let catalog = web.pipeline.store.catalog();
            let components = catalog.components(&flow.account).await?;
            let mut components = components.into_iter();
            let component = components.find(|row| row.digest == release.component);
            let document = component.map(|row| row.document).unwrap_or_default();
            lacking(&document, &written, &known)
        }
    };
    written.retain(|name| !is_known(name) && !fields.iter().any(|one| one.schema_name == *name));
    let mut others: Vec<String> = written.into_iter().collect();
    if let Some(activity) = &flow.activity {
        let slots = web.pipeline.slots(&flow.account, activity.code);
        let slots = Box::pin(slots).await?.document;
        let mut written = activate::activity_writes(release);
        written.retain(|name| {
            let is_known = slots.iter().any(|slot| slot.schema_name == *name);
            name.starts_with("mx_Custom_") && !is_known
        });
        let code = activity.code;
        others.extend(
            written
                .iter()
                .map(|name| format!("{name} of activity type {code}")),
        );
    }
    Ok(Lack { fields, others })
}

/// Lists the fields that a flow writes and its account lacks, as they would be made.
#[utoipa::path(get, path = "/api/v1/flows/{id}/lacking-fields", tag = "metadata", params(("id" = String, Path)),
    responses((status = 200, body = Page<Lacking>), (status = "default", body = Problem)))]
pub async fn list(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<Response, Error> {
    web.may(&headers, Right::View).await?;
    let id = part(&params, "id")?;
    let flow = flows::kept(&web.pipeline.store.catalog(), &id)
        .await?
        .document;
    let page = Page {
        items: Box::pin(of(&web, &flow, None)).await?.fields,
        next: None,
    };
    Ok(json(StatusCode::OK, &page))
}

/// Makes every field in LeadSquared that a flow writes and its account lacks.
#[utoipa::path(post, path = "/api/v1/flows/{id}/lacking-fields", tag = "metadata", params(("id" = String, Path)),
    responses((status = 200, body = Made), (status = "default", body = Problem)))]
pub async fn make(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<Response, Error> {
    let made = Box::pin(make_all(&web, &headers, &part(&params, "id")?, None)).await?;
    Ok(json(StatusCode::OK, &made))
}

/// What [`make`] does, for a page; of a release that is not the newest, too.
pub(in crate::web) async fn make_all(
    web: &Web,
    headers: &HeaderMap,
    id: &str,
    release: Option<&Digest>,
) -> Result<Made, Error> {
    let caller = web.may(headers, Right::Administer).await?;
    let flow = flows::kept(&web.pipeline.store.catalog(), id)
        .await?
        .document;
    let lack = Box::pin(of(web, &flow, release)).await?;
    let fields = make_each(web, &caller, &flow, lack.fields).await?;
    Ok(Made { fields })
}

async fn make_each(
    web: &Web,
    caller: &Caller,
    flow: &Flow,
    lacking: Vec<Lacking>,
) -> Result<Vec<Field>, Error> {
    let mut fields = Vec::new();
    for one in lacking {
        let name = &one.field.display_name;
        metadata::note(web, caller, &flow.account, "lead-field", name).await?;
        let making = web
            .pipeline
            .create_lead_field(&flow.account, &one.field, &[]);
        fields.push(Box::pin(making).await?);
    }
    Ok(fields)
}

/// What was said of fields that the account may lack when a release comes into force.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Said {
    make: bool,
    confirmed: bool,
}

impl Said {
    /// The same of a release that is in force already: what it lacks was confirmed, or came about since.
    pub(super) fn of_one_in_force(self) -> Self {
        Self {
            confirmed: true,
            ..self
        }
    }

    /// Takes it out of a body.
    pub(super) fn of(body: &mut Body) -> Result<Self, Error> {
        let mut take = |name: &str| -> Result<bool, Error> {
            let said: Option<bool> = body.optional(name, flows::NOUN)?;
            Ok(said == Some(true))
        };
        Ok(Self {
            make: take("make_fields")?,
            confirmed: take("confirm_lacking")?,
        })
    }
}

/// Sees to it that the account has what a release writes: made where that was said, else refused until somebody confirms
/// that it is not there.
pub(super) async fn make_sure(
    web: &Web,
    caller: &Caller,
    flow: &Flow,
    (release, document): (&Release, Option<&str>),
    said: Said,
) -> Result<(), Error> {
    match said {
        Said { make: true, .. } => caller.may(Right::Administer)?,
        Said {
            confirmed: true, ..
        } => return Ok(()),
        _ => {}
    }
    let lack = Box::pin(of_release(web, flow, release, document)).await;
    let mut lack = match said.make {
        true => lack?,
        // What LeadSquared does not tell just now holds nobody up.
        false => lack.unwrap_or_default(),
    };
    if said.make && !lack.fields.is_empty() {
        let fields = std::mem::take(&mut lack.fields);
        make_each(web, caller, flow, fields).await?;
        lack = Box::pin(of_release(web, flow, release, document)).await?;
    }
    if lack.is_empty() || said.confirmed {
        return Ok(());
    }
    let text = format!(
        "the account does not have what the flow writes: {}. Let the fields be made first (`make_fields`), or confirm that it \
         shall start without them (`confirm_lacking`): LeadSquared refuses every record with a value for one of them",
        lack.names().join(", ")
    );
    Err(Error::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "lacking-fields",
        text,
    ))
}
