//! Messages and deliveries: what became of them, without any value of a message, and a delivery's release.

use std::collections::BTreeMap;

use axum::extract::{RawPathParams, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::body::json;
use super::error::{Error, Problem};
use super::list::{Asked, Page, limit, part};
use super::rfc3339;
use crate::access::Right;
use crate::flow::{AccountId, DeliveryId, FlowId, MessageId};
use crate::store::catalog::audit::Record;
use crate::store::journal::{self, AttemptRow, DeliveryRow, Filter, MessageRow, MessageView};
use crate::web::Web;
use crate::web::console::messages::{total_counts, why, written};

/// Which messages or deliveries.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WhichTraffic {
    /// Those of one account.
    pub(in crate::web) account: Option<String>,
    /// Those with a delivery through this flow.
    pub(in crate::web) flow: Option<String>,
    /// `queued`, `running`, `waiting`, `parked`, `delivered`, `skipped` or `dead`.
    pub(in crate::web) state: Option<String>,
    /// Those with a delivery that did not go through, by the code of its reason.
    pub(in crate::web) reason: Option<String>,
    /// Those that came then or later: RFC 3339, or a day or a time in UTC.
    pub(in crate::web) from: Option<String>,
    /// Those that came before then, or on that day.
    pub(in crate::web) to: Option<String>,
    /// Those of messages older than this one: `next` of the page before.
    pub(in crate::web) before: Option<String>,
    /// At most so many messages, up to 500.
    pub(in crate::web) limit: Option<usize>,
}

/// A page of messages, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Messages {
    messages: Vec<MessageJson>,
    /// What to send as `before` for the next page; none at the end.
    next: Option<String>,
}

impl Messages {
    pub(super) fn of(page: &journal::Page) -> Self {
        Self {
            messages: page.rows.iter().map(message_json).collect(),
            next: page.next.as_ref().map(MessageId::to_string),
        }
    }
}

/// A message, without any of its values.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessageJson {
    id: String,
    account: String,
    received_at: String,
    channel: String,
    event: String,
    control_id: String,
    sender: String,
    version: String,
    size_bytes: i64,
    /// `whole`, or `header-facts` where nothing else is left.
    kept: &'static str,
    /// `flows`, `skipped`, `excluded` or `rejected`.
    state: String,
    reason_code: String,
    reason: String,
    remark: String,
    /// What was odd about it, as codes.
    warnings: String,
    peer: String,
    /// The message that a person made it from.
    made_from: Option<String>,
    deliveries: Vec<DeliveryJson>,
}

/// A message's way through one flow.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeliveryJson {
    id: String,
    flow: String,
    state: String,
    reason_code: String,
    reason: String,
    attempts: u32,
    due_at: Option<String>,
    /// Each write, such as `create-lead 0b9f…`.
    written: Vec<String>,
    /// Each try; only where one message or delivery is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    history: Option<Vec<AttemptJson>>,
}

/// A delivery with the message that it is of.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeliveryOfMessage {
    account: String,
    message: String,
    event: String,
    received_at: String,
    delivery: DeliveryJson,
    /// The last run of its mapping; only where one delivery is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    run: Option<RunJson>,
}

/// What is shown of a delivery.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WhichParts {
    /// Shows what the component said and logged as well, to whoever may see patient data.
    values: Option<bool>,
}

/// The last run of a delivery's mapping.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunJson {
    flow: String,
    release: String,
    at: String,
    /// `wrote`, `skipped`, or the code of a failure.
    outcome: String,
    /// Rows that let the message go on without their value.
    warnings: Vec<WarningJson>,
    /// Warnings that were not kept.
    warnings_cut: u64,
    /// Why the component skipped or refused, in its words; only for those who may see patient data.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    said: Option<String>,
    /// What the component logged; only for those who may see patient data.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    log: Option<Vec<String>>,
}

/// A row that let the message go on without its value.
#[derive(Debug, Serialize, ToSchema)]
pub struct WarningJson {
    /// Empty for a row that the component made up.
    row: String,
    /// Where the value is, as segment and field or a field of LeadSquared.
    path: String,
    /// `malformed`, `unmapped-code`, `several-values` or `too-many`.
    cause: String,
    /// Whether something else was written instead of nothing.
    defaulted: bool,
}

/// The last run of a delivery, if any was made.
async fn run_of(
    web: &Web,
    view: &MessageView,
    id: &str,
    with_values: bool,
) -> Result<Option<RunJson>, Error> {
    let journal = web.pipeline.store.journal();
    let account = &view.message.account;
    let stored = journal.stored_one(account, &id.into()).await?;
    let Some(ran) = stored.and_then(|stored| stored.ran) else {
        return Ok(None);
    };
    let mut notes = view.message.deliveries.iter().zip(&view.deliveries);
    let note = notes.find(|(row, _)| row.id.as_str() == id);
    let said = note.and_then(|(_, seen)| seen.note.clone());
    let warnings = ran.warnings.into_iter().map(|warned| WarningJson {
        row: warned.row,
        path: warned.path,
        cause: warned.cause,
        defaulted: warned.defaulted,
    });
    Ok(Some(RunJson {
        flow: ran.flow.to_string(),
        release: ran.release.to_string(),
        at: rfc3339(ran.at_ms),
        outcome: ran.outcome,
        warnings: warnings.collect(),
        warnings_cut: ran.warnings_cut,
        said: said.filter(|_| with_values),
        log: with_values.then_some(ran.log),
    }))
}

/// One try of a delivery.
#[derive(Debug, Serialize, ToSchema)]
pub struct AttemptJson {
    stage: String,
    code: String,
    started_at: String,
    duration_ms: i64,
}

/// How many deliveries are in each state, and what the store has written.
#[derive(Debug, Serialize, ToSchema)]
pub struct Counts {
    deliveries: BTreeMap<String, u64>,
    commits: u64,
    sync_method: String,
}

impl WhichTraffic {
    pub(super) fn filter(&self) -> Result<Filter, Error> {
        let state = self.state.as_deref().filter(|word| !word.is_empty());
        let state = state.map(|word| {
            journal::State::parse(word).ok_or_else(|| {
                Error::bad(
                    "state is one of queued, running, waiting, parked, delivered, skipped and dead",
                )
            })
        });
        Ok(Filter {
            account: self.account.as_deref().map(AccountId::from),
            flow: self.flow.as_deref().map(FlowId::from),
            state: state.transpose()?,
            reason: self.reason.clone(),
            from_ms: time(self.from.as_deref(), false)?,
            to_ms: time(self.to.as_deref(), true)?,
        })
    }

    pub(super) fn before(&self) -> Option<MessageId> {
        self.before.as_deref().map(MessageId::from)
    }

    pub(in crate::web) async fn page(&self, web: &Web) -> Result<journal::Page, Error> {
        let before = self.before();
        let journal = web.pipeline.store.journal();
        let page = journal
            .list(&self.filter()?, before.as_ref(), limit(self.limit))
            .await?;
        Ok(page)
    }
}

/// A point in time; of a day its begin, or its end.
fn time(text: Option<&str>, at_end: bool) -> Result<Option<i64>, Error> {
    let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let at = text.parse::<Timestamp>().ok().or_else(|| {
        let local = match text.parse::<Date>() {
            Ok(day) if !text.contains(['T', ' ']) => match at_end {
                true => day.tomorrow().ok()?.to_datetime(Time::midnight()),
                false => day.to_datetime(Time::midnight()),
            },
            _ => text.parse::<DateTime>().ok()?,
        };
        let zoned = local.to_zoned(TimeZone::UTC).ok()?;
        Some(zoned.timestamp())
    });
    let at = at
        .ok_or_else(|| Error::bad("times are as in 2026-11-20T09:30:00Z, days as in 2026-11-20"))?;
    Ok(Some(at.as_millisecond()))
}

fn message_json(message: &MessageRow) -> MessageJson {
    MessageJson {
        id: message.id.to_string(),
        account: message.account.to_string(),
        received_at: rfc3339(message.received_at_ms),
        channel: message.channel.to_string(),
        event: message.event.clone(),
        control_id: message.control_id.clone(),
        sender: message.sender.clone(),
        version: message.version.clone(),
        size_bytes: message.size_bytes,
        kept: if message.is_whole {
            "whole"
        } else {
            "header-facts"
        },
        state: message.route.clone(),
        reason_code: message.reason.clone(),
        reason: message.detail.clone(),
        remark: message.remark.clone(),
        warnings: message.warnings.clone(),
        peer: message.peer.clone(),
        made_from: message.origin.as_ref().map(MessageId::to_string),
        deliveries: message.deliveries.iter().map(delivery_json).collect(),
    }
}

fn delivery_json(delivery: &DeliveryRow) -> DeliveryJson {
    DeliveryJson {
        id: delivery.id.to_string(),
        flow: delivery.flow.to_string(),
        state: delivery.state.to_string(),
        reason_code: delivery.reason.clone(),
        reason: why(delivery),
        attempts: delivery.attempts,
        due_at: delivery.due_at_ms.map(rfc3339),
        written: written(delivery),
        history: None,
    }
}

fn attempt_json(attempt: &AttemptRow) -> AttemptJson {
    AttemptJson {
        stage: attempt.stage.clone(),
        code: attempt.code.clone(),
        started_at: rfc3339(attempt.started_at_ms),
        duration_ms: attempt.duration_ms,
    }
}

/// A message with the history of its deliveries.
fn whole(view: &MessageView) -> MessageJson {
    let mut message = message_json(&view.message);
    for (delivery, seen) in message.deliveries.iter_mut().zip(&view.deliveries) {
        delivery.history = Some(seen.attempts.iter().map(attempt_json).collect());
    }
    message
}

pub(super) async fn find(web: &Web, id: &MessageId) -> Result<MessageView, Error> {
    let listing = web.pipeline.store.catalog().list().await?;
    for kept in listing.accounts {
        let journal = web.pipeline.store.journal();
        let reading = Box::pin(journal.message(&kept.document.id, id));
        if let Some(view) = reading.await? {
            return Ok(view);
        }
    }
    Err(Error::not_found(format!("message {id}")))
}

/// The message of a delivery, whose id begins with its message's.
async fn message_of(web: &Web, id: &str) -> Result<MessageView, Error> {
    let absent = || Error::not_found(format!("delivery {id}"));
    let (message, _) = id.split_once('.').ok_or_else(absent)?;
    let view = find(web, &message.into()).await.map_err(|_| absent())?;
    let mut deliveries = view.message.deliveries.iter();
    match deliveries.any(|delivery| delivery.id.as_str() == id) {
        true => Ok(view),
        false => Err(absent()),
    }
}

fn delivery_of(view: &MessageView, id: &str) -> Option<DeliveryOfMessage> {
    let MessageJson {
        id: message,
        account,
        event,
        received_at,
        deliveries,
        ..
    } = whole(view);
    let mut deliveries = deliveries.into_iter();
    Some(DeliveryOfMessage {
        delivery: deliveries.find(|delivery| delivery.id == id)?,
        account,
        message,
        event,
        received_at,
        run: None,
    })
}

/// Lists messages, newest first.
#[utoipa::path(get, path = "/api/v1/messages", tag = "traffic", params(WhichTraffic),
    responses((status = 200, body = Messages), (status = "default", body = Problem)))]
pub async fn messages(
    State(web): State<Web>,
    headers: HeaderMap,
    Asked(which): Asked<WhichTraffic>,
) -> Result<Response, Error> {
    web.may_read(&headers).await?;
    let page = which.page(&web).await?;
    Ok(json(StatusCode::OK, &Messages::of(&page)))
}

/// Shows a message with the history of its deliveries.
#[utoipa::path(get, path = "/api/v1/messages/{id}", tag = "traffic", params(("id" = String, Path)),
    responses((status = 200, body = MessageJson), (status = "default", body = Problem)))]
pub async fn message(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<Response, Error> {
    web.may_read(&headers).await?;
    let view = find(&web, &part(&params, "id")?.into()).await?;
    Ok(json(StatusCode::OK, &whole(&view)))
}

/// Counts deliveries by state.
#[utoipa::path(get, path = "/api/v1/counts", tag = "traffic",
    responses((status = 200, body = Counts), (status = "default", body = Problem)))]
pub async fn counts(State(web): State<Web>, headers: HeaderMap) -> Result<Response, Error> {
    web.may_read(&headers).await?;
    let counts = total_counts(&web.pipeline).await?;
    let store = &web.pipeline.store;
    let deliveries = counts
        .into_iter()
        .map(|(state, count)| (state.to_string(), count));
    let counts = Counts {
        deliveries: deliveries.collect(),
        commits: store.written().commits,
        sync_method: store.sync_method().to_owned(),
    };
    Ok(json(StatusCode::OK, &counts))
}

/// Lists deliveries, those of the newest messages first; `limit` counts messages.
#[utoipa::path(get, path = "/api/v1/deliveries", tag = "traffic", params(WhichTraffic),
    responses((status = 200, body = Page<DeliveryOfMessage>), (status = "default", body = Problem)))]
pub async fn deliveries(
    State(web): State<Web>,
    headers: HeaderMap,
    Asked(which): Asked<WhichTraffic>,
) -> Result<Response, Error> {
    web.may_read(&headers).await?;
    let filter = which.filter()?;
    let page = which.page(&web).await?;
    let is_wanted = |delivery: &&DeliveryRow| {
        filter.state.is_none_or(|state| state == delivery.state)
            && filter
                .flow
                .as_ref()
                .is_none_or(|flow| *flow == delivery.flow)
    };
    let items = page.rows.iter().flat_map(|message| {
        let wanted = message.deliveries.iter().filter(is_wanted);
        wanted.map(|delivery| DeliveryOfMessage {
            account: message.account.to_string(),
            message: message.id.to_string(),
            event: message.event.clone(),
            received_at: rfc3339(message.received_at_ms),
            delivery: delivery_json(delivery),
            run: None,
        })
    });
    let page = Page {
        items: items.collect(),
        next: page.next.map(|next| next.to_string()),
    };
    Ok(json(StatusCode::OK, &page))
}

/// Shows a delivery with its history and the last run of its mapping.
#[utoipa::path(get, path = "/api/v1/deliveries/{id}", tag = "traffic", params(("id" = String, Path), WhichParts),
    responses((status = 200, body = DeliveryOfMessage), (status = "default", body = Problem)))]
pub async fn delivery(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
    Asked(which): Asked<WhichParts>,
) -> Result<Response, Error> {
    web.may_read(&headers).await?;
    let id = part(&params, "id")?;
    let with_values = which.values == Some(true);
    let caller = match with_values {
        true => Some(web.may(&headers, Right::SeePatientData).await?),
        false => None,
    };
    let view = message_of(&web, &id).await?;
    if let Some(caller) = caller {
        let record = Record::of("see", view.message.account.as_str(), "delivery", &id);
        let catalog = web.pipeline.store.catalog();
        catalog.note(&caller.author(), &record).await?;
    }
    let mut shown = delivery_of(&view, &id);
    if let Some(shown) = &mut shown {
        shown.run = Box::pin(run_of(&web, &view, &id, with_values)).await?;
    }
    Ok(json(StatusCode::OK, &shown))
}

/// Queues a delivery again that waits for a person, for its time, or is dead.
#[utoipa::path(post, path = "/api/v1/deliveries/{id}/release", tag = "traffic", params(("id" = String, Path)),
    responses((status = 200, body = DeliveryOfMessage), (status = "default", body = Problem)))]
pub async fn release(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<Response, Error> {
    let caller = web.may(&headers, Right::Operate).await?;
    let id = part(&params, "id")?;
    let account = message_of(&web, &id).await?.message.account;
    let store = &web.pipeline.store;
    let delivery = DeliveryId::from(id.as_str());
    store.journal().release(&account, &delivery).await?;
    let record = Record::of("release", account.as_str(), "delivery", &id);
    store.catalog().note(&caller.author(), &record).await?;
    let view = message_of(&web, &id).await?;
    Ok(json(StatusCode::OK, &delivery_of(&view, &id)))
}
