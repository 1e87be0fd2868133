//! Flows: drafts and changes; putting one in force is in `activation`.

use std::collections::BTreeSet;

use axum::extract::{RawPathParams, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::body::{Body, Seen, Unread, json, versioned};
use super::error::{Error, Problem};
use super::list::{Asked, Page, Which, part};
use super::{releases, rfc3339, shadows};
use crate::access::Right;
use crate::flow::check::{self, ActivityFacts, Facts, Fault};
use crate::flow::{Flow, FlowId, Release, Status, shared};
use crate::pipeline::shadow::Standing;
use crate::pipeline::webhooks::Subject;
use crate::pipeline::{account, activate};
use crate::store::catalog::history::FlowVersion;
use crate::store::catalog::{Catalog, Change, Expected, Kept, Listing};
use crate::web::Web;

pub(super) const NOUN: &str = "flows";

/// A flow as it stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct FlowView {
    flow: Flow,
    version: i64,
    updated_at: String,
    /// What the standard calls the event, such as `A04 - Register a patient`; none for one of the sender's own.
    event_label: Option<String>,
    /// The shadow run that proved the release; only in the answer to its activation.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    shadow: Option<Standing>,
    /// What a flow to the EHR must be told of and no webhook tells; only in the answer to its activation.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    missing_webhook: Option<Subject>,
    /// Flows that are told of the same change in LeadSquared: where the conditions of both hold, each sends a message. Only in
    /// the answers to its creation and activation.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    told_of_the_same: Vec<FlowId>,
}

/// A flow to be made, or with changes. Its status and release change by activating and pausing only.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "read member by member, so that faults have their place"
)]
pub struct FlowInput {
    flow: Flow,
    /// The version that was seen, for a change; or send it as `If-Match`.
    version: Option<i64>,
    /// A search field that LeadSquared does not show as unique is meant all the same.
    confirm_not_unique: Option<bool>,
    /// A flow to the EHR without a condition is meant to send every lead.
    confirm_no_condition: Option<bool>,
}

/// Which flows.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WhichFlows {
    /// Those of one account.
    account: Option<String>,
    /// Those of one channel.
    channel: Option<String>,
    /// `draft`, `active` or `paused`.
    status: Option<String>,
    /// Those behind this one: `next` of the page before.
    after: Option<String>,
    /// At most so many, up to 500.
    limit: Option<usize>,
}

/// A flow as it was.
#[derive(Debug, Serialize, ToSchema)]
pub struct FlowVersionView {
    version: i64,
    author: String,
    created_at: String,
    flow: Flow,
}

fn view(kept: Kept<Flow>) -> FlowView {
    FlowView {
        event_label: kept.document.event.label(),
        flow: kept.document,
        version: kept.version,
        updated_at: rfc3339(kept.updated_at_ms),
        shadow: None,
        missing_webhook: None,
        told_of_the_same: Vec::new(),
    }
}

/// Other flows that the same webhook sets going.
pub(in crate::web) fn told_of_the_same<'a>(
    listing: &'a Listing,
    flow: &'a Flow,
) -> impl Iterator<Item = &'a Flow> {
    let subject = Subject::of(flow);
    let others = listing.flows.iter().map(|kept| &kept.document);
    others.filter(move |other| {
        let is_other = other.account == flow.account && other.id != flow.id;
        is_other && subject.is_some() && Subject::of(other) == subject
    })
}

pub(in crate::web) async fn kept(catalog: &Catalog, id: &str) -> Result<Kept<Flow>, Error> {
    let mut flows = catalog.list().await?.flows.into_iter();
    let found = flows.find(|kept| kept.document.id.as_str() == id);
    found.ok_or_else(|| Error::not_found(format!("flow {id}")))
}

/// The flow as it stands now, as an answer.
pub(super) async fn answer(
    catalog: &Catalog,
    id: &str,
    status: StatusCode,
) -> Result<Response, Error> {
    let kept = kept(catalog, id).await?;
    let version = kept.version;
    Ok(versioned(status, &view(kept), version))
}

/// A flow that has just been made, or come into force: what proved its release, and what else is to be known of it.
pub(super) async fn begun(
    catalog: &Catalog,
    id: &str,
    status: StatusCode,
    (shadow, missing_webhook): (Option<Standing>, Option<Subject>),
) -> Result<Response, Error> {
    let kept = kept(catalog, id).await?;
    let version = kept.version;
    let listing = catalog.list().await?;
    let alike = told_of_the_same(&listing, &kept.document);
    let view = FlowView {
        shadow,
        missing_webhook,
        told_of_the_same: alike.map(|other| other.id.clone()).collect(),
        ..view(kept)
    };
    Ok(versioned(status, &view, version))
}

/// What a person has confirmed of a flow that is unusual.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Confirmed {
    not_unique: bool,
    no_condition: bool,
}

impl Confirmed {
    /// Of a draft that is like another flow, where whoever starts it is asked; or of a flow in force, where somebody was.
    pub(super) fn all() -> Self {
        Self {
            not_unique: true,
            no_condition: true,
        }
    }

    /// Takes the confirmations out of a body.
    pub(super) fn of(body: &mut Body) -> Result<Self, Error> {
        let mut take = |name: &str| -> Result<bool, Error> {
            let said: Option<bool> = body.optional(name, NOUN)?;
            Ok(said == Some(true))
        };
        Ok(Self {
            not_unique: take("confirm_not_unique")?,
            no_condition: take("confirm_no_condition")?,
        })
    }
}

/// Checks a flow beside everything that is configured; `release` is the one that it is to run with.
pub(super) async fn check(
    web: &Web,
    flow: &Flow,
    release: Option<&Release>,
    confirmed: Confirmed,
) -> Result<(), Error> {
    let store = &web.pipeline.store;
    let listing = store.catalog().list().await?;
    let mut faults = Vec::new();
    let mut accounts = listing.accounts.iter();
    let account = accounts.find(|kept| kept.document.id == flow.account);
    let mut channels = listing.channels.iter();
    let channel = channels
        .find(|kept| kept.document.account == flow.account && kept.document.id == flow.channel);
    match account {
        Some(kept) => {
            let flows = listing.flows.iter().map(|kept| &kept.document);
            let flows = flows.filter(|other| other.account == flow.account);
            let activity_writes = release.map(activate::activity_writes).unwrap_or_default();
            let facts = Facts {
                lead_fields: account::kept_uniqueness(store, &flow.account).await?,
                writes: release.map(activate::writes),
                confirmed_not_unique: confirmed.not_unique,
                confirmed_without_condition: confirmed.no_condition,
                would_have_sent: Box::pin(would_have_sent(web, flow, confirmed)).await,
                channel: channel.map(|kept| kept.document.kind()),
                lead_flows_to_ehr: Some(check::lead_flows_to_ehr(flows)),
                activity: Box::pin(activity(web, flow, &activity_writes)).await?,
                activity_writes,
            };
            faults.extend(check::flow(flow, &kept.document, &facts));
            let others = listing.flows.iter().map(|kept| &kept.document);
            faults.extend(shared::faults(flow, others));
        }
        None => faults.push(Fault::new(
            "account",
            format!("there is no account {}", flow.account),
        )),
    }
    if channel.is_none() {
        faults.push(Fault::new(
            "channel",
            format!("the account has no channel {}", flow.channel),
        ));
    }
    let mut flows = listing.flows.iter().map(|kept| &kept.document);
    if flows.any(|other| other.id == flow.id && other.account != flow.account) {
        faults.push(Fault::new("id", "another account has a flow of this id"));
    }
    Error::check(NOUN, faults)
}

/// What a flow without a condition would have sent of late, where it is about to be put in force unconfirmed.
async fn would_have_sent(web: &Web, flow: &Flow, confirmed: Confirmed) -> Option<String> {
    let outbound = flow.outbound.as_ref()?;
    let is_asked =
        flow.status != Status::Draft && outbound.condition.is_empty() && !confirmed.no_condition;
    match is_asked {
        true => Some(web.pipeline.would_have_sent(flow).await),
        false => None,
    }
}

/// What LeadSquared says of the activity type of a flow that is put in force.
async fn activity(
    web: &Web,
    flow: &Flow,
    writes: &BTreeSet<String>,
) -> Result<ActivityFacts, Error> {
    let Some(activity) = flow
        .activity
        .as_ref()
        .filter(|_| flow.status != Status::Draft)
    else {
        return Ok(ActivityFacts::Unread);
    };
    let own = [activity.key_field.as_str(), activity.moved.field.as_str()];
    let wanted: Vec<_> = own
        .into_iter()
        .chain(writes.iter().map(String::as_str))
        .collect();
    let facts = web
        .pipeline
        .activity_facts(&flow.account, activity.code, &wanted);
    Ok(facts.await?)
}

/// The release that a flow names.
pub(super) async fn release_of(catalog: &Catalog, flow: &Flow) -> Result<Option<Release>, Error> {
    match &flow.release {
        Some(digest) => Ok(catalog.release(&flow.account, digest).await?),
        None => Ok(None),
    }
}

/// Lists flows.
#[utoipa::path(get, path = "/api/v1/flows", tag = "flows", params(WhichFlows),
    responses((status = 200, body = Page<FlowView>), (status = "default", body = Problem)))]
pub async fn list(
    State(web): State<Web>,
    headers: HeaderMap,
    Asked(asked): Asked<WhichFlows>,
) -> Result<Response, Error> {
    web.may(&headers, Right::View).await?;
    let status = |flow: &Flow| match flow.status {
        Status::Draft => "draft",
        Status::Active => "active",
        Status::Paused(_) => "paused",
    };
    if let Some(word) = &asked.status
        && !["draft", "active", "paused"].contains(&word.as_str())
    {
        return Err(Error::bad("status is draft, active or paused"));
    }
    let which = Which {
        account: asked.account,
        after: asked.after,
        limit: asked.limit,
    };
    let is = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|w| w == found);
    let flows = web.pipeline.store.catalog().list().await?.flows;
    let flows = flows
        .into_iter()
        .filter(|kept| which.wants(kept.document.account.as_str()))
        .filter(|kept| is(&asked.channel, kept.document.channel.as_str()))
        .filter(|kept| is(&asked.status, status(&kept.document)))
        .map(|kept| (kept.document.id.to_string(), view(kept)));
    Ok(json(StatusCode::OK, &which.page(flows)))
}

/// Makes a flow as a draft.
#[utoipa::path(post, path = "/api/v1/flows", tag = "flows", request_body = FlowInput,
    responses((status = 201, body = FlowView), (status = "default", body = Problem)))]
pub async fn create(
    State(web): State<Web>,
    headers: HeaderMap,
    sent: Unread,
) -> Result<Response, Error> {
    let caller = web.may(&headers, Right::Map).await?;
    let mut body = sent.read().await?;
    let mut flow: Flow = body.take("flow", NOUN)?;
    let confirmed = Confirmed::of(&mut body)?;
    body.end(NOUN, &[])?;
    flow.fell_back = None;
    flow.canary = None;
    unchanged(&flow, &Status::Draft, None)?;
    check(&web, &flow, None, confirmed).await?;
    let catalog = web.pipeline.store.catalog();
    let id = flow.id.clone();
    let change = Change::Flow(Box::new(flow), Expected::New);
    catalog.apply(&[change], &caller.author()).await?;
    web.pipeline.put_in_force().await;
    Box::pin(begun(
        &catalog,
        id.as_str(),
        StatusCode::CREATED,
        (None, None),
    ))
    .await
}

/// Refuses a body that would put a flow in force, or out of it, by the way.
fn unchanged(
    flow: &Flow,
    status: &Status,
    release: Option<&crate::flow::Digest>,
) -> Result<(), Error> {
    let mut faults = Vec::new();
    if flow.status != *status {
        let text = "changes by POST …/activate and …/pause only";
        faults.push(Fault::new("status", text));
    }
    if flow.release.as_ref() != release {
        faults.push(Fault::new("release", "changes by POST …/activate only"));
    }
    Error::check(NOUN, faults)
}

/// Shows a flow.
#[utoipa::path(get, path = "/api/v1/flows/{id}", tag = "flows", params(("id" = String, Path)),
    responses((status = 200, body = FlowView), (status = "default", body = Problem)))]
pub async fn show(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<Response, Error> {
    web.may(&headers, Right::View).await?;
    let catalog = web.pipeline.store.catalog();
    answer(&catalog, &part(&params, "id")?, StatusCode::OK).await
}

/// Changes a flow; one that is in force is checked like one that is activated.
#[utoipa::path(put, path = "/api/v1/flows/{id}", tag = "flows", params(("id" = String, Path)),
    request_body = FlowInput,
    responses((status = 200, body = FlowView), (status = "default", body = Problem)))]
pub async fn save(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
    sent: Unread,
) -> Result<Response, Error> {
    let caller = web.may(&headers, Right::Map).await?;
    let mut body = sent.read().await?;
    let id = part(&params, "id")?;
    let seen = body.seen()?;
    let mut flow: Flow = body.take("flow", NOUN)?;
    let confirmed = Confirmed::of(&mut body)?;
    body.end(
        NOUN,
        &[
            "updated_at",
            "event_label",
            "shadow",
            "missing_webhook",
            "told_of_the_same",
        ],
    )?;
    let catalog = web.pipeline.store.catalog();
    let mut changes = Vec::new();
    let before = kept(&catalog, &id).await?;
    if seen.expected == Expected::Version(before.version) {
        let before = &before.document;
        // What is in force is somebody else's decision.
        if before.status != Status::Draft {
            caller.may(Right::Publish)?;
        }
        flow.fell_back.clone_from(&before.fell_back);
        flow.canary.clone_from(&before.canary);
        unchanged(&flow, &before.status, before.release.as_ref())?;
        for (path, same) in [
            ("id", before.id == flow.id),
            ("account", before.account == flow.account),
        ] {
            if !same {
                return Err(Error::invalid(
                    NOUN,
                    vec![Fault::new(path, "cannot change")],
                ));
            }
        }
        let release = release_of(&catalog, before).await?;
        match release {
            // Other choices are another release of the same component.
            Some(release) if flow.choices != before.choices => {
                let source = releases::kept_component(&catalog, &flow, &release.component);
                let (source, said) = (source.await?, flow.choices.grants.clone());
                let preparing = releases::prepare(&web, &mut flow, source, said.as_ref());
                let ready = Box::pin(preparing).await?;
                check(&web, &flow, Some(&ready.release), confirmed).await?;
                let digest = ready.release.digest();
                changes.extend(shadows::proven(&web, before, &digest).await?);
                changes.extend(ready.changes(flow, seen.expected));
            }
            release => {
                check(&web, &flow, release.as_ref(), confirmed).await?;
                changes.push(Change::Flow(Box::new(flow), seen.expected));
            }
        }
    } else {
        changes.push(Change::Flow(Box::new(flow), seen.expected));
    }
    catalog
        .apply(&changes, &caller.author())
        .await
        .map_err(|fault| seen.refuse(fault))?;
    web.pipeline.put_in_force().await;
    answer(&catalog, &id, StatusCode::OK).await
}

/// Deletes a flow; its deliveries stay to be seen, and those that were not carried out wait for a flow of its id.
#[utoipa::path(delete, path = "/api/v1/flows/{id}", tag = "flows", params(("id" = String, Path)),
    responses((status = 204), (status = "default", body = Problem)))]
pub async fn delete(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<StatusCode, Error> {
    let caller = web.may(&headers, Right::Map).await?;
    let seen = Seen::of(&headers)?;
    let catalog = web.pipeline.store.catalog();
    let flow = kept(&catalog, &part(&params, "id")?).await?.document;
    if flow.status != Status::Draft {
        caller.may(Right::Publish)?;
    }
    let change = Change::DeleteFlow(flow.account, flow.id, seen.expected);
    catalog
        .apply(&[change], &caller.author())
        .await
        .map_err(|fault| seen.refuse(fault))?;
    web.pipeline.put_in_force().await;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists the versions of a flow, newest first.
#[utoipa::path(get, path = "/api/v1/flows/{id}/versions", tag = "flows", params(("id" = String, Path)),
    responses((status = 200, body = Page<FlowVersionView>), (status = "default", body = Problem)))]
pub async fn versions(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<Response, Error> {
    web.may(&headers, Right::View).await?;
    let catalog = web.pipeline.store.catalog();
    let flow = kept(&catalog, &part(&params, "id")?).await?.document;
    let versions = catalog.flow_versions(&flow.account, &flow.id).await?;
    let items = versions
        .into_iter()
        .map(|kept: FlowVersion| FlowVersionView {
            version: kept.version,
            author: kept.author,
            created_at: rfc3339(kept.created_at_ms),
            flow: kept.flow,
        });
    let page = Page {
        items: items.collect(),
        next: None,
    };
    Ok(json(StatusCode::OK, &page))
}
