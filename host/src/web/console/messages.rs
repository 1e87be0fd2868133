//! Messages: newest first, each with what became of it, and one message with its way, its attempts and writes.
//!
//! Values are masked. Whoever may see patient data asks for them with a reason, which is recorded, see `api::reveal`.

use askama::Template;
use axum::extract::{Query, RawPathParams, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use serde::Deserialize;

use super::cookie::encoded;
use super::form::Form;
use super::show::Time;
use super::visit::{Faults, Frame, Visit, done, html, refused};
use super::way::{self, Segment, Step};
use crate::access::Right;
use crate::flow::{FlowId, MessageId};
use crate::hl7::Message;
use crate::hl7::deidentify::mask;
use crate::pipeline::Pipeline;
use crate::store;
use crate::store::journal::{self, DeliveryRow, Filter, MessageRow, MessageView};
use crate::web::Web;
use crate::web::api::list::part;
use crate::web::api::reveal::look;
use crate::web::api::traffic;
use crate::web::fault::Fault;

/// Messages on one page.
const PAGE: usize = 50;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    state: Option<String>,
    flow: Option<String>,
    before: Option<String>,
    /// Only the table's rows, for the refresh.
    rows: Option<String>,
}

impl Params {
    fn filter(&self) -> Result<Filter, Fault> {
        let state = match self.state.as_deref().filter(|word| !word.is_empty()) {
            None => None,
            Some(word) => Some(journal::State::parse(word).ok_or(Fault::BadQuery(
                "state is one of queued, running, waiting, parked, delivered, skipped and dead",
            ))?),
        };
        Ok(Filter {
            account: None,
            flow: self.flow.as_deref().map(FlowId::from),
            state,
        })
    }

    fn before(&self) -> Option<MessageId> {
        self.before.as_deref().map(MessageId::from)
    }

    /// The address of this list with another `state` and page.
    fn address(&self, state: Option<&str>, before: Option<&str>, rows: bool) -> String {
        let parts = [
            state.map(|state| format!("state={state}")),
            self.flow
                .as_ref()
                .map(|flow| format!("flow={}", encoded(flow))),
            before.map(|before| format!("before={}", encoded(before))),
            rows.then(|| "rows=1".to_owned()),
        ];
        let query = parts.into_iter().flatten().collect::<Vec<_>>().join("&");
        if query.is_empty() {
            "/messages".into()
        } else {
            format!("/messages?{query}")
        }
    }
}

#[derive(Template)]
#[template(path = "messages.html", blocks = ["rows"])]
struct ListPage {
    frame: Frame,
    flow: Option<String>,
    choices: Vec<Choice>,
    messages: Vec<MessageLine>,
    newest: bool,
    refresh: String,
    older: Option<String>,
    channels: String,
}

struct Choice {
    label: &'static str,
    address: String,
    chosen: bool,
    count: Option<u64>,
}

struct MessageLine {
    id: String,
    received: Time,
    event: String,
    control_id: String,
    sender: String,
    size: i64,
    /// Whether the payload is kept.
    is_whole: bool,
    /// What was odd about it, as codes.
    notes: String,
    peer: String,
    state: String,
    reason: String,
    deliveries: Vec<DeliveryLine>,
}

struct DeliveryLine {
    id: String,
    flow: String,
    flow_id: String,
    state: &'static str,
    attempts: u32,
    written: String,
    why: String,
    due: Option<Time>,
    /// A person can set it going again.
    can_be_released: bool,
    way: Vec<Step>,
    history: Vec<AttemptLine>,
    operations: Vec<OperationLine>,
    /// What it says of itself; only where values are shown.
    note: String,
}

struct AttemptLine {
    started: Time,
    stage: String,
    code: String,
    duration_ms: i64,
}

struct OperationLine {
    sent: Time,
    kind: &'static str,
    target: String,
    state: &'static str,
}

#[derive(Template)]
#[template(path = "message.html")]
struct ShowPage {
    frame: Frame,
    faults: Faults,
    message: MessageLine,
    /// How it came in.
    arrival: Vec<Step>,
    segments: Vec<Segment>,
    /// Values are shown, not masked.
    is_revealed: bool,
    reason: String,
}

/// The list as a page, or only its rows.
pub async fn list(
    State(web): State<Web>,
    visit: Visit,
    query: Query<Params>,
) -> Result<Html<String>, Fault> {
    let pipeline = &web.pipeline;
    let Query(params) = query;
    let page = pipeline
        .store
        .journal()
        .list(&params.filter()?, params.before().as_ref(), PAGE)
        .await?;
    let configuration = pipeline.configuration();
    let mut choices = vec![Choice {
        label: "All",
        address: params.address(None, None, false),
        chosen: params.state.is_none(),
        count: None,
    }];
    if params.rows.is_none() {
        let counts = total_counts(pipeline).await?;
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
    let route = params.flow.as_deref().map(|id| {
        let route = configuration.route(&FlowId::from(id));
        route.map_or_else(|| id.to_owned(), |route| route.flow.name.clone())
    });
    let rendered = ListPage {
        frame: visit.frame("messages"),
        flow: route,
        choices,
        messages: page
            .rows
            .into_iter()
            .map(|message| line(pipeline, message))
            .collect(),
        newest: params.before.is_none(),
        refresh: params.address(params.state.as_deref(), None, true),
        older: page
            .next
            .map(|next| params.address(params.state.as_deref(), Some(next.as_str()), false)),
        channels: configuration
            .channels
            .iter()
            .map(|channel| format!("{} on {}", channel.name, channel.address))
            .collect::<Vec<_>>()
            .join(", "),
    };
    Ok(Html(if params.rows.is_some() {
        rendered.as_rows().render()?
    } else {
        rendered.render()?
    }))
}

/// One message as a page.
pub async fn show(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
) -> Result<Response, Fault> {
    let view = find(&web.pipeline, &params).await?;
    html(&page(&web, &visit, &view))
}

/// One message with its values, for somebody who says why.
pub async fn reveal(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
    form: Form,
) -> Result<Response, Fault> {
    let view = find(&web.pipeline, &params).await?;
    let mut shown = page(&web, &visit, &view);
    shown.reason = form.get("reason").to_owned();
    let looking = look(
        &web,
        &visit.headers,
        view.message.id.as_str(),
        form.get("reason"),
    );
    match looking.await {
        Ok(revealed) => {
            shown.is_revealed = true;
            shown.segments = read(&web, &view)
                .map(|message| way::segments(&message))
                .unwrap_or_default();
            for note in revealed.notes {
                let mut deliveries = shown.message.deliveries.iter_mut();
                if let Some(line) = deliveries.find(|line| line.id == note.delivery) {
                    line.note = note.text;
                }
            }
            html(&shown)
        }
        Err(fault) => {
            shown.faults = Faults::of(&fault);
            Ok((StatusCode::UNPROCESSABLE_ENTITY, html(&shown)?).into_response())
        }
    }
}

/// Sets a delivery going again.
pub async fn release(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
    form: Form,
) -> Result<Response, Fault> {
    let to = match form.some("message") {
        Some(id) => format!("/messages/{}", encoded(&id)),
        None => {
            let id = part(&params, "id")?;
            format!("/messages?{}", encoded(&id))
        }
    };
    let releasing = traffic::release(State(web), visit.headers.clone(), params);
    Ok(match releasing.await {
        Ok(_) => done(&visit, &to, "The delivery is queued again."),
        Err(fault) => refused(&visit, &to, &fault),
    })
}

fn read(web: &Web, view: &MessageView) -> Option<Message> {
    let reading = web.pipeline.configuration().reading(&view.message.channel);
    Message::parse_with(view.payload.as_deref()?, reading).ok()
}

/// The page with masked values.
fn page(web: &Web, visit: &Visit, view: &MessageView) -> ShowPage {
    let mut message = line(&web.pipeline, view.message.clone());
    for ((delivery, row), seen) in message
        .deliveries
        .iter_mut()
        .zip(&view.message.deliveries)
        .zip(&view.deliveries)
    {
        delivery.way = way::of_delivery(row, seen);
        delivery.can_be_released = visit.may(Right::Operate)
            && matches!(
                row.state,
                journal::State::Dead | journal::State::Waiting | journal::State::Parked
            );
        delivery.history = seen
            .attempts
            .iter()
            .map(|attempt| AttemptLine {
                started: Time::of(attempt.started_at_ms),
                stage: attempt.stage.clone(),
                code: attempt.code.clone(),
                duration_ms: attempt.duration_ms,
            })
            .collect();
        delivery.operations = seen
            .operations
            .iter()
            .map(|operation| OperationLine {
                sent: Time::of(operation.started_at_ms),
                kind: operation.kind.as_str(),
                state: operation.state.as_str(),
                target: match &operation.state {
                    journal::OperationState::Done {
                        target: Some(target),
                    } => target.clone(),
                    _ => String::new(),
                },
            })
            .collect();
    }
    let masked = read(web, view).and_then(|message| Message::parse(&mask(&message)).ok());
    ShowPage {
        frame: visit.frame("messages"),
        faults: Faults::default(),
        arrival: way::of_arrival(view),
        segments: masked
            .map(|message| way::segments(&message))
            .unwrap_or_default(),
        is_revealed: false,
        reason: String::new(),
        message,
    }
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

async fn find(pipeline: &Pipeline, params: &RawPathParams) -> Result<MessageView, Fault> {
    let id = params
        .iter()
        .find(|(name, _)| *name == "id")
        .map(|(_, id)| MessageId::from(id))
        .ok_or(Fault::NotFound)?;
    for account in pipeline.configuration().accounts() {
        if let Some(view) = pipeline.store.journal().message(account, &id).await? {
            return Ok(view);
        }
    }
    Err(Fault::NotFound)
}

fn line(pipeline: &Pipeline, message: MessageRow) -> MessageLine {
    let configuration = pipeline.configuration();
    MessageLine {
        id: message.id.to_string(),
        received: Time::of(message.received_at_ms),
        event: if message.event.is_empty() {
            "unreadable".into()
        } else {
            message.event
        },
        control_id: message.control_id,
        sender: message.sender.replace('|', " "),
        size: message.size_bytes,
        is_whole: message.is_whole,
        notes: [message.remark.as_str(), &message.warnings]
            .into_iter()
            .filter(|note| !note.is_empty())
            .collect::<Vec<_>>()
            .join(" "),
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
