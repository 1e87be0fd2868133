//! A candidate release for some of a flow's patients: begun, watched, promoted or ended.

use axum::extract::{RawPathParams, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use utoipa::ToSchema;

use super::body::{Body, Seen, Unread, json};
use super::error::{Error, Problem};
use super::flows::{self, FlowView, NOUN};
use super::lacking;
use super::list::part;
use super::releases::{self, Wanted};
use super::shadows;
use crate::access::{Caller, Right};
use crate::flow::check::Fault;
use crate::flow::{DeliveryId, Digest, Flow, Grants, Status};
use crate::pipeline::activate::Source;
use crate::pipeline::canary::Standing;
use crate::store::catalog::audit::Record;
use crate::store::catalog::{Change, Kept};
use crate::web::Web;

/// What is to serve whom: one of `release`, `mapping` and `component`, or none of them for the candidate that serves now.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "read member by member, so that faults have their place"
)]
pub struct CanaryInput {
    /// The digest of a release of the flow.
    release: Option<Digest>,
    /// The text of a mapping document; a release of it is made.
    mapping: Option<String>,
    /// The digest of a component of the account; a release of it is made.
    component: Option<Digest>,
    /// What an uploaded component may read and write.
    grants: Option<Grants>,
    /// Of a hundred patients so many; 0 for those named alone.
    percent: u8,
    /// Deliveries of patients who are served as well.
    deliveries: Option<Vec<String>>,
    /// The id of a shadow run of the release, which proves it; needed where the flow requires one.
    shadow: Option<String>,
    /// Fields that it writes and the account lacks are made in LeadSquared first; needs the right `administer`.
    make_fields: Option<bool>,
    /// It shall serve although the account lacks fields that it writes.
    confirm_lacking: Option<bool>,
    /// The version that was seen; or send it as `If-Match`.
    version: Option<i64>,
}

/// Which version of the flow was seen.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "read member by member, so that faults have their place"
)]
pub struct CanarySeen {
    /// The version that was seen; or send it as `If-Match`.
    version: Option<i64>,
}

fn refused(member: &str, text: impl Into<String>) -> Error {
    Error::invalid(NOUN, vec![Fault::new(member, text)])
}

/// Shows the candidate of a flow, and what came of it beside the release in force.
#[utoipa::path(get, path = "/api/v1/flows/{id}/canary", tag = "releases", params(("id" = String, Path)),
    responses((status = 200, body = Standing), (status = "default", body = Problem)))]
pub async fn show(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<Response, Error> {
    web.may(&headers, Right::View).await?;
    let catalog = web.pipeline.store.catalog();
    let flow = flows::kept(&catalog, &part(&params, "id")?).await?.document;
    let standing = web.pipeline.canary_standing(&flow).await?;
    let standing =
        standing.ok_or_else(|| Error::not_found(format!("canary of flow {}", flow.id)))?;
    Ok(json(StatusCode::OK, &standing))
}

/// Has a candidate serve some of a flow's patients, or others than before.
///
/// A patient stays with the candidate for as long as it serves, and more come to it as its percentage grows.
#[utoipa::path(post, path = "/api/v1/flows/{id}/canary", tag = "releases", params(("id" = String, Path)),
    request_body = CanaryInput,
    responses((status = 200, body = FlowView), (status = "default", body = Problem)))]
pub async fn begin(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
    sent: Unread,
) -> Result<Response, Error> {
    let caller = web.may(&headers, Right::Publish).await?;
    let mut body = sent.read().await?;
    let seen = body.seen()?;
    let wanted = Wanted::of(&mut body)?;
    let grants: Option<Grants> = body.optional("grants", "flows.grants")?;
    let percent: u8 = body.take("percent", "flows.canary.percent")?;
    let deliveries: Option<Vec<String>> = body.optional("deliveries", "flows.canary.deliveries")?;
    let shadow: Option<String> = body.optional("shadow", "flows.shadow")?;
    let confirmed = flows::Confirmed::of(&mut body)?;
    let of_lacking = lacking::Said::of(&mut body)?;
    body.end(NOUN, &[])?;
    let catalog = web.pipeline.store.catalog();
    let mut flow = flows::kept(&catalog, &part(&params, "id")?).await?.document;
    if flow.status != Status::Active {
        return Err(refused(
            "status",
            "the flow is not active: nobody would be served",
        ));
    }
    let source: Result<Digest, Source> = match wanted {
        Wanted::Release(digest) => Ok(digest),
        Wanted::Mapping(text) => Err(Source::Document(text)),
        Wanted::Component(digest) => Err(releases::kept_component(&catalog, &flow, &digest).await?),
        Wanted::Active => match flow.candidate() {
            Some(digest) => Ok(digest.clone()),
            None => {
                let text = "say what is to serve: a release, a mapping or a component";
                return Err(refused("release", text));
            }
        },
    };
    let mut changes = Vec::new();
    let mut document = None;
    let release = match source {
        Ok(digest) => releases::of_flow(&catalog, &flow, &digest).await?,
        Err(source) => {
            let mut other = flow.clone();
            let preparing = releases::prepare(&web, &mut other, source, grants.as_ref());
            let ready = Box::pin(preparing).await?;
            let account = &flow.account;
            document = Some(ready.kept.document.clone());
            changes.push(Change::Component(account.clone(), ready.kept));
            changes.push(Change::Release(account.clone(), ready.release.clone()));
            ready.release
        }
    };
    flows::check(&web, &flow, Some(&release), confirmed).await?;
    let digest = release.digest();
    let said = match flow.candidate() == Some(&digest) {
        // It serves somebody already, and others are to come.
        true => of_lacking.of_one_in_force(),
        false => of_lacking,
    };
    let sure = lacking::make_sure(&web, &caller, &flow, (&release, document.as_deref()), said);
    Box::pin(sure).await?;
    let proof = shadows::proof(&web, &flow, Some(&digest), shadow.as_deref()).await?;
    let proof = proof.map(|proof| Record::of("prove", flow.account.as_str(), "shadow", &proof.id));
    changes.extend(proof.map(Change::Note));
    let deliveries = deliveries.unwrap_or_default().into_iter();
    let deliveries: Vec<_> = deliveries.map(DeliveryId::from).collect();
    let canary = web
        .pipeline
        .canary(&flow, digest, percent, &deliveries)
        .await?;
    flow.canary = Some(canary);
    Box::pin(keep(&web, &caller, seen, "canary", flow, changes)).await
}

/// Puts the candidate of a flow in force, for everybody.
#[utoipa::path(post, path = "/api/v1/flows/{id}/canary/promote", tag = "releases", params(("id" = String, Path)),
    request_body = CanarySeen,
    responses((status = 200, body = FlowView), (status = "default", body = Problem)))]
pub async fn promote(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
    sent: Unread,
) -> Result<Response, Error> {
    let (caller, seen, kept, mut body) = asked(&web, &headers, &params, sent).await?;
    let mut flow = kept.document;
    let Some(digest) = flow.candidate().cloned() else {
        return Err(refused("canary", "no candidate serves anybody"));
    };
    let catalog = web.pipeline.store.catalog();
    let release = releases::of_flow(&catalog, &flow, &digest).await?;
    let confirmed = flows::Confirmed::of(&mut body)?;
    body.end(NOUN, &[])?;
    let mut changes = Vec::new();
    changes.extend(shadows::proven(&web, &flow, &digest).await?);
    flow.choices = release.choices();
    flow.fell_back = None;
    flow.put_in_force(digest);
    flows::check(&web, &flow, Some(&release), confirmed).await?;
    Box::pin(keep(&web, &caller, seen, "promote-canary", flow, changes)).await
}

/// Ends the candidate of a flow; what it broke on runs again with the release in force.
#[utoipa::path(post, path = "/api/v1/flows/{id}/canary/end", tag = "releases", params(("id" = String, Path)),
    request_body = CanarySeen,
    responses((status = 200, body = FlowView), (status = "default", body = Problem)))]
pub async fn end(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
    sent: Unread,
) -> Result<Response, Error> {
    let (caller, seen, kept, body) = asked(&web, &headers, &params, sent).await?;
    body.end(NOUN, &[])?;
    let mut flow = kept.document;
    if flow.canary.take().is_none() {
        return Err(refused("canary", "the flow has none"));
    }
    Box::pin(keep(&web, &caller, seen, "end-canary", flow, Vec::new())).await
}

async fn asked(
    web: &Web,
    headers: &HeaderMap,
    params: &RawPathParams,
    sent: Unread,
) -> Result<(Caller, Seen, Kept<Flow>, Body), Error> {
    let caller = web.may(headers, Right::Publish).await?;
    let mut body = sent.read().await?;
    let seen = body.seen()?;
    let catalog = web.pipeline.store.catalog();
    let kept = flows::kept(&catalog, &part(params, "id")?).await?;
    Ok((caller, seen, kept, body))
}

/// Keeps a flow with whom its candidate serves now, and puts it in force.
async fn keep(
    web: &Web,
    caller: &Caller,
    seen: Seen,
    action: &'static str,
    flow: Flow,
    mut changes: Vec<Change>,
) -> Result<Response, Error> {
    let catalog = web.pipeline.store.catalog();
    let id = flow.id.to_string();
    let record = Record::of(action, flow.account.as_str(), "flow", &id);
    changes.push(Change::Note(record));
    changes.push(Change::Flow(Box::new(flow), seen.expected));
    let applied = catalog.apply(&changes, &caller.author()).await;
    applied.map_err(|fault| seen.refuse(fault))?;
    web.pipeline.put_in_force().await;
    flows::answer(&catalog, &id, StatusCode::OK).await
}
