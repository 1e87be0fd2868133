//! Messages: newest first, each with what became of it, and one message with its attempts and writes.

use askama::Template;
use axum::extract::{Query, RawPathParams, State};
use axum::http::HeaderMap;
use axum::response::Html;
use jiff::Timestamp;
use serde::Deserialize;

use super::Web;
use super::fault::Fault;
use crate::flow::{FlowId, MessageId};
use crate::pipeline::Pipeline;
use crate::store;
use crate::store::journal::{self, DeliveryRow, Filter, MessageRow, MessageView};

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

/// Text in a query: everything but letters, digits, dash and dot becomes `%XX`.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[derive(Template)]
#[template(path = "messages.html", blocks = ["rows"])]
struct ListPage {
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
    received: String,
    event: String,
    control_id: String,
    sender: String,
    channel: String,
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
    state: &'static str,
    attempts: u32,
    written: String,
    why: String,
    due: Option<String>,
    history: Vec<AttemptLine>,
    operations: Vec<OperationLine>,
}

struct AttemptLine {
    started: String,
    stage: String,
    code: String,
    duration_ms: i64,
}

struct OperationLine {
    sent: String,
    kind: &'static str,
    target: String,
    state: &'static str,
}

#[derive(Template)]
#[template(path = "message.html")]
struct ShowPage {
    message: MessageLine,
}

/// The list as a page, or only its rows.
pub async fn list(
    State(web): State<Web>,
    headers: HeaderMap,
    query: Query<Params>,
) -> Result<Html<String>, Fault> {
    web.may_read(&headers).await?;
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
    let rendered = ListPage {
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
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<Html<String>, Fault> {
    web.may_read(&headers).await?;
    let pipeline = &web.pipeline;
    let view = find(pipeline, &params).await?;
    let mut message = line(pipeline, view.message);
    for (delivery, seen) in message.deliveries.iter_mut().zip(view.deliveries) {
        delivery.history = seen
            .attempts
            .into_iter()
            .map(|attempt| AttemptLine {
                started: utc(attempt.started_at_ms),
                stage: attempt.stage,
                code: attempt.code,
                duration_ms: attempt.duration_ms,
            })
            .collect();
        delivery.operations = seen
            .operations
            .into_iter()
            .map(|operation| OperationLine {
                sent: utc(operation.started_at_ms),
                kind: operation.kind.as_str(),
                state: operation.state.as_str(),
                target: match operation.state {
                    journal::OperationState::Done {
                        target: Some(target),
                    } => target,
                    _ => String::new(),
                },
            })
            .collect();
    }
    Ok(Html(ShowPage { message }.render()?))
}

/// How many deliveries are in each state, over all accounts.
pub(super) async fn total_counts(
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
        received: utc(message.received_at_ms),
        event: if message.event.is_empty() {
            "unreadable".into()
        } else {
            message.event
        },
        control_id: message.control_id,
        sender: message.sender.replace('|', " "),
        channel: message.channel.to_string(),
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
                due: delivery.due_at_ms.map(utc),
                history: Vec::new(),
                operations: Vec::new(),
            })
            .collect(),
    }
}

/// Nothing waits without a reason: what a delivery says, or what its state means where nothing was said yet.
pub(super) fn why(delivery: &DeliveryRow) -> String {
    let said = &delivery.detail;
    match delivery.state {
        journal::State::Queued if said.is_empty() => {
            "runs when earlier deliveries of the same patient are done and a worker is free".into()
        }
        journal::State::Running if said.is_empty() => {
            "in hand: being mapped, or waiting for LeadSquared's answer or for the account's next free call".into()
        }
        _ => said.clone(),
    }
}

pub(super) fn written(delivery: &DeliveryRow) -> Vec<String> {
    delivery.written.iter().map(ToString::to_string).collect()
}

/// For people: to the second, in UTC.
fn utc(at_ms: i64) -> String {
    timestamp(at_ms).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

fn timestamp(at_ms: i64) -> Timestamp {
    Timestamp::from_millisecond(at_ms).unwrap_or_default()
}
