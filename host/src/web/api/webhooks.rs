//! Webhooks of an account: how they stand in LeadSquared, and making those that flows need.

use axum::extract::{RawPathParams, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::accounts::kept;
use super::body::{Unread, json};
use super::error::{Error, Problem};
use super::list::part;
use crate::access::{Caller, Right};
use crate::flow::Flow;
use crate::flow::check::Fault;
use crate::pipeline::webhooks::{Subject, Webhooks};
use crate::web::Web;

const NOUN: &str = "webhooks";

/// What to make webhooks with; both are remembered.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Making {
    /// Where LeadSquared finds this host, needed the first time.
    #[schema(example = "https://bridge.example.org")]
    address: Option<String>,
    /// Webhooks that the account's plan allows: 3 if it was never said.
    limit: Option<u32>,
}

/// A new secret; not shown again.
#[derive(Serialize, ToSchema)]
pub struct NewSecret {
    /// To be sent in the header `x-ligature-secret`, or to stand behind the account in the address.
    secret: String,
}

/// Asks LeadSquared how an account's webhooks stand, and what is missing.
#[utoipa::path(get, path = "/api/v1/accounts/{id}/webhooks", tag = "accounts", params(("id" = String, Path)),
    responses((status = 200, body = Webhooks), (status = "default", body = Problem)))]
pub async fn show(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<Response, Error> {
    web.may(&headers, Right::View).await?;
    let id = part(&params, "id")?;
    let webhooks = web.pipeline.webhooks(&id.as_str().into()).await?;
    Ok(json(StatusCode::OK, &webhooks))
}

/// Makes the webhooks that flows need and that are missing, as far as the plan allows.
#[utoipa::path(post, path = "/api/v1/accounts/{id}/webhooks", tag = "accounts", params(("id" = String, Path)),
    request_body = Making,
    responses((status = 200, body = Webhooks), (status = "default", body = Problem)))]
pub async fn make(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
    sent: Unread,
) -> Result<Response, Error> {
    web.may(&headers, Right::Administer).await?;
    let mut body = sent.read().await?;
    let address: Option<String> = body.optional("address", NOUN)?;
    let limit: Option<u32> = body.optional("limit", NOUN)?;
    body.end(NOUN, &[])?;
    let id = part(&params, "id")?;
    let making = make_all(&web, &headers, &id, address.as_deref(), limit);
    Ok(json(StatusCode::OK, &Box::pin(making).await?))
}

/// What [`make`] does, for a page.
pub(in crate::web) async fn make_all(
    web: &Web,
    headers: &HeaderMap,
    id: &str,
    address: Option<&str>,
    limit: Option<u32>,
) -> Result<Webhooks, Error> {
    let caller = web.may(headers, Right::Administer).await?;
    let account = kept(&web.pipeline.store.catalog(), id).await?;
    let author = caller.author();
    let account = &account.document.id;
    let making = web
        .pipeline
        .make_webhooks(account, None, address, limit, &author);
    Ok(Box::pin(making).await?)
}

/// Makes the webhook of a flow that is about to come into force, and what else its account misses.
pub(super) async fn make_for(
    web: &Web,
    caller: &Caller,
    flow: &Flow,
    with: Making,
) -> Result<(), Error> {
    caller.may(Right::Administer)?;
    let Some(subject) = Subject::of(flow) else {
        let text =
            "is for flows to the EHR: nobody needs to tell this one what changes in LeadSquared";
        return Err(Error::invalid(
            "flows",
            vec![Fault::new("make_webhook", text)],
        ));
    };
    let Making { address, limit } = with;
    let author = caller.author();
    let (account, address) = (&flow.account, address.as_deref());
    let making = web
        .pipeline
        .make_webhooks(account, Some(subject), address, limit, &author);
    Box::pin(making).await?;
    Ok(())
}

/// What a flow that is in force must be told of and nobody tells, as far as that is known without a call.
pub(super) async fn missing(web: &Web, flow: &Flow) -> Result<Option<Subject>, Error> {
    let Some(subject) = Subject::of(flow) else {
        return Ok(None);
    };
    let missing = web.pipeline.missing_webhooks(&flow.account).await?;
    Ok(missing.contains(&subject).then_some(subject))
}

/// Gives an account's webhooks a new secret; the one before is taken for another hour.
#[utoipa::path(post, path = "/api/v1/accounts/{id}/webhooks/secret", tag = "accounts",
    params(("id" = String, Path)),
    responses((status = 200, body = NewSecret), (status = "default", body = Problem)))]
pub async fn rotate(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<Response, Error> {
    let caller = web.may(&headers, Right::Administer).await?;
    let account = kept(&web.pipeline.store.catalog(), &part(&params, "id")?).await?;
    let account = account.document.id;
    let author = caller.author();
    let rotating = web.pipeline.rotate_hook_secret(&account, &author);
    let secret = Box::pin(rotating).await?;
    Ok(json(StatusCode::OK, &NewSecret { secret }))
}
