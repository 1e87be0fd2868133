//! A flow for another event: the settings and the mapping of one that is there.

use axum::extract::{RawPathParams, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use utoipa::ToSchema;

use super::body::Unread;
use super::error::{Error, Problem};
use super::flows::{self, Confirmed, FlowView, NOUN};
use super::inventory::release_of;
use super::list::part;
use super::{releases, shared_mappings};
use crate::access::Right;
use crate::flow::check::Fault;
use crate::flow::shared::SharedMapping;
use crate::flow::{Event, Flow, FlowId, Status};
use crate::mapping::document::Document;
use crate::pipeline::activate::Source;
use crate::store::catalog::{Change, Expected, Kept, Listing};
use crate::web::Web;

/// What is to be another than in the flow that is duplicated.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "read member by member, so that faults have their place"
)]
pub struct Duplicate {
    /// The event of the new flow.
    event: Event,
    /// Its id; one of the event is made if left out.
    id: Option<String>,
    /// Its name; what the standard calls the event if left out.
    name: Option<String>,
    /// Both share the mapping: what is changed in it changes for both. Else the new flow has a copy.
    share: Option<bool>,
}

/// An id that no flow has, made of an event: `adt-a04`, or `adt-a04-2` where there is one.
pub(in crate::web) fn free_id(listing: &Listing, event: &str, is_inbound: bool) -> String {
    let way = if is_inbound { "" } else { "-to-ehr" };
    let plain = format!("{}{way}", event.to_lowercase().replace('^', "-"));
    let taken = |id: &str| {
        let mut flows = listing.flows.iter();
        flows.any(|kept| kept.document.id.as_str() == id)
    };
    let ids = std::iter::once(plain.clone());
    let mut ids = ids.chain((2..).map(|number| format!("{plain}-{number}")));
    ids.find(|id| !taken(id)).unwrap_or(plain)
}

/// Makes a draft with the settings and the mapping of a flow, for another event. Its sample is its own: send one to the
/// new flow's template.
#[utoipa::path(post, path = "/api/v1/flows/{id}/duplicate", tag = "flows", params(("id" = String, Path)),
    request_body = Duplicate,
    responses((status = 201, body = FlowView), (status = "default", body = Problem)))]
pub async fn create(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
    sent: Unread,
) -> Result<Response, Error> {
    let id = part(&params, "id")?;
    let made = Box::pin(duplicate(&web, &headers, &id, sent)).await?;
    let catalog = web.pipeline.store.catalog();
    flows::answer(&catalog, made.as_str(), StatusCode::CREATED).await
}

/// What [`create`] does, for a page; gives the new flow's id.
pub(in crate::web) async fn duplicate(
    web: &Web,
    headers: &HeaderMap,
    id: &str,
    sent: Unread,
) -> Result<FlowId, Error> {
    let caller = web.may(headers, Right::Map).await?;
    let mut body = sent.read().await?;
    let event: Event = body.take("event", "flows.event")?;
    let id_wanted: Option<String> = body.optional("id", "flows.id")?;
    let name: Option<String> = body.optional("name", "flows.name")?;
    let share: Option<bool> = body.optional("share", "flows.share")?;
    body.end(NOUN, &[])?;
    let catalog = web.pipeline.store.catalog();
    let listing = catalog.list().await?;
    let Kept {
        document: before,
        version,
        ..
    } = flows::kept(&catalog, id).await?;
    if event == before.event {
        let text = "is that of the flow itself: name another event";
        return Err(Error::invalid(NOUN, vec![Fault::new("event", text)]));
    }
    let is_inbound = before.outbound.is_none();
    let new_id = id_wanted.unwrap_or_else(|| free_id(&listing, &event.to_string(), is_inbound));
    let release = release_of(&catalog, &before).await?;
    let shared = (share == Some(true)).then(|| {
        let own = before.shared_mapping.clone();
        own.unwrap_or_else(|| before.id.to_string())
    });
    if shared.is_some() && release.is_none() {
        let text = "the flow has no mapping yet: save it first";
        return Err(Error::invalid(NOUN, vec![Fault::new("share", text)]));
    }
    let mut flow = Flow {
        id: new_id.into(),
        name: name.unwrap_or_else(|| event.label().unwrap_or_else(|| event.to_string())),
        event,
        status: Status::Draft,
        release: None,
        fell_back: None,
        shared_mapping: shared.clone(),
        ..before.clone()
    };
    flows::check(web, &flow, None, Confirmed::all()).await?;
    let mut changes = Vec::new();
    if let Some((_, row)) = release {
        let source = releases::kept_component(&catalog, &before, &row.release.component).await?;
        let said = match &source {
            // Whoever lets a vendor's component see what another flow's sees decides that anew.
            Source::Kept { document, .. } if document.is_empty() => {
                caller.may(Right::Publish)?;
                Some(row.release.grants.clone())
            }
            _ => None,
        };
        flow.choices = row.release.choices();
        let source = match shared {
            Some(_) => of_both(web, source, &before, &flow).await?,
            None => of_event(source, &flow),
        };
        let ready = Box::pin(releases::prepare(web, &mut flow, source, said.as_ref())).await?;
        if let Some(name) = shared {
            let document = SharedMapping {
                account: flow.account.clone(),
                name: name.clone(),
                mapping: ready.kept.document.clone(),
                component: ready.component.digest.clone(),
            };
            changes.push(Change::SharedMapping(document, Expected::Any));
            if before.shared_mapping.is_none() {
                // What is in force is somebody else's decision.
                if before.status != Status::Draft {
                    caller.may(Right::Publish)?;
                }
                let sharing = Flow {
                    shared_mapping: Some(name),
                    ..before
                };
                changes.push(Change::Flow(Box::new(sharing), Expected::Version(version)));
            }
        }
        changes.push(Change::Component(flow.account.clone(), ready.kept));
        changes.push(Change::Release(flow.account.clone(), ready.release));
    }
    let made = flow.id.clone();
    changes.push(Change::Flow(Box::new(flow), Expected::New));
    catalog.apply(&changes, &caller.author()).await?;
    web.pipeline.put_in_force().await;
    Ok(made)
}

/// The document that both flows share.
async fn of_both(web: &Web, source: Source, before: &Flow, flow: &Flow) -> Result<Source, Error> {
    let kept = shared_mappings::of_flow(web, before).await?;
    let text = match (kept, source) {
        (Some(kept), _) => kept.mapping,
        (None, Source::Document(text)) => text,
        (None, Source::Kept { document, .. }) if !document.is_empty() => document,
        (None, _) => {
            let text = "its component is uploaded, so there is no mapping to share";
            return Err(Error::invalid(NOUN, vec![Fault::new("share", text)]));
        }
    };
    let both = [before, flow].into_iter();
    Ok(Source::Document(shared_mappings::for_events(text, both)))
}

/// A mapping document that names its events names the new flow's instead.
fn of_event(source: Source, flow: &Flow) -> Source {
    match source {
        Source::Kept { document, bytes } => match Document::parse(&document) {
            Ok(mut parsed) if !document.is_empty() && !parsed.events.is_empty() => {
                parsed.events = vec![flow.event.clone()];
                Source::Document(parsed.to_text())
            }
            _ => Source::Kept { document, bytes },
        },
        other => other,
    }
}
