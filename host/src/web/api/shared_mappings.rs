//! Mapping documents that several flows share: one save makes a candidate of each flow, one decision puts them in force.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::{RawPathParams, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::activation::{self, Activating};
use super::body::{Unread, json};
use super::error::{Error, Problem};
use super::flows::{self, Confirmed};
use super::lacking::Lack;
use super::list::{Asked, Page, Which, part};
use super::releases::{self, Wanted};
use super::{lacking, rfc3339, shadows};
use crate::access::Right;
use crate::flow::check::Fault;
use crate::flow::shared::{self, SharedMapping};
use crate::flow::{AccountId, Digest, Flow, FlowId, Status};
use crate::mapping::document::{Document, changes};
use crate::pipeline::activate::{self, Source};
use crate::store::catalog::release::ReleaseRow;
use crate::store::catalog::{Change, ComponentRow, Expected, Kept};
use crate::web::Web;

const NOUN: &str = "shared-mappings";

/// A mapping document that several flows share.
#[derive(Debug, Serialize, ToSchema)]
pub struct SharedMappingView {
    pub(in crate::web) account: AccountId,
    pub(in crate::web) name: String,
    /// Its text; none before it is first saved.
    mapping: Option<String>,
    updated_at: Option<String>,
    pub(in crate::web) flows: Vec<Sharer>,
}

/// A flow that shares the document.
#[derive(Debug, Serialize, ToSchema)]
pub struct Sharer {
    pub(in crate::web) flow: FlowId,
    pub(in crate::web) name: String,
    /// `draft`, `active` or `paused`.
    pub(in crate::web) status: &'static str,
    /// To be sent with what is decided of it.
    pub(in crate::web) version: i64,
    /// The release in force.
    release: Option<Digest>,
    /// Its newest release of the document as it stands, unless that is in force.
    pub(in crate::web) candidate: Option<Digest>,
    /// What the candidate would change, in words.
    pub(in crate::web) changes: Vec<String>,
    /// What the candidate writes and the account lacks.
    pub(in crate::web) lacking: Vec<String>,
    /// The candidate comes into force only when a shadow run has proven it, and none has.
    pub(in crate::web) needs_shadow: bool,
}

/// The text of the document, for all flows that share it.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "read member by member, so that faults have their place"
)]
pub struct SharedMappingInput {
    mapping: String,
}

/// What was made of the document.
#[derive(Debug, Serialize, ToSchema)]
pub struct Candidates {
    items: Vec<OfFlow>,
}

/// The candidate of one flow.
#[derive(Debug, Serialize, ToSchema)]
pub struct OfFlow {
    flow: FlowId,
    candidate: releases::Candidate,
}

/// Which candidates come into force, all of them or none.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "read member by member, so that faults have their place"
)]
pub struct SharedActivation {
    flows: Vec<Decided>,
    /// A search field that LeadSquared does not show as unique is meant all the same.
    confirm_not_unique: Option<bool>,
    /// A flow to the EHR without a condition is meant to send every lead.
    confirm_no_condition: Option<bool>,
    /// Fields that the flows write and the account lacks are made in LeadSquared first; needs the right `administer`.
    make_fields: Option<bool>,
    /// The flows shall run although the account lacks fields that they write.
    confirm_lacking: Option<bool>,
}

/// What was decided of one flow.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Decided {
    flow: FlowId,
    /// Its release that comes into force.
    release: Digest,
    /// The version of the flow that was seen.
    version: i64,
}

/// The flows that share a document; not found where none does.
pub(in crate::web) async fn sharers(
    web: &Web,
    account: &AccountId,
    name: &str,
) -> Result<Vec<Kept<Flow>>, Error> {
    let flows = web.pipeline.store.catalog().list().await?.flows;
    let shares = |kept: &Kept<Flow>| {
        let alone = std::iter::once(&kept.document);
        shared::sharers(alone, account, name).next().is_some()
    };
    let sharing: Vec<_> = flows.into_iter().filter(shares).collect();
    match sharing.is_empty() {
        true => Err(Error::not_found(format!("flow that shares mapping {name}"))),
        false => Ok(sharing),
    }
}

/// The shared document of a flow as it stands; none where it shares none, or it was never saved.
pub(in crate::web) async fn of_flow(
    web: &Web,
    flow: &Flow,
) -> Result<Option<SharedMapping>, Error> {
    let Some(name) = &flow.shared_mapping else {
        return Ok(None);
    };
    let catalog = web.pipeline.store.catalog();
    let kept = catalog.shared_mapping(&flow.account, name).await?;
    Ok(kept.map(|kept| kept.document))
}

/// Refuses a document for one flow alone where others share it.
pub(super) fn alone(flow: &Flow, wanted: &Wanted) -> Result<(), Error> {
    match (&flow.shared_mapping, wanted) {
        (Some(name), Wanted::Mapping(_)) => {
            let text = format!(
                "the flow shares its mapping {name:?} with others: send it to \
                 /api/v1/shared-mappings/{}/{name}/releases, or take the flow out first (`shared_mapping`)",
                flow.account
            );
            Err(Error::invalid(
                flows::NOUN,
                vec![Fault::new("mapping", text)],
            ))
        }
        _ => Ok(()),
    }
}

/// A document for several flows names the events of all of them, if it names any.
pub(super) fn for_events<'a>(text: String, flows: impl Iterator<Item = &'a Flow>) -> String {
    match Document::parse(&text) {
        Ok(mut document) if !document.events.is_empty() => {
            for flow in flows {
                if !document.events.contains(&flow.event) {
                    document.events.push(flow.event.clone());
                }
            }
            document.to_text()
        }
        _ => text,
    }
}

/// Lists shared mappings by account and name.
#[utoipa::path(get, path = "/api/v1/shared-mappings", tag = "shared mappings", params(Which),
    responses((status = 200, body = Page<SharedMappingView>), (status = "default", body = Problem)))]
pub async fn list(
    State(web): State<Web>,
    headers: HeaderMap,
    Asked(which): Asked<Which>,
) -> Result<Response, Error> {
    web.may(&headers, Right::View).await?;
    let flows = web.pipeline.store.catalog().list().await?.flows;
    let flows = flows.into_iter().map(|kept| kept.document);
    let named = flows.filter_map(|flow| Some((flow.account, flow.shared_mapping?)));
    let mut views = Vec::new();
    for (account, name) in named.collect::<BTreeSet<_>>() {
        if which.wants(account.as_str()) {
            let key = format!("{account}/{name}");
            views.push((key, Box::pin(view(&web, &account, &name)).await?));
        }
    }
    Ok(json(StatusCode::OK, &which.page(views)))
}

/// Shows a shared mapping, and what it would change in each of its flows.
#[utoipa::path(get, path = "/api/v1/shared-mappings/{account}/{name}", tag = "shared mappings",
    params(("account" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = SharedMappingView), (status = "default", body = Problem)))]
pub async fn show(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<Response, Error> {
    web.may(&headers, Right::View).await?;
    let (account, name) = place(&params)?;
    Ok(json(
        StatusCode::OK,
        &Box::pin(view(&web, &account, &name)).await?,
    ))
}

fn place(params: &RawPathParams) -> Result<(AccountId, String), Error> {
    Ok((part(params, "account")?.into(), part(params, "name")?))
}

/// What [`show`] gives, for a page.
pub(in crate::web) async fn view(
    web: &Web,
    account: &AccountId,
    name: &str,
) -> Result<SharedMappingView, Error> {
    let catalog = web.pipeline.store.catalog();
    let sharing = sharers(web, account, name).await?;
    let kept = catalog.shared_mapping(account, name).await?;
    let components = catalog.components(account).await?;
    let component = kept.as_ref().map(|kept| &kept.document.component);
    let mut flows = Vec::new();
    for sharer in sharing {
        let rows = catalog.releases(account, &sharer.document.id).await?;
        let sharer = standing(web, sharer, component, &rows, &components);
        flows.push(Box::pin(sharer).await?);
    }
    Ok(SharedMappingView {
        account: account.clone(),
        name: name.to_owned(),
        updated_at: kept.as_ref().map(|kept| rfc3339(kept.updated_at_ms)),
        mapping: kept.map(|kept| kept.document.mapping),
        flows,
    })
}

async fn standing(
    web: &Web,
    kept: Kept<Flow>,
    component: Option<&Digest>,
    rows: &[ReleaseRow],
    components: &[ComponentRow],
) -> Result<Sharer, Error> {
    let flow = kept.document;
    let of = |digest: Option<&Digest>| rows.iter().find(|row| Some(&row.digest) == digest);
    let active = of(flow.release.as_ref());
    // Releases are listed newest first.
    let newest = rows
        .iter()
        .find(|row| Some(&row.release.component) == component);
    let is_in_force = |row: &&ReleaseRow| {
        flow.status != Status::Draft
            && active.is_some_and(|active| active.release.component == row.release.component)
    };
    let candidate = newest.filter(|row| !is_in_force(row));
    let text = |row: &ReleaseRow| {
        let mut known = components.iter();
        let component = known.find(|known| known.digest == row.release.component);
        component.and_then(|component| Document::parse(&component.document).ok())
    };
    let said = match (active, candidate) {
        (Some(active), Some(candidate)) => match (text(active), text(candidate)) {
            (Some(before), Some(after)) => changes(&before, &after),
            _ => activate::differences(Some(&active.release), &candidate.release),
        },
        _ => Vec::new(),
    };
    let (needs_shadow, lack) = match candidate {
        Some(row) => {
            let lack = Box::pin(lacking::of(web, &flow, Some(&row.digest))).await;
            let proof = shadows::proof_of(web, &flow, &row.digest).await?;
            (proof.is_err(), lack.unwrap_or_default())
        }
        None => (false, Lack::default()),
    };
    Ok(Sharer {
        status: match flow.status {
            Status::Draft => "draft",
            Status::Active => "active",
            Status::Paused(_) => "paused",
        },
        version: kept.version,
        candidate: candidate.map(|row| row.digest.clone()),
        changes: said,
        lacking: lack.names(),
        needs_shadow,
        release: flow.release,
        name: flow.name,
        flow: flow.id,
    })
}

/// Saves the document and makes a release of it for each of its flows; none is in force by that.
#[utoipa::path(post, path = "/api/v1/shared-mappings/{account}/{name}/releases", tag = "shared mappings",
    params(("account" = String, Path), ("name" = String, Path)), request_body = SharedMappingInput,
    responses((status = 201, body = Candidates), (status = "default", body = Problem)))]
pub async fn create(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
    sent: Unread,
) -> Result<Response, Error> {
    let (account, name) = place(&params)?;
    let made = Box::pin(propose(&web, &headers, &account, &name, sent)).await?;
    Ok(json(StatusCode::CREATED, &made))
}

/// What [`create`] does, for a page.
pub(in crate::web) async fn propose(
    web: &Web,
    headers: &HeaderMap,
    account: &AccountId,
    name: &str,
    sent: Unread,
) -> Result<Candidates, Error> {
    let caller = web.may(headers, Right::Map).await?;
    let mut body = sent.read().await?;
    let mapping: String = body.take("mapping", NOUN)?;
    body.end(NOUN, &[])?;
    let sharing = sharers(web, account, name).await?;
    let text = for_events(mapping, sharing.iter().map(|kept| &kept.document));
    let mut all = Vec::new();
    let mut items = Vec::new();
    let mut document = None;
    for kept in sharing {
        let id = kept.document.id.clone();
        let source = Source::Document(text.clone());
        let making = releases::candidate(web, kept.document, source, None);
        let (candidate, kept, changes) = Box::pin(making).await.map_err(|fault| fault.of(&id))?;
        document = Some(SharedMapping {
            account: account.clone(),
            name: name.to_owned(),
            mapping: kept,
            component: candidate.component().clone(),
        });
        all.extend(changes);
        items.push(OfFlow {
            flow: id,
            candidate,
        });
    }
    all.extend(document.map(|document| Change::SharedMapping(document, Expected::Any)));
    let catalog = web.pipeline.store.catalog();
    catalog.apply(&all, &caller.author()).await?;
    Ok(Candidates { items })
}

/// Puts candidates of several flows in force at once: all of those that are named, or none.
#[utoipa::path(post, path = "/api/v1/shared-mappings/{account}/{name}/activate", tag = "shared mappings",
    params(("account" = String, Path), ("name" = String, Path)), request_body = SharedActivation,
    responses((status = 200, body = SharedMappingView), (status = "default", body = Problem)))]
pub async fn activate(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
    sent: Unread,
) -> Result<Response, Error> {
    let caller = web.may(&headers, Right::Publish).await?;
    let mut body = sent.read().await?;
    let (account, name) = place(&params)?;
    let decided: Vec<Decided> = body.take("flows", NOUN)?;
    let confirmed = Confirmed::of(&mut body)?;
    let lacking = lacking::Said::of(&mut body)?;
    body.end(NOUN, &[])?;
    let sharing = sharers(&web, &account, &name).await?;
    let mut flows: BTreeMap<_, _> = sharing
        .into_iter()
        .map(|kept| (kept.document.id.clone(), kept))
        .collect();
    if decided.is_empty() {
        let fault = Fault::new("flows", "name at least one flow");
        return Err(Error::invalid(NOUN, vec![fault]));
    }
    let mut all = Vec::new();
    for Decided {
        flow: id,
        release,
        version,
    } in decided
    {
        // Whoever names a flow twice has not made up their mind.
        let kept = flows
            .remove(&id)
            .ok_or_else(|| Error::not_found(format!("flow {id} among those that share {name}")))?;
        if kept.version != version {
            let text = format!("flow {id} changed: read it again first");
            return Err(Error::new(StatusCode::CONFLICT, "conflict", text));
        }
        let proof = shadows::proof_of(&web, &kept.document, &release).await?;
        let proof = proof.map_err(|fault| fault.of(&id))?;
        let activating = Activating {
            wanted: Wanted::Release(release),
            grants: None,
            confirmed,
            lacking,
            shadow: proof,
        };
        let expected = Expected::Version(version);
        let making = activation::changes(&web, &caller, kept.document, expected, activating);
        let (changes, _) = Box::pin(making).await.map_err(|fault| fault.of(&id))?;
        all.extend(changes);
    }
    let catalog = web.pipeline.store.catalog();
    catalog.apply(&all, &caller.author()).await?;
    web.pipeline.put_in_force().await;
    Ok(json(
        StatusCode::OK,
        &Box::pin(view(&web, &account, &name)).await?,
    ))
}
