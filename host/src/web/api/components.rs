//! Components: uploaded through the gate, known by their digest.

use axum::extract::{RawPathParams, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::body::{self, json};
use super::error::{Error, Problem};
use super::list::{Asked, Page, Which, part};
use super::{accounts, rfc3339};
use crate::access::Right;
use crate::flow::{AccountId, Digest};
use crate::mapping::{Manifest, gate};
use crate::pipeline::activate;
use crate::store::catalog::{Catalog, Change, ComponentRow, NewComponent};
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
}

/// A component that passed the gate.
#[derive(Debug, Serialize, ToSchema)]
pub struct Uploaded {
    digest: Digest,
    /// What the component says of itself.
    #[schema(value_type = Object)]
    manifest: Manifest,
}

/// Whose component it is.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Whose {
    pub(in crate::web) account: String,
}

fn view(account: &AccountId, row: ComponentRow) -> ComponentView {
    ComponentView {
        account: account.clone(),
        digest: row.digest,
        origin: row.origin,
        document: row.document,
        size_bytes: row.size_bytes,
        created_at: rfc3339(row.created_at_ms),
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
                (key, view(&account, row))
            }));
        }
    }
    Ok(json(StatusCode::OK, &which.page(found)))
}

/// Takes a component; what the gate refuses is not kept.
#[utoipa::path(post, path = "/api/v1/components", tag = "components", params(Whose),
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
    let account = accounts::kept(&catalog, &whose.account).await?.document.id;
    let bytes = body::bytes(request, gate::MAX_FILE_BYTES).await?.to_vec();
    let loading = activate::load(&web.pipeline.runtime, bytes.clone());
    let component = Box::pin(loading).await?;
    let kept = NewComponent {
        origin: "uploaded".into(),
        document: String::new(),
        bytes,
    };
    let change = Change::Component(account, kept);
    catalog.apply(&[change], &caller.author()).await?;
    let uploaded = Uploaded {
        digest: component.digest.clone(),
        manifest: component.manifest.clone(),
    };
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
    Ok(json(StatusCode::OK, &view(&account, row)))
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
