//! Tokens of the interface: whoever administers may give others what they hold themselves.

use axum::extract::{RawPathParams, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::{Unread, json};
use super::error::{Error, Problem};
use super::list::{Page, part};
use super::rfc3339;
use crate::access::{self, Right, Rights};
use crate::flow::check::Fault;
use crate::store::catalog::token::TokenRow;
use crate::web::Web;

const NOUN: &str = "tokens";

/// A token, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct TokenView {
    id: String,
    name: String,
    /// With blanks between them.
    rights: String,
    created_at: String,
    used_at: Option<String>,
    revoked_at: Option<String>,
    /// Who made it: it is good while they may sign in, and for what they may do. None for one that was made on the
    /// command line, or with a token from there.
    maker: Option<String>,
    /// From then on it is good no longer.
    expires_at: Option<String>,
}

/// A token to be made.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "read member by member, so that faults have their place"
)]
pub struct TokenInput {
    /// What the audit calls it.
    name: String,
    /// One or more of `view`, `operate`, `map`, `publish`, `see-patient-data`, `administer` and `audit`, with commas
    /// between them; none that its maker lacks.
    rights: String,
    /// When it ends, in RFC 3339; at the latest with the token that makes it. Left out, it has no end of its own.
    expires_at: Option<String>,
}

/// A token that was made: its text is told this once.
#[derive(Serialize, ToSchema)]
pub struct TokenMade {
    name: String,
    rights: String,
    token: String,
    expires_at: Option<String>,
}

fn view(row: TokenRow) -> TokenView {
    TokenView {
        id: row.id,
        name: row.name,
        rights: row.rights,
        created_at: rfc3339(row.created_at_ms),
        used_at: row.used_at_ms.map(rfc3339),
        revoked_at: row.revoked_at_ms.map(rfc3339),
        maker: row.maker.map(|(_, login)| login),
        expires_at: row.expires_at_ms.map(rfc3339),
    }
}

/// Lists tokens, oldest first, revoked ones too.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "tokens",
    responses((status = 200, body = Page<TokenView>), (status = "default", body = Problem)))]
pub async fn list(State(web): State<Web>, headers: HeaderMap) -> Result<Response, Error> {
    web.may(&headers, Right::Administer).await?;
    let tokens = web.pipeline.store.catalog().tokens().await?;
    let page = Page {
        items: tokens.into_iter().map(view).collect(),
        next: None,
    };
    Ok(json(StatusCode::OK, &page))
}

/// Makes a token and tells its text, this once.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "tokens", request_body = TokenInput,
    responses((status = 201, body = TokenMade), (status = "default", body = Problem)))]
pub async fn create(
    State(web): State<Web>,
    headers: HeaderMap,
    sent: Unread,
) -> Result<Response, Error> {
    let caller = web.may(&headers, Right::Administer).await?;
    let mut body = sent.read().await?;
    let name: String = body.take("name", NOUN)?;
    let rights: String = body.take("rights", NOUN)?;
    let until: Option<Timestamp> = body.optional("expires_at", "tokens.expires_at")?;
    body.end(NOUN, &[])?;
    if until.is_some_and(|until| until <= Timestamp::now()) {
        let fault = Fault::new("expires_at", "is in the past");
        return Err(Error::invalid(NOUN, vec![fault]));
    }
    if name.trim().is_empty() || name.chars().any(char::is_control) {
        let fault = Fault::new("name", "say who it is for: the audit names it");
        return Err(Error::invalid(NOUN, vec![fault]));
    }
    let rights: Rights = rights.parse().map_err(|fault: access::right::NoRight| {
        Error::invalid(NOUN, vec![Fault::new("rights", fault.to_string())])
    })?;
    for right in Right::ALL.into_iter().filter(|right| rights.holds(*right)) {
        caller.may(right)?;
    }
    let catalog = web.pipeline.store.catalog();
    let until = until.map(Timestamp::as_millisecond);
    let made = access::issue_for(&catalog, &caller, &name, &rights, until).await;
    let (token, until) = made.map_err(|fault| {
        tracing::error!(fault = format!("{fault:#}"), "a token could not be made");
        let text = "the token could not be made: the host's log says why";
        Error::new(StatusCode::INTERNAL_SERVER_ERROR, "host", text)
    })?;
    let made = TokenMade {
        name,
        rights: rights.to_string(),
        token: token.reveal().to_owned(),
        expires_at: until.map(rfc3339),
    };
    Ok(json(StatusCode::CREATED, &made))
}

/// Makes a token useless, at once.
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", tag = "tokens", params(("id" = String, Path)),
    responses((status = 204), (status = "default", body = Problem)))]
pub async fn revoke(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<StatusCode, Error> {
    let caller = web.may(&headers, Right::Administer).await?;
    let id = part(&params, "id")?;
    let catalog = web.pipeline.store.catalog();
    catalog.revoke_token(&id, &caller.author()).await?;
    Ok(StatusCode::NO_CONTENT)
}
