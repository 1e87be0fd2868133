//! Many deliveries are tried again at once, when what held them up is mended.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::{Unread, json};
use super::error::{Error, Problem};
use super::traffic::WhichTraffic;
use crate::access::Right;
use crate::flow::AccountId;
use crate::store::catalog::audit::Record;
use crate::store::journal::Filter;
use crate::web::Web;

const NOUN: &str = "deliveries";

/// Deliveries that one call sets going; whoever has more calls again.
pub(in crate::web) const MOST: u64 = 10_000;

/// Which deliveries are tried again: those that are dead, parked or waiting, narrowed by each member that is sent.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "read member by member, so that faults have their place"
)]
pub struct WhichDeliveries {
    /// Those of one account.
    account: Option<String>,
    /// Those through this flow.
    flow: Option<String>,
    /// `dead`, `parked` or `waiting`.
    state: String,
    /// By the code of their reason.
    reason: Option<String>,
    /// Those whose message came then or later: RFC 3339, or a day or a time in UTC.
    from: Option<String>,
    /// Those whose message came before then, or on that day.
    to: Option<String>,
}

/// What was set going.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReleasedMany {
    pub released: u64,
    /// There are more: call again.
    pub more: bool,
}

/// Queues all deliveries again that are as asked for, oldest first, up to 10,000 of each account.
#[utoipa::path(post, path = "/api/v1/deliveries/release", tag = "traffic", request_body = WhichDeliveries,
    responses((status = 200, body = ReleasedMany), (status = "default", body = Problem)))]
pub async fn release(
    State(web): State<Web>,
    headers: HeaderMap,
    sent: Unread,
) -> Result<Response, Error> {
    web.may(&headers, Right::Operate).await?;
    let mut body = sent.read().await?;
    let state: String = body.take("state", NOUN)?;
    let which = WhichTraffic {
        account: body.optional("account", NOUN)?,
        flow: body.optional("flow", NOUN)?,
        state: Some(state),
        reason: body.optional("reason", NOUN)?,
        from: body.optional("from", NOUN)?,
        to: body.optional("to", NOUN)?,
        ..WhichTraffic::default()
    };
    body.end(NOUN, &[])?;
    let released = Box::pin(release_all(&web, &headers, &which)).await?;
    Ok(json(StatusCode::OK, &released))
}

fn filter(which: &WhichTraffic) -> Result<Filter, Error> {
    let mut filter = which.filter()?;
    if !filter.state.is_some_and(|state| state.is_releasable()) {
        return Err(Error::bad("state is one of dead, parked and waiting"));
    }
    filter.reason = filter.reason.filter(|reason| !reason.is_empty());
    // What comes meanwhile has not been held up by what was mended.
    let now_ms = Timestamp::now().as_millisecond() + 1;
    filter.to_ms = Some(filter.to_ms.map_or(now_ms, |to_ms| to_ms.min(now_ms)));
    Ok(filter)
}

async fn accounts(web: &Web, filter: &Filter) -> Result<Vec<AccountId>, Error> {
    let listing = web.pipeline.store.catalog().list().await?;
    let all = listing.accounts.into_iter().map(|kept| kept.document.id);
    let wanted = |id: &AccountId| filter.account.as_ref().is_none_or(|asked| asked == id);
    Ok(all.filter(wanted).collect())
}

/// What [`release`] does, for a page.
pub(in crate::web) async fn release_all(
    web: &Web,
    headers: &HeaderMap,
    which: &WhichTraffic,
) -> Result<ReleasedMany, Error> {
    let caller = web.may(headers, Right::Operate).await?;
    let filter = filter(which)?;
    let store = &web.pipeline.store;
    let mut all = ReleasedMany {
        released: 0,
        more: false,
    };
    for account in accounts(web, &filter).await? {
        let journal = store.journal();
        let releasing = journal.release_many(&account, &filter, MOST);
        let (released, more) = Box::pin(releasing).await?;
        if released > 0 {
            let what = described(&filter, released);
            let record = Record::of("release", account.as_str(), "deliveries", &what);
            store.catalog().note(&caller.author(), &record).await?;
        }
        all.released += released;
        all.more |= more;
    }
    Ok(all)
}

/// How many deliveries [`release_all`] would set going, no more than the most at once.
pub(in crate::web) async fn count(web: &Web, which: &WhichTraffic) -> Result<u64, Error> {
    let filter = filter(which)?;
    let journal = web.pipeline.store.journal();
    let mut count = 0;
    for account in accounts(web, &filter).await? {
        count += journal.count_releasable(&account, &filter, MOST).await?;
    }
    Ok(count.min(MOST))
}

/// What is recorded: how many, and by what they were chosen.
fn described(filter: &Filter, released: u64) -> String {
    let mut words = vec![released.to_string()];
    words.extend(filter.state.map(|state| state.to_string()));
    words.extend(filter.flow.as_ref().map(|flow| format!("of {flow}")));
    words.extend(filter.reason.as_ref().map(|code| format!("for {code}")));
    words.join(" ")
}
