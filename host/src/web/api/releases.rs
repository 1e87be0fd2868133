//! Releases of a flow: made beside the one in force, looked at, and let go of. Putting one in force is in `activation`.

use axum::extract::{RawPathParams, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::{Body, Unread, json};
use super::error::{Error, Problem};
use super::flows::{self, NOUN};
use super::list::{Page, part};
use super::{rfc3339, shared_mappings};
use crate::access::Right;
use crate::flow::check::Fault;
use crate::flow::{Digest, Flow, Grants, Release, Status};
use crate::pipeline::activate::{self, Ready, Source};
use crate::store::catalog::history::FlowVersion;
use crate::store::catalog::{Catalog, Change};
use crate::web::Web;

/// A release, and when it was in force.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReleaseView {
    digest: Digest,
    release: Release,
    created_at: String,
    /// Whether the flow names it now.
    is_active: bool,
    /// Each time that it came into force, newest first.
    activations: Vec<ActivationView>,
}

/// That a release came into force.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ActivationView {
    at: String,
    by: String,
}

/// A release that was made and is not in force.
#[derive(Debug, Serialize, ToSchema)]
pub struct Candidate {
    pub(in crate::web) digest: Digest,
    release: Release,
    /// What the component asks for and is not granted, in words.
    not_granted: Vec<String>,
    /// What would change beside the release in force, in words.
    differences: Vec<String>,
}

impl Candidate {
    pub(super) fn component(&self) -> &Digest {
        &self.release.component
    }
}

/// Of what a release is to be made: a mapping document, or an uploaded component.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "read member by member, so that faults have their place"
)]
pub struct CandidateInput {
    /// The text of a mapping document; its component is generated.
    mapping: Option<String>,
    /// The digest of a component of the account.
    component: Option<Digest>,
    /// What an uploaded component may read and write.
    grants: Option<Grants>,
}

/// What a release is to be made of.
pub(super) enum Wanted {
    Mapping(String),
    Component(Digest),
    /// One that was made before.
    Release(Digest),
    /// The one that the flow has.
    Active,
}

impl Wanted {
    pub(super) fn of(body: &mut Body) -> Result<Self, Error> {
        let mapping: Option<String> = body.optional("mapping", "flows.mapping")?;
        let component: Option<Digest> = body.optional("component", "flows.component")?;
        let release: Option<Digest> = body.optional("release", "flows.release")?;
        match (mapping, component, release) {
            (Some(text), None, None) => Ok(Self::Mapping(text)),
            (None, Some(digest), None) => Ok(Self::Component(digest)),
            (None, None, Some(digest)) => Ok(Self::Release(digest)),
            (None, None, None) => Ok(Self::Active),
            _ => {
                let text = "name a mapping, a component or a release, not several";
                Err(Error::invalid(NOUN, vec![Fault::new("mapping", text)]))
            }
        }
    }
}

/// Whether a flow has been in force with a release, now or before: what is unusual about it was confirmed then.
pub(super) async fn was_in_force(
    catalog: &Catalog,
    flow: &Flow,
    release: &Digest,
) -> Result<bool, Error> {
    let versions = catalog.flow_versions(&flow.account, &flow.id).await?;
    let is_it =
        |flow: &Flow| flow.status != Status::Draft && flow.release.as_ref() == Some(release);
    Ok(is_it(flow) || versions.iter().any(|version| is_it(&version.flow)))
}

/// The component of an account that a digest names.
pub(super) async fn kept_component(
    catalog: &Catalog,
    flow: &Flow,
    digest: &Digest,
) -> Result<Source, Error> {
    let rows = catalog.components(&flow.account).await?;
    let row = rows.into_iter().find(|row| row.digest == *digest);
    let bytes = catalog.component_bytes(&flow.account, digest).await?;
    match (row, bytes) {
        (Some(row), Some(bytes)) => Ok(Source::Kept {
            document: row.document,
            bytes,
        }),
        _ => {
            let text = format!("the account has no component {digest}: upload it first");
            Err(Error::invalid(NOUN, vec![Fault::new("component", text)]))
        }
    }
}

/// The release of a flow that a digest names.
pub(super) async fn of_flow(
    catalog: &Catalog,
    flow: &Flow,
    digest: &Digest,
) -> Result<Release, Error> {
    let release = catalog.release(&flow.account, digest).await?;
    let release = release.filter(|release| release.flow == flow.id);
    release.ok_or_else(|| {
        let text = format!("the flow has no release {digest}");
        Error::invalid(NOUN, vec![Fault::new("release", text)])
    })
}

/// Makes a release of `source` for `flow`, with the grants that a person approves; `said` is what the caller approves.
pub(super) async fn prepare(
    web: &Web,
    flow: &mut Flow,
    source: Source,
    said: Option<&Grants>,
) -> Result<Ready, Error> {
    let catalog = web.pipeline.store.catalog();
    let active = flows::release_of(&catalog, flow).await?;
    let tables = catalog.code_tables(&flow.account).await?;
    let preparing = activate::prepare_anew(&web.pipeline.runtime, flow, source, &tables);
    let mut ready = Box::pin(preparing).await?;
    let approved = ready.approve(flow, said, active.as_ref());
    approved.map_err(|more| {
        let wishes = activate::wishes(&more);
        let text = format!(
            "the component asks for what nobody has approved yet: {}. Send `grants` with what it may have",
            wishes.join(", ")
        );
        Error::invalid(NOUN, vec![Fault::new("grants", text)])
    })?;
    Ok(ready)
}

/// Lists the releases of a flow, newest first.
#[utoipa::path(get, path = "/api/v1/flows/{id}/releases", tag = "releases", params(("id" = String, Path)),
    responses((status = 200, body = Page<ReleaseView>), (status = "default", body = Problem)))]
pub async fn list(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<Response, Error> {
    web.may(&headers, Right::View).await?;
    let catalog = web.pipeline.store.catalog();
    let flow = flows::kept(&catalog, &part(&params, "id")?).await?.document;
    let versions = catalog.flow_versions(&flow.account, &flow.id).await?;
    let rows = catalog.releases(&flow.account, &flow.id).await?;
    let items = rows.into_iter().map(|row| ReleaseView {
        is_active: flow.release.as_ref() == Some(&row.digest),
        activations: activations(&versions, &row.digest),
        release: row.release,
        created_at: rfc3339(row.created_at_ms),
        digest: row.digest,
    });
    let page = Page {
        items: items.collect(),
        next: None,
    };
    Ok(json(StatusCode::OK, &page))
}

/// When versions of a flow, newest first, brought a release into force.
fn activations(versions: &[FlowVersion], digest: &Digest) -> Vec<ActivationView> {
    let runs = |version: &FlowVersion| {
        version.flow.status != Status::Draft && version.flow.release.as_ref() == Some(digest)
    };
    let before = versions.iter().skip(1).map(Some).chain([None]);
    let begun = versions.iter().zip(before);
    let begun = begun.filter(|(version, before)| runs(version) && !before.is_some_and(runs));
    begun
        .map(|(version, _)| ActivationView {
            at: rfc3339(version.created_at_ms),
            by: version.author.clone(),
        })
        .collect()
}

/// Makes a release without putting it in force, and says what it would change.
#[utoipa::path(post, path = "/api/v1/flows/{id}/releases", tag = "releases", params(("id" = String, Path)),
    request_body = CandidateInput,
    responses((status = 201, body = Candidate), (status = "default", body = Problem)))]
pub async fn create(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
    sent: Unread,
) -> Result<Response, Error> {
    let candidate = Box::pin(propose(&web, &headers, &part(&params, "id")?, sent)).await?;
    Ok(json(StatusCode::CREATED, &candidate))
}

/// What [`create`] does, for a page.
pub(in crate::web) async fn propose(
    web: &Web,
    headers: &HeaderMap,
    id: &str,
    sent: Unread,
) -> Result<Candidate, Error> {
    let caller = web.may(headers, Right::Map).await?;
    let mut body = sent.read().await?;
    let wanted = Wanted::of(&mut body)?;
    let grants: Option<Grants> = body.optional("grants", "flows.grants")?;
    body.end(NOUN, &[])?;
    if grants.is_some() {
        // To approve is to decide what a vendor's component sees of a patient.
        caller.may(Right::Publish)?;
    }
    let catalog = web.pipeline.store.catalog();
    let flow = flows::kept(&catalog, id).await?.document;
    shared_mappings::alone(&flow, &wanted)?;
    let source = match wanted {
        Wanted::Mapping(text) => Source::Document(text),
        Wanted::Component(digest) => kept_component(&catalog, &flow, &digest).await?,
        Wanted::Release(_) | Wanted::Active => {
            let text = "send a mapping or the digest of a component";
            return Err(Error::invalid(NOUN, vec![Fault::new("mapping", text)]));
        }
    };
    let making = candidate(web, flow, source, grants.as_ref());
    let (candidate, _, changes) = Box::pin(making).await?;
    catalog.apply(&changes, &caller.author()).await?;
    Ok(candidate)
}

/// A candidate of `source` for a flow, the mapping document that it was generated of in its one form, and what is to be
/// kept.
pub(super) async fn candidate(
    web: &Web,
    mut flow: Flow,
    source: Source,
    grants: Option<&Grants>,
) -> Result<(Candidate, String, [Change; 2]), Error> {
    let catalog = web.pipeline.store.catalog();
    let active = flows::release_of(&catalog, &flow).await?;
    let ready = prepare(web, &mut flow, source, grants).await?;
    let asked = ready.component.manifest.grants();
    let candidate = Candidate {
        digest: ready.release.digest(),
        not_granted: activate::wishes(&asked.beyond(&ready.release.grants)),
        differences: activate::differences(active.as_ref(), &ready.release),
        release: ready.release.clone(),
    };
    let document = ready.kept.document.clone();
    let changes = [
        Change::Component(flow.account.clone(), ready.kept),
        Change::Release(flow.account, ready.release),
    ];
    Ok((candidate, document, changes))
}

/// Lets go of a release that is not in force.
#[utoipa::path(delete, path = "/api/v1/flows/{id}/releases/{digest}", tag = "releases",
    params(("id" = String, Path), ("digest" = String, Path)),
    responses((status = 204), (status = "default", body = Problem)))]
pub async fn delete(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<StatusCode, Error> {
    let caller = web.may(&headers, Right::Publish).await?;
    let catalog = web.pipeline.store.catalog();
    let flow = flows::kept(&catalog, &part(&params, "id")?).await?.document;
    let digest = Digest::from(part(&params, "digest")?);
    let rows = catalog.releases(&flow.account, &flow.id).await?;
    if !rows.iter().any(|row| row.digest == digest) {
        return Err(Error::not_found(format!("release {digest}")));
    }
    let change = Change::DeleteRelease(flow.account, flow.id, digest);
    catalog.apply(&[change], &caller.author()).await?;
    Ok(StatusCode::NO_CONTENT)
}
