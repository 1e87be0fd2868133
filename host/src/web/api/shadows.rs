//! Shadow runs: a candidate release over stored messages, begun, watched, cancelled.

use axum::extract::{RawPathParams, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use utoipa::ToSchema;

use super::body::{Unread, json};
use super::error::{Error, Problem};
use super::flows;
use super::list::{Asked, Page, Which, part};
use super::releases::{self, Wanted};
use super::shared_mappings;
use crate::access::Right;
use crate::flow::check::Fault;
use crate::flow::shadow::Shadow;
use crate::flow::{Choices, Digest, Flow, Grants};
use crate::pipeline::activate::Source;
use crate::pipeline::shadow::proof::{self, Unproven};
use crate::pipeline::shadow::{Over, Standing};
use crate::store::catalog::Change;
use crate::web::Web;

const NOUN: &str = "shadows";

/// What is to be proven, and over which messages: one of `release`, `mapping` and `component`.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "read member by member, so that faults have their place"
)]
pub struct ShadowInput {
    /// The digest of a release of the flow.
    release: Option<Digest>,
    /// The text of a mapping document; a release of it is made.
    mapping: Option<String>,
    /// The digest of a component of the account; a release of it is made.
    component: Option<Digest>,
    /// What is said to the component instead of what the flow says.
    choices: Option<Choices>,
    /// What an uploaded component may read and write.
    grants: Option<Grants>,
    /// Messages that came from then on, RFC 3339; the last 24 hours if left out.
    from: Option<String>,
    /// Messages that came before then, RFC 3339; now if left out.
    to: Option<String>,
    /// The first so many, up to 100,000; 10,000 if left out.
    limit: Option<u64>,
}

async fn kept(web: &Web, id: &str) -> Result<Shadow, Error> {
    let shadow = web.pipeline.store.shadows().get(id).await?;
    shadow.ok_or_else(|| Error::not_found(format!("shadow run {id}")))
}

/// Lists shadow runs.
#[utoipa::path(get, path = "/api/v1/shadows", tag = "shadows", params(Which),
    responses((status = 200, body = Page<Standing>), (status = "default", body = Problem)))]
pub async fn list(
    State(web): State<Web>,
    headers: HeaderMap,
    Asked(which): Asked<Which>,
) -> Result<Response, Error> {
    web.may(&headers, Right::View).await?;
    let shadows = web.pipeline.store.shadows().list().await?;
    let wanted = shadows
        .iter()
        .filter(|shadow| which.wants(shadow.account.as_str()));
    let found = wanted.map(|shadow| (shadow.id.clone(), Standing::of(shadow)));
    Ok(json(StatusCode::OK, &which.page(found)))
}

/// Runs a candidate over stored messages beside the release in force, without any effect.
#[utoipa::path(post, path = "/api/v1/flows/{id}/shadows", tag = "shadows", params(("id" = String, Path)),
    request_body = ShadowInput,
    responses((status = 201, body = Standing), (status = "default", body = Problem)))]
pub async fn create(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
    sent: Unread,
) -> Result<Response, Error> {
    let id = part(&params, "id")?;
    let shadow = Box::pin(begin(&web, &headers, &id, sent)).await?;
    Ok(json(StatusCode::CREATED, &shadow))
}

/// What [`create`] does, for a page.
pub(in crate::web) async fn begin(
    web: &Web,
    headers: &HeaderMap,
    id: &str,
    sent: Unread,
) -> Result<Standing, Error> {
    let caller = web.may(headers, Right::Map).await?;
    let mut body = sent.read().await?;
    let wanted = Wanted::of(&mut body)?;
    let choices: Option<Choices> = body.optional("choices", "flows.choices")?;
    let grants: Option<Grants> = body.optional("grants", "flows.grants")?;
    let over = Over {
        from: body.optional("from", NOUN)?,
        to: body.optional("to", NOUN)?,
        limit: body.optional("limit", NOUN)?,
    };
    body.end(NOUN, &[])?;
    if grants.is_some() {
        caller.may(Right::Publish)?;
    }
    let catalog = web.pipeline.store.catalog();
    let flow = flows::kept(&catalog, id).await?.document;
    shared_mappings::alone(&flow, &wanted)?;
    let active = flows::release_of(&catalog, &flow).await?;
    let is_active = |digest: &Digest| active.as_ref().is_some_and(|it| it.component == *digest);
    let grants = match &wanted {
        // What was approved of the component in force is approved with other settings, too.
        Wanted::Component(digest) if is_active(digest) => {
            grants.or_else(|| flow.choices.grants.clone())
        }
        _ => grants,
    };
    let source = match wanted {
        Wanted::Release(digest) => Ok(digest),
        Wanted::Mapping(text) => Err(Source::Document(text)),
        Wanted::Component(digest) => Err(releases::kept_component(&catalog, &flow, &digest).await?),
        Wanted::Active => {
            let text = "say what is to be proven: a release, a mapping or a component";
            return Err(Error::invalid(NOUN, vec![Fault::new("release", text)]));
        }
    };
    let candidate = match source {
        Ok(digest) => digest,
        Err(source) => {
            let mut changed = Flow {
                choices: choices.unwrap_or_else(|| flow.choices.clone()),
                ..flow.clone()
            };
            let preparing = releases::prepare(web, &mut changed, source, grants.as_ref());
            let ready = Box::pin(preparing).await?;
            let digest = ready.release.digest();
            let changes = [
                Change::Component(flow.account.clone(), ready.kept),
                Change::Release(flow.account.clone(), ready.release),
            ];
            catalog.apply(&changes, &caller.author()).await?;
            digest
        }
    };
    let author = caller.author();
    let starting = web.pipeline.start_shadow(&flow, &candidate, &over, &author);
    let shadow = Box::pin(starting).await?;
    Ok(Standing::of(&shadow))
}

/// Shows a shadow run: how far it is, and what comes out differently.
#[utoipa::path(get, path = "/api/v1/shadows/{id}", tag = "shadows", params(("id" = String, Path)),
    responses((status = 200, body = Standing), (status = "default", body = Problem)))]
pub async fn show(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<Response, Error> {
    web.may(&headers, Right::View).await?;
    let shadow = kept(&web, &part(&params, "id")?).await?;
    Ok(json(StatusCode::OK, &Standing::of(&shadow)))
}

/// Ends a shadow run; what it has found stays to be seen.
#[utoipa::path(post, path = "/api/v1/shadows/{id}/cancel", tag = "shadows", params(("id" = String, Path)),
    responses((status = 200, body = Standing), (status = "default", body = Problem)))]
pub async fn cancel(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<Response, Error> {
    let shadow = end(&web, &headers, &part(&params, "id")?).await?;
    Ok(json(StatusCode::OK, &Standing::of(&shadow)))
}

/// What [`cancel`] does, for a page.
pub(in crate::web) async fn end(web: &Web, headers: &HeaderMap, id: &str) -> Result<Shadow, Error> {
    let caller = web.may(headers, Right::Map).await?;
    let shadow = kept(web, id).await?;
    let shadows = web.pipeline.store.shadows();
    if !shadows.cancel(&shadow, &caller.author()).await? {
        let text = format!("shadow run {} has ended already", shadow.id);
        return Err(Error::new(StatusCode::CONFLICT, "refused", text));
    }
    kept(web, id).await
}

/// The shadow run that proves the release `digest`, which a flow is to be put in force with.
pub(super) async fn proof(
    web: &Web,
    flow: &Flow,
    digest: Option<&Digest>,
    id: Option<&str>,
) -> Result<Option<Standing>, Error> {
    let proof = proof::named(&web.pipeline.store, flow, digest, id).await;
    Ok(proof.map_err(refused)?.as_ref().map(Standing::of))
}

/// The id of any shadow run that proves the release `digest` for a flow, where it takes nothing else; or why there is none.
pub(super) async fn proof_of(
    web: &Web,
    flow: &Flow,
    digest: &Digest,
) -> Result<Result<Option<String>, Error>, Error> {
    match proof::any(&web.pipeline.store, flow, digest).await {
        Ok(proof) => Ok(Ok(proof.map(|proof| proof.id))),
        Err(Unproven::Store(fault)) => Err(fault.into()),
        Err(unproven) => Ok(Err(refused(unproven))),
    }
}

/// The record of the shadow run that proves the release `digest`, where the flow takes nothing else and nobody names one.
pub(super) async fn proven(
    web: &Web,
    flow: &Flow,
    digest: &Digest,
) -> Result<Option<Change>, Error> {
    let proof = proof::any(&web.pipeline.store, flow, digest).await;
    let proof = proof.map_err(refused)?;
    Ok(proof.map(|proof| Change::Note(proof::record(&proof))))
}

fn refused(unproven: Unproven) -> Error {
    match unproven {
        Unproven::Store(fault) => fault.into(),
        unproven => {
            let fault = Fault::new("shadow", unproven.to_string());
            Error::invalid(flows::NOUN, vec![fault])
        }
    }
}
