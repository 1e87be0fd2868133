//! Components: uploaded through the gate, known by their digest.

use axum::extract::{RawPathParams, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::body::{self, Unread, json};
use super::error::{Error, Problem};
use super::list::{Asked, Page, Which, part};
use super::{accounts, flows, rfc3339};
use crate::access::Right;
use crate::flow::limits::Limits;
use crate::flow::{AccountId, Digest, FlowId};
use crate::mapping::Manifest;
use crate::mapping::pack;
use crate::mapping::robust::Examination;
use crate::pipeline::upload::{self, Upload};
use crate::store::catalog::{Catalog, Change, ComponentRow};
use crate::web::Web;

/// A component that is kept.
#[derive(Debug, Serialize, ToSchema)]
pub struct ComponentView {
    account: AccountId,
    digest: Digest,
    /// `generated` of a mapping document, or `uploaded`.
    origin: String,
    /// The mapping document of a generated one, else empty.
    document: String,
    size_bytes: i64,
    created_at: String,
    /// What was found out when it was uploaded: the robustness run, who took it all the same, whose signature it has.
    #[schema(value_type = Object)]
    examination: Examination,
    /// What it was given of its own.
    limits: Limits,
    /// What it gets where nothing is said, and at most.
    defaults: Limits,
    ceilings: Limits,
    /// What it uses on this host, now and at most since the start; none where it was not loaded.
    used: Option<UsedView>,
}

/// What a component uses on one host.
#[derive(Debug, Serialize, ToSchema)]
pub struct UsedView {
    /// Runs now, and at most at once.
    running: u64,
    most_running: u64,
    runs: u64,
    /// Runs that ended with a trap or a limit.
    broke: u64,
    most_memory_bytes: u64,
    most_duration_us: u64,
}

/// A component that passed the gate.
#[derive(Debug, Serialize, ToSchema)]
pub struct Uploaded {
    digest: Digest,
    /// What the component says of itself.
    #[schema(value_type = Object)]
    manifest: Manifest,
    /// The robustness run, who took it all the same, whose signature it has.
    #[schema(value_type = Object)]
    examination: Examination,
}

/// Whose component it is, and what is asked of it.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Whose {
    pub(in crate::web) account: String,
    /// A flow of the account, whose template, settings and tables the component is tried with.
    pub(in crate::web) flow: Option<String>,
    /// Takes the component although it does not stand the robustness run; this is recorded.
    #[serde(default)]
    pub(in crate::web) accept_findings: bool,
}

/// Header of a detached signature, as `ligature plugin sign` writes it.
const SIGNATURE: &str = "x-ligature-signature";

fn view(web: &Web, account: &AccountId, row: ComponentRow) -> ComponentView {
    let runtime = &web.pipeline.runtime;
    let used = runtime.used(&row.digest).map(|used| UsedView {
        running: used.running,
        most_running: used.most_running,
        runs: used.runs,
        broke: used.broke,
        most_memory_bytes: used.most_memory_bytes,
        most_duration_us: used.most_duration_us,
    });
    ComponentView {
        limits: row.limits,
        defaults: runtime.defaults(),
        ceilings: Limits::CEILING,
        used,
        account: account.clone(),
        digest: row.digest,
        origin: row.origin,
        document: row.document,
        size_bytes: row.size_bytes,
        created_at: rfc3339(row.created_at_ms),
        examination: Examination::parse(&row.examination),
    }
}

async fn find(
    catalog: &Catalog,
    params: &RawPathParams,
) -> Result<(AccountId, ComponentRow), Error> {
    let (account, digest) = (part(params, "account")?, part(params, "digest")?);
    let account = AccountId::from(account);
    let mut components = catalog.components(&account).await?.into_iter();
    match components.find(|row| row.digest.as_str() == digest) {
        Some(row) => Ok((account, row)),
        None => Err(Error::not_found(format!("component {digest}"))),
    }
}

/// Lists components by account and digest.
#[utoipa::path(get, path = "/api/v1/components", tag = "components", params(Which),
    responses((status = 200, body = Page<ComponentView>), (status = "default", body = Problem)))]
pub async fn list(
    State(web): State<Web>,
    headers: HeaderMap,
    Asked(which): Asked<Which>,
) -> Result<Response, Error> {
    web.may(&headers, Right::View).await?;
    let catalog = web.pipeline.store.catalog();
    let mut found = Vec::new();
    for kept in catalog.list().await?.accounts {
        let account = kept.document.id;
        if which.wants(account.as_str()) {
            let rows = catalog.components(&account).await?;
            found.extend(rows.into_iter().map(|row| {
                let key = format!("{account}/{}", row.digest);
                (key, view(&web, &account, row))
            }));
        }
    }
    Ok(json(StatusCode::OK, &which.page(found)))
}

/// Takes a component, or a pack of one with its signature; what the gate refuses is not kept.
#[utoipa::path(post, path = "/api/v1/components", tag = "components",
    params(Whose, ("x-ligature-signature" = Option<String>, Header)),
    request_body(content = Vec<u8>, content_type = "application/wasm"),
    responses((status = 201, body = Uploaded), (status = "default", body = Problem)))]
pub async fn upload(
    State(web): State<Web>,
    headers: HeaderMap,
    Asked(whose): Asked<Whose>,
    request: Request,
) -> Result<Response, Error> {
    let caller = web.may(&headers, Right::Publish).await?;
    let catalog = web.pipeline.store.catalog();
    let account = accounts::kept(&catalog, &whose.account).await?.document;
    if let Some(flow) = &whose.flow {
        let flow = flows::kept(&catalog, flow).await?.document;
        if flow.account != account.id {
            return Err(Error::not_found(format!(
                "flow {} of account {}",
                flow.id, account.id
            )));
        }
    }
    let signature = headers.get(SIGNATURE);
    let signature = signature.map(|value| value.to_str().unwrap_or_default().to_owned());
    let bytes = body::bytes(request, pack::MAX_BYTES).await?.to_vec();
    let asked = Upload {
        bytes,
        signature,
        accepted_by: whose.accept_findings.then(|| caller.author().0),
    };
    let flow = whose.flow.map(FlowId::from);
    let taking = upload::take(&web.pipeline, &account, flow.as_ref(), asked);
    let taken = Box::pin(taking).await?;
    let uploaded = Uploaded {
        digest: taken.component.digest.clone(),
        manifest: taken.component.manifest.clone(),
        examination: taken.examination.clone(),
    };
    let mut changes: Vec<_> = taken
        .record(&account.id)
        .map(Change::Note)
        .into_iter()
        .collect();
    changes.push(Change::Component(account.id, taken.kept()));
    catalog.apply(&changes, &caller.author()).await?;
    Ok(json(StatusCode::CREATED, &uploaded))
}

/// Shows a component.
#[utoipa::path(get, path = "/api/v1/components/{account}/{digest}", tag = "components",
    params(("account" = String, Path), ("digest" = String, Path)),
    responses((status = 200, body = ComponentView), (status = "default", body = Problem)))]
pub async fn show(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<Response, Error> {
    web.may(&headers, Right::View).await?;
    let (account, row) = find(&web.pipeline.store.catalog(), &params).await?;
    Ok(json(StatusCode::OK, &view(&web, &account, row)))
}

/// Gives a component limits of its own; what is left out is the host's default again.
#[utoipa::path(put, path = "/api/v1/components/{account}/{digest}/limits", tag = "components",
    params(("account" = String, Path), ("digest" = String, Path)), request_body = Limits,
    responses((status = 200, body = ComponentView), (status = "default", body = Problem)))]
pub async fn limit(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
    sent: Unread,
) -> Result<Response, Error> {
    let caller = web.may(&headers, Right::Publish).await?;
    let mut body = sent.read().await?;
    let limits = Limits {
        deadline_ms: body.optional("deadline_ms", "limits")?,
        max_memory_mib: body.optional("max_memory_mib", "limits")?,
    };
    body.end("limits", &[])?;
    Error::check("limits", limits.faults())?;
    let catalog = web.pipeline.store.catalog();
    let (account, row) = find(&catalog, &params).await?;
    let change = Change::Limits(account, row.digest, limits);
    catalog.apply(&[change], &caller.author()).await?;
    web.pipeline.put_in_force().await;
    let (account, row) = find(&catalog, &params).await?;
    Ok(json(StatusCode::OK, &view(&web, &account, row)))
}

/// Gives a component's bytes.
#[utoipa::path(get, path = "/api/v1/components/{account}/{digest}/bytes", tag = "components",
    params(("account" = String, Path), ("digest" = String, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/wasm"), (status = "default", body = Problem)))]
pub async fn bytes(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<Response, Error> {
    web.may(&headers, Right::View).await?;
    let catalog = web.pipeline.store.catalog();
    let (account, row) = find(&catalog, &params).await?;
    let bytes = catalog.component_bytes(&account, &row.digest).await?;
    let bytes = bytes.ok_or_else(|| Error::not_found(format!("component {}", row.digest)))?;
    Ok(([(header::CONTENT_TYPE, "application/wasm")], bytes).into_response())
}

/// Deletes a component that no release names.
#[utoipa::path(delete, path = "/api/v1/components/{account}/{digest}", tag = "components",
    params(("account" = String, Path), ("digest" = String, Path)),
    responses((status = 204), (status = "default", body = Problem)))]
pub async fn delete(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<StatusCode, Error> {
    let caller = web.may(&headers, Right::Publish).await?;
    let catalog = web.pipeline.store.catalog();
    let (account, row) = find(&catalog, &params).await?;
    let change = Change::DeleteComponent(account, row.digest);
    catalog.apply(&[change], &caller.author()).await?;
    Ok(StatusCode::NO_CONTENT)
}
