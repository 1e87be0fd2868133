//! What of a channel has been kept long enough.

use axum::extract::{RawPathParams, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::json;
use super::error::{Error, Problem};
use super::list::part;
use super::rfc3339;
use crate::access::Right;
use crate::flow::retention::{Policies, Retention};
use crate::web::Web;

/// What the next sweep lets go of, if nothing changes.
#[derive(Debug, Serialize, ToSchema)]
pub struct RetentionView {
    /// The channel's setting.
    retention: Retention,
    going: Vec<GoingView>,
}

/// Messages of one outcome.
#[derive(Debug, Serialize, ToSchema)]
pub struct GoingView {
    /// `delivered`, `skipped`, `dead`, ...; of `unclaimed` messages the payload goes and the header facts stay.
    outcome: String,
    messages: u64,
    oldest_received_at: String,
}

/// Shows what of a channel has been kept long enough; changes nothing.
#[utoipa::path(get, path = "/api/v1/accounts/{account}/channels/{channel}/retention", tag = "channels",
    params(("account" = String, Path), ("channel" = String, Path)),
    responses((status = 200, body = RetentionView), (status = "default", body = Problem)))]
pub async fn show(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<Response, Error> {
    web.may(&headers, Right::View).await?;
    let (account, id) = (part(&params, "account")?, part(&params, "channel")?);
    let channels = web.pipeline.store.catalog().list().await?.channels;
    let mut channels = channels.into_iter().map(|kept| kept.document);
    let channel = channels
        .find(|channel| channel.account.as_str() == account && channel.id.as_str() == id)
        .ok_or_else(|| Error::not_found(format!("channel {id} of account {account}")))?;
    let policies = Policies::of([&channel]);
    let journal = web.pipeline.store.journal();
    let going = journal.going(&policies, Timestamp::now().as_millisecond());
    let going = Box::pin(going).await?.into_iter();
    // Channels that are gone have a rule of their own, and are told of too.
    let going = going.filter(|line| line.account == channel.account && line.channel == channel.id);
    let view = RetentionView {
        retention: channel.retention.clone(),
        going: going
            .map(|line| GoingView {
                outcome: line.outcome.as_str().to_owned(),
                messages: line.messages,
                oldest_received_at: rfc3339(line.oldest_received_at_ms),
            })
            .collect(),
    };
    Ok(json(StatusCode::OK, &view))
}
