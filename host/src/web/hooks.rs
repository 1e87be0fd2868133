//! Where LeadSquared's webhooks deliver: `/hooks/{account}`, with the secret in a header, or behind the account.
//!
//! What is delivered is answered only when it is durable, and then with 200 in LeadSquared's own form: ten other answers
//! in a row make it give up (`leadsquared.md` 8.3). Whoever does not know the secret learns nothing, not even whether
//! there is such an account. The event stands in the address, or LeadSquared says it in the query. Start at [`take`].

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{RawPathParams, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use serde::Serialize;
use tracing::error;

use super::Web;
use super::fault::Fault;
use crate::flow::{AccountId, WebhookEvent};
use crate::pipeline::webhooks::SECRET_HEADER;

/// Largest delivery: 25 entries with two snapshots of some hundred fields have far less.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// LeadSquared's own form of an answer.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Reply<'a> {
    status: &'static str,
    status_reason: &'a str,
}

pub(super) fn router() -> Router<Web> {
    Router::new()
        .route("/hooks/{account}", any(take))
        .route("/hooks/{account}/{first}", any(take))
        .route("/hooks/{account}/{first}/{second}", any(take))
}

fn reply(status: StatusCode, reason: &str) -> Response {
    let reply = Reply {
        status: if reason.is_empty() {
            "Success"
        } else {
            "Error"
        },
        status_reason: reason,
    };
    let kind = [(header::CONTENT_TYPE, "application/json")];
    match serde_json::to_vec(&reply) {
        Ok(bytes) => (status, kind, bytes).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Takes one delivery.
async fn take(State(web): State<Web>, params: RawPathParams, request: Request) -> Response {
    // A trial whether somebody is here: that can be seen anyway.
    if [Method::HEAD, Method::GET].contains(request.method()) {
        return reply(StatusCode::OK, "");
    }
    if *request.method() != Method::POST {
        return Fault::NotFound.into_response();
    }
    let mut account = AccountId::from("");
    let (mut said, mut secrets) = (Vec::new(), Vec::new());
    for (name, value) in &params {
        match name {
            "account" => account = value.into(),
            _ if WebhookEvent::parse(value).is_some() => said.push(value.to_owned()),
            _ => secrets.push(value.to_owned()),
        }
    }
    let query = request.uri().query().unwrap_or_default();
    for name in ["event", "eventType"] {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        if let Some((_, value)) = pairs.find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            said.push(value.to_owned());
        }
    }
    let in_header = request.headers().get(SECRET_HEADER);
    let in_header = in_header.and_then(|value| value.to_str().ok());
    secrets.extend(in_header.map(|value| value.trim().to_owned()));

    // Without a secret only a trial is answered: LeadSquared may try an address before it sends headers along.
    let is_known = match secrets.is_empty() {
        true => false,
        false => match web.pipeline.knows_secret(&account, &secrets).await {
            Ok(is_known) => is_known,
            Err(fault) => {
                error!(%fault, "the secret of a webhook cannot be looked up");
                return reply(StatusCode::SERVICE_UNAVAILABLE, "storage is not available");
            }
        },
    };
    let limit = match (is_known, secrets.is_empty()) {
        (true, _) => MAX_BYTES,
        // Blanks at most.
        (false, true) => 16,
        (false, false) => return Fault::NotFound.into_response(),
    };
    let Ok(body) = to_bytes(request.into_body(), limit).await else {
        return match is_known {
            true => reply(
                StatusCode::PAYLOAD_TOO_LARGE,
                "the body is cut off or too large",
            ),
            false => Fault::NotFound.into_response(),
        };
    };
    if !is_known {
        return match body.trim_ascii().is_empty() {
            true => reply(StatusCode::OK, ""),
            false => Fault::NotFound.into_response(),
        };
    }
    let said: Vec<&str> = said.iter().map(String::as_str).collect();
    match web.pipeline.deliver_hook(&account, &said, &body).await {
        Ok(delivered) => match delivered.unreadable.first() {
            // What could be read is kept; the rest is the same the next time.
            Some(unreadable) => reply(StatusCode::OK, &unreadable.to_string()),
            None => reply(StatusCode::OK, ""),
        },
        Err(fault) => {
            error!(%account, %fault, "a webhook's delivery was not kept");
            reply(StatusCode::SERVICE_UNAVAILABLE, "not kept, send it again")
        }
    }
}
