//! Messages by what they are about. What is looked for may be patient data, so it comes in a body and is in no address.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use utoipa::ToSchema;

use super::body::{Unread, json};
use super::error::{Error, Problem};
use super::list::limit;
use super::traffic::{Messages, WhichTraffic};
use crate::access::Right;
use crate::store::journal;
use crate::web::Web;

const NOUN: &str = "messages";

/// What is looked for, and among which messages.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "read member by member, so that faults have their place"
)]
pub struct SearchInput {
    /// A patient's, an appointment's or a visit's number, a control id, the id of a lead or of an activity that was written,
    /// or part of a reason.
    text: String,
    /// Those of one account.
    account: Option<String>,
    /// Those with a delivery through this flow.
    flow: Option<String>,
    /// `queued`, `running`, `waiting`, `parked`, `delivered`, `skipped` or `dead`.
    state: Option<String>,
    /// Those with a delivery that did not go through, by the code of its reason.
    reason: Option<String>,
    /// Those that came then or later: RFC 3339, or a day or a time in UTC.
    from: Option<String>,
    /// Those that came before then, or on that day.
    to: Option<String>,
    /// Those of messages older than this one: `next` of the page before.
    before: Option<String>,
    /// At most so many messages, up to 500.
    limit: Option<usize>,
}

/// Searches messages, newest first: numbers as they are, reasons by any part of them.
#[utoipa::path(post, path = "/api/v1/messages/search", tag = "traffic", request_body = SearchInput,
    responses((status = 200, body = Messages), (status = "default", body = Problem)))]
pub async fn search(
    State(web): State<Web>,
    headers: HeaderMap,
    sent: Unread,
) -> Result<Response, Error> {
    web.may(&headers, Right::View).await?;
    let mut body = sent.read().await?;
    let text: String = body.take("text", NOUN)?;
    let which = WhichTraffic {
        account: body.optional("account", NOUN)?,
        flow: body.optional("flow", NOUN)?,
        state: body.optional("state", NOUN)?,
        reason: body.optional("reason", NOUN)?,
        from: body.optional("from", NOUN)?,
        to: body.optional("to", NOUN)?,
        before: body.optional("before", NOUN)?,
        limit: body.optional("limit", NOUN)?,
    };
    body.end(NOUN, &[])?;
    let page = find(&web, &text, &which).await?;
    Ok(json(StatusCode::OK, &Messages::of(&page)))
}

/// What [`search`] does, for a page.
pub(in crate::web) async fn find(
    web: &Web,
    text: &str,
    which: &WhichTraffic,
) -> Result<journal::Page, Error> {
    if text.trim().is_empty() {
        return which.page(web).await;
    }
    let journal = web.pipeline.store.journal();
    let (filter, before) = (which.filter()?, which.before());
    let searching = journal.search(&filter, text, before.as_ref(), limit(which.limit));
    Ok(Box::pin(searching).await?)
}
