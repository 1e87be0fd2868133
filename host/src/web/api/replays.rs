//! Stored messages through releases again: one, or all of a time against what was recorded of them.

use axum::extract::{RawPathParams, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use utoipa::ToSchema;

use super::body::{Unread, json};
use super::error::{Error, Problem};
use super::list::part;
use crate::access::Right;
use crate::flow::{DeliveryId, Digest};
use crate::pipeline::bisect::Bisected;
use crate::pipeline::replay::Replay;
use crate::pipeline::replay::verify::{Asked, Verified};
use crate::store::catalog::audit::Record;
use crate::web::Web;

const NOUN: &str = "replays";

/// How a stored message is run again.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "read member by member, so that faults have their place"
)]
pub struct ReplayInput {
    /// The digest of a release of the flow; the recorded one if left out.
    release: Option<Digest>,
    /// Shows the values as well, to whoever may see patient data.
    values: Option<bool>,
}

/// What is to be verified, and from where on.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "read member by member, so that faults have their place"
)]
pub struct VerifyInput {
    /// The account; needed where there are several.
    account: Option<String>,
    /// Deliveries of one flow; all if left out.
    flow: Option<String>,
    /// Messages that came from then on, RFC 3339; the last 24 hours if left out.
    from: Option<String>,
    /// Messages that came before then, RFC 3339; now if left out.
    to: Option<String>,
    /// Deliveries of one part, up to 500; 250 if left out.
    limit: Option<usize>,
    /// `next` of the part before.
    after: Option<String>,
}

/// Runs a stored message again through a release, without any effect, and compares it with what was recorded.
#[utoipa::path(post, path = "/api/v1/deliveries/{id}/replay", tag = "replays", params(("id" = String, Path)),
    request_body = ReplayInput,
    responses((status = 200, body = Replay), (status = "default", body = Problem)))]
pub async fn replay(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
    sent: Unread,
) -> Result<Response, Error> {
    let caller = web.may(&headers, Right::View).await?;
    let mut body = sent.read().await?;
    let release: Option<Digest> = body.optional("release", NOUN)?;
    let values: Option<bool> = body.optional("values", NOUN)?;
    body.end(NOUN, &[])?;
    let id = DeliveryId::from(part(&params, "id")?);
    let stored = web.pipeline.stored_anywhere(&id).await?;
    let stored = stored.ok_or_else(|| Error::not_found(format!("delivery {id}")))?;
    let with_values = values == Some(true);
    if with_values {
        caller.may(Right::SeePatientData)?;
        let record = Record::of("see", stored.account.as_str(), "delivery", id.as_str());
        let catalog = web.pipeline.store.catalog();
        catalog.note(&caller.author(), &record).await?;
    }
    let replaying = web.pipeline.replay(&stored, release.as_ref(), with_values);
    Ok(json(StatusCode::OK, &Box::pin(replaying).await?))
}

/// Which field of which run.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "read member by member, so that faults have their place"
)]
pub struct BisectInput {
    /// As a replay names it, such as `lead.LastName`.
    field: String,
    /// The release whose value is wondered at; the one that the delivery was carried out with if left out.
    release: Option<Digest>,
}

/// Finds the release since which a field gets of a stored message what it gets: a component, a setting or a code table.
#[utoipa::path(post, path = "/api/v1/deliveries/{id}/bisect", tag = "replays", params(("id" = String, Path)),
    request_body = BisectInput,
    responses((status = 200, body = Bisected), (status = "default", body = Problem)))]
pub async fn bisect(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
    sent: Unread,
) -> Result<Response, Error> {
    web.may(&headers, Right::View).await?;
    let mut body = sent.read().await?;
    let field: String = body.take("field", NOUN)?;
    let release: Option<Digest> = body.optional("release", NOUN)?;
    body.end(NOUN, &[])?;
    let id = DeliveryId::from(part(&params, "id")?);
    let stored = web.pipeline.stored_anywhere(&id).await?;
    let stored = stored.ok_or_else(|| Error::not_found(format!("delivery {id}")))?;
    let bisecting = web.pipeline.bisect(&stored, &field, release.as_ref());
    Ok(json(StatusCode::OK, &Box::pin(bisecting).await?))
}

/// Runs the deliveries of a time again, a part at a time, and says which came to something else than was recorded.
#[utoipa::path(post, path = "/api/v1/replays/verify", tag = "replays", request_body = VerifyInput,
    responses((status = 200, body = Verified), (status = "default", body = Problem)))]
pub async fn verify(
    State(web): State<Web>,
    headers: HeaderMap,
    sent: Unread,
) -> Result<Response, Error> {
    web.may(&headers, Right::View).await?;
    let mut body = sent.read().await?;
    let asked = Asked {
        account: body.optional("account", NOUN)?,
        flow: body.optional("flow", NOUN)?,
        from: body.optional("from", NOUN)?,
        to: body.optional("to", NOUN)?,
        limit: body.optional("limit", NOUN)?,
    };
    let after: Option<String> = body.optional("after", NOUN)?;
    body.end(NOUN, &[])?;
    let after = after.map(DeliveryId::from);
    let verifying = web.pipeline.verify_asked(&asked, after.as_ref());
    Ok(json(StatusCode::OK, &Box::pin(verifying).await?))
}
