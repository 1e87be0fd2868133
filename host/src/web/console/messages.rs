//! Messages: newest first, each with what became of it; filtered, or searched for by what they are about.
//!
//! What is searched for may be patient data: it comes by a form and is in no address. Filters are in the address.

use askama::Template;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use jiff::Timestamp;
use serde::Deserialize;

use super::cookie::encoded;
use super::form::Form;
use super::show::{Time, count, oddities};
use super::visit::{Faults, Frame, Visit, done, refused};
use super::way::Step;
use crate::access::Right;
use crate::flow::FlowId;
use crate::pipeline::Pipeline;
use crate::store;
use crate::store::journal::{self, DeliveryRow, MessageRow};
use crate::web::Web;
use crate::web::api::error::Error;
use crate::web::api::traffic::WhichTraffic;
use crate::web::api::{release_many, search};
use crate::web::fault::Fault;

/// Messages on one page.
const PAGE: usize = 50;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    state: Option<String>,
    flow: Option<String>,
    reason: Option<String>,
    from: Option<String>,
    to: Option<String>,
    before: Option<String>,
    /// Only the table's rows, for the refresh.
    rows: Option<String>,
}

impl Params {
    /// What the form of the page says.
    fn of(form: &Form) -> Self {
        Self {
            state: form.some("state"),
            flow: form.some("flow"),
            reason: form.some("reason"),
            from: form.some("from"),
            to: form.some("to"),
            before: form.some("before"),
            rows: None,
        }
    }

    fn which(&self) -> WhichTraffic {
        let set = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        WhichTraffic {
            account: None,
            flow: set(&self.flow),
            state: set(&self.state),
            reason: set(&self.reason),
            from: set(&self.from),
            to: set(&self.to),
            before: set(&self.before),
            limit: Some(PAGE),
        }
    }

    /// The address of this list with another `state` and page.
    fn address(&self, state: Option<&str>, before: Option<&str>, rows: bool) -> String {
        let parts = [
            ("state", state),
            ("flow", self.flow.as_deref()),
            ("reason", self.reason.as_deref()),
            ("from", self.from.as_deref()),
            ("to", self.to.as_deref()),
            ("before", before),
            ("rows", rows.then_some("1")),
        ];
        let parts = parts.into_iter().filter_map(|(name, value)| {
            let value = value.filter(|value| !value.is_empty())?;
            Some(format!("{name}={}", encoded(value)))
        });
        let query = parts.collect::<Vec<_>>().join("&");
        match query.as_str() {
            "" => "/messages".into(),
            query => format!("/messages?{query}"),
        }
    }
}

#[derive(Template)]
#[template(path = "messages.html", blocks = ["rows"])]
struct ListPage {
    frame: Frame,
    faults: Faults,
    /// What was searched for.
    text: String,
    /// The bounds of time, as their fields have them: in UTC.
    from: String,
    to: String,
    /// Not all messages are asked for.
    is_narrowed: bool,
    /// Deliveries of these that this person may set going again, all at once.
    releasable: u64,
    params: Params,
    flow: Option<String>,
    flows: Vec<(String, String)>,
    choices: Vec<Choice>,
    messages: Vec<MessageLine>,
    newest: bool,
    refresh: String,
    /// The address of the next page; of a search the message that it begins behind.
    older: Option<String>,
    channels: String,
}

impl ListPage {
    fn is(&self, part: &Option<String>) -> String {
        part.clone().unwrap_or_default()
    }
}

struct Choice {
    label: &'static str,
    address: String,
    chosen: bool,
    count: Option<u64>,
}

pub(super) struct MessageLine {
    pub id: String,
    pub received: Time,
    /// The time zone of the first flow that takes it; empty where none does.
    pub zone: String,
    pub event: String,
    pub control_id: String,
    pub sender: String,
    pub size: i64,
    /// Whether the payload is kept.
    pub is_whole: bool,
    /// What was odd about it.
    pub notes: String,
    pub origin: Option<String>,
    pub peer: String,
    pub state: String,
    pub reason: String,
    pub deliveries: Vec<DeliveryLine>,
}

pub(super) struct DeliveryLine {
    pub id: String,
    pub flow: String,
    pub flow_id: String,
    pub state: &'static str,
    pub attempts: u32,
    pub written: String,
    pub why: String,
    pub due: Option<Time>,
    /// A person can set it going again.
    pub can_be_released: bool,
    /// It stopped at a field that the account does not have.
    pub lacks_field: bool,
    pub way: Vec<Step>,
    pub history: Vec<AttemptLine>,
    pub operations: Vec<OperationLine>,
    /// What it says of itself; only where values are shown.
    pub note: String,
}

pub(super) struct AttemptLine {
    pub started: Time,
    pub stage: String,
    pub code: String,
    pub duration_ms: i64,
}

pub(super) struct OperationLine {
    pub sent: Time,
    pub kind: &'static str,
    pub target: String,
    pub state: &'static str,
}

/// The list as a page, or only its rows.
pub async fn list(
    State(web): State<Web>,
    visit: Visit,
    query: Query<Params>,
) -> Result<Response, Fault> {
    let Query(params) = query;
    let rows_alone = params.rows.is_some();
    let found = params.which().page(&web).await;
    let page = page(&web, &visit, params, String::new(), found).await?;
    Ok(match rows_alone {
        true => Html(page.as_rows().render()?).into_response(),
        false => shown(&page)?,
    })
}

/// The list of what was searched for.
pub async fn search(State(web): State<Web>, visit: Visit, form: Form) -> Result<Response, Fault> {
    let params = Params::of(&form);
    let text = form.get("text").to_owned();
    if text.is_empty() {
        let to = params.address(params.state.as_deref(), None, false);
        return Ok(Redirect::to(&to).into_response());
    }
    let found = search::find(&web, &text, &params.which()).await;
    shown(&page(&web, &visit, params, text, found).await?)
}

/// How many deliveries of the list this person may set going again at once.
async fn releasable(web: &Web, visit: &Visit, params: &Params) -> Result<u64, Fault> {
    let state = params.state.as_deref().and_then(journal::State::parse);
    let is_asked = state.is_some_and(journal::State::is_releasable);
    match is_asked && visit.may(Right::Operate) {
        // What is wrong with a bound of time is told by the list.
        true => Ok(release_many::count(web, &params.which()).await.unwrap_or(0)),
        false => Ok(0),
    }
}

/// A bound of time as its field has it; what is no time stays as it is.
fn typed(bound: &Option<String>) -> String {
    let bound = bound.as_deref().unwrap_or_default();
    match bound.parse::<Timestamp>() {
        Ok(at) => at.strftime("%Y-%m-%dT%H:%M").to_string(),
        Err(_) => bound.to_owned(),
    }
}

/// Sets all deliveries of a list going again.
pub async fn release(State(web): State<Web>, visit: Visit, form: Form) -> Result<Response, Fault> {
    let params = Params::of(&form);
    let to = params.address(params.state.as_deref(), None, false);
    if !form.has("confirm") {
        let fault = Error::bad("say that what held them up is mended; nothing was tried again");
        return Ok(refused(&visit, &to, &fault));
    }
    let which = params.which();
    let releasing = release_many::release_all(&web, &visit.headers, &which);
    Ok(match Box::pin(releasing).await {
        Ok(made) => {
            let more = if made.more {
                " There are more: press it again."
            } else {
                ""
            };
            let count = count(made.released, "delivery is", "deliveries are");
            let text = format!("{count} queued again.{more}");
            done(&visit, &to, &text)
        }
        Err(fault) => refused(&visit, &to, &fault),
    })
}

fn shown(page: &ListPage) -> Result<Response, Fault> {
    let status = match page.faults.is_empty() {
        true => StatusCode::OK,
        false => StatusCode::UNPROCESSABLE_ENTITY,
    };
    Ok((status, Html(page.render()?)).into_response())
}

async fn page(
    web: &Web,
    visit: &Visit,
    params: Params,
    text: String,
    found: Result<journal::Page, Error>,
) -> Result<ListPage, Fault> {
    let pipeline = &web.pipeline;
    let configuration = pipeline.configuration();
    let (found, faults) = match found {
        Ok(found) => (found, Faults::default()),
        Err(fault) => {
            let none = journal::Page {
                rows: Vec::new(),
                next: None,
            };
            (none, Faults::of(&fault))
        }
    };
    let mut choices = vec![Choice {
        label: "All",
        address: params.address(None, None, false),
        chosen: params.state.as_deref().is_none_or(str::is_empty),
        count: None,
    }];
    if params.rows.is_none() {
        let counts = open_counts(pipeline).await?;
        choices.extend(journal::State::ALL.map(|state| {
            Choice {
                label: state.as_str(),
                address: params.address(Some(state.as_str()), None, false),
                chosen: params.state.as_deref() == Some(state.as_str()),
                count: counts
                    .iter()
                    .find(|(counted, _)| *counted == state)
                    .map(|(_, count)| *count)
                    .filter(|count| *count > 0),
            }
        }));
    }
    let mut flows: Vec<_> = configuration
        .flows()
        .map(|route| (route.flow.id.to_string(), route.flow.name.clone()))
        .collect();
    flows.sort_by(|a, b| (&a.1, &a.0).cmp(&(&b.1, &b.0)));
    let chosen = params.flow.as_deref().filter(|id| !id.is_empty());
    let chosen = chosen.map(|id| {
        let route = configuration.route(&FlowId::from(id));
        route.map_or_else(|| id.to_owned(), |route| route.flow.name.clone())
    });
    let releasable = match params.rows.is_none() && text.is_empty() {
        true => releasable(web, visit, &params).await?,
        false => 0,
    };
    let set = |part: &Option<String>| part.as_ref().is_some_and(|part| !part.is_empty());
    let parts = [
        &params.state,
        &params.flow,
        &params.reason,
        &params.from,
        &params.to,
        &params.before,
    ];
    let state = params.state.as_deref();
    Ok(ListPage {
        from: typed(&params.from),
        to: typed(&params.to),
        is_narrowed: !text.is_empty() || parts.into_iter().any(set),
        releasable,
        frame: visit.frame("messages"),
        faults,
        flow: chosen,
        flows,
        choices,
        messages: found
            .rows
            .into_iter()
            .map(|message| line(pipeline, message))
            .collect(),
        newest: params.before.is_none() && text.is_empty(),
        refresh: params.address(state, None, true),
        older: found.next.map(|next| match text.is_empty() {
            true => params.address(state, Some(next.as_str()), false),
            false => next.to_string(),
        }),
        channels: configuration
            .channels
            .iter()
            .map(|channel| format!("{} on {}", channel.name, channel.address))
            .collect::<Vec<_>>()
            .join(", "),
        text,
        params,
    })
}

/// How many deliveries are in each state that is not an end, over all accounts: those are few.
async fn open_counts(pipeline: &Pipeline) -> Result<Vec<(journal::State, u64)>, store::Error> {
    let mut totals: Vec<(journal::State, u64)> = Vec::new();
    for account in pipeline.configuration().accounts() {
        for counted in pipeline.store.journal().open_reasons(account).await? {
            match totals.iter_mut().find(|(state, _)| *state == counted.state) {
                Some((_, total)) => *total += counted.count,
                None => totals.push((counted.state, counted.count)),
            }
        }
    }
    Ok(totals)
}

/// How many deliveries are in each state, over all accounts.
pub(in crate::web) async fn total_counts(
    pipeline: &Pipeline,
) -> Result<Vec<(journal::State, u64)>, store::Error> {
    let mut totals: Vec<(journal::State, u64)> = journal::State::ALL
        .iter()
        .map(|state| (*state, 0))
        .collect();
    for account in pipeline.configuration().accounts() {
        for counted in pipeline.store.journal().counts(account).await? {
            if let Some((_, total)) = totals.iter_mut().find(|(state, _)| *state == counted.state) {
                *total += counted.count;
            }
        }
    }
    Ok(totals)
}

pub(super) fn line(pipeline: &Pipeline, message: MessageRow) -> MessageLine {
    let configuration = pipeline.configuration();
    let mut routes = message.deliveries.iter();
    let zone = routes.find_map(|delivery| configuration.route(&delivery.flow));
    let zone = zone.map_or_else(String::new, |route| route.zone_name().to_owned());
    MessageLine {
        id: message.id.to_string(),
        received: Time::of(message.received_at_ms),
        zone,
        event: if message.event.is_empty() {
            "unreadable".into()
        } else {
            message.event
        },
        control_id: message.control_id,
        sender: message.sender.replace('|', " "),
        size: message.size_bytes,
        is_whole: message.is_whole,
        notes: [message.remark, oddities(&message.warnings)]
            .into_iter()
            .filter(|note| !note.is_empty())
            .collect::<Vec<_>>()
            .join("; "),
        origin: message.origin.map(|id| id.to_string()),
        peer: message.peer,
        state: message.route,
        reason: message.detail,
        deliveries: message
            .deliveries
            .into_iter()
            .map(|delivery| DeliveryLine {
                flow: configuration.route(&delivery.flow).map_or_else(
                    || delivery.flow.to_string(),
                    |route| route.flow.name.clone(),
                ),
                why: why(&delivery),
                written: written(&delivery).join(", "),
                id: delivery.id.to_string(),
                state: delivery.state.as_str(),
                attempts: delivery.attempts,
                due: delivery.due_at_ms.map(Time::of),
                flow_id: delivery.flow.to_string(),
                can_be_released: false,
                lacks_field: false,
                way: Vec::new(),
                note: String::new(),
                history: Vec::new(),
                operations: Vec::new(),
            })
            .collect(),
    }
}

/// Nothing waits without a reason: what a delivery says, or what its state means where nothing was said yet.
pub(in crate::web) fn why(delivery: &DeliveryRow) -> String {
    why_of(delivery.state, &delivery.detail)
}

/// The same of any delivery in this state that says this.
pub(super) fn why_of(state: journal::State, said: &str) -> String {
    match state {
        journal::State::Queued if said.is_empty() => {
            "runs when earlier deliveries of the same patient are done and a worker is free".into()
        }
        journal::State::Running if said.is_empty() => {
            "in hand: being mapped, or waiting for LeadSquared's answer or for the account's next free call".into()
        }
        _ => said.to_owned(),
    }
}

pub(in crate::web) fn written(delivery: &DeliveryRow) -> Vec<String> {
    delivery.written.iter().map(ToString::to_string).collect()
}
