//! What a mapping document makes of a flow's sample message, by the very interpreter that generated components carry.
//!
//! Nothing is kept. The document may have faults: each is told with its row, and the others are run without it.

use std::sync::Arc;

use axum::extract::{RawPathParams, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use utoipa::ToSchema;

use super::body::{Body, Unread, json};
use super::error::{Error, Problem};
use super::list::part;
use super::{flows, samples};
use crate::access::{Caller, Right};
use crate::flow::check::Fault;
use crate::flow::template::Kept;
use crate::flow::{Direction, Flow};
use crate::hl7::Message;
use crate::mapping::document::{self, Document};
use crate::mapping::native::{self, Facts};
use crate::mapping::{Tables, shown};
use crate::web::Web;

const NOUN: &str = "mapping";

/// A mapping document to be tried: as text, or as the same in JSON.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "read member by member, so that faults have their place"
)]
pub struct PreviewInput {
    /// TOML.
    mapping: Option<String>,
    /// The same, each table an object.
    #[schema(value_type = Object)]
    document: Option<Value>,
    /// A message of the flow's event to try it on, with other values in the place of its own, instead of the flow's sample.
    sample: Option<String>,
}

/// What came of it.
#[derive(Serialize, ToSchema)]
pub struct Preview {
    /// What is wrong with the document; empty is good.
    pub(in crate::web) faults: Vec<DocumentFault>,
    /// What LeadSquared would be told of the sample by the rows that have no fault; none without a sample, or where something
    /// else than rows is at fault.
    #[schema(value_type = Object)]
    result: Option<Value>,
    /// Why there is no result.
    problem: Option<String>,
    /// Rows whose value was not used as it came.
    #[schema(value_type = Vec<String>)]
    warnings: Value,
    /// The document in its one form.
    pub(in crate::web) text: Option<String>,
}

/// What is wrong with a row.
#[derive(Serialize, ToSchema)]
pub struct DocumentFault {
    /// From 1; in the text that was sent.
    line: usize,
    /// Such as `lead row "mx_MRN"`; empty for the document itself.
    row: String,
    /// Such as `steps`; empty for the row itself.
    key: String,
    text: String,
}

/// The text of a document, whichever form was sent.
pub(in crate::web) fn text_of(body: &mut Body) -> Result<String, Error> {
    let mapping: Option<String> = body.optional("mapping", NOUN)?;
    let document: Option<Value> = body.optional("document", NOUN)?;
    match (mapping, document) {
        (Some(text), None) => Ok(text),
        (None, Some(document)) => from_json(document),
        _ => Err(Error::bad(
            "send a mapping, as text or as document, not both",
        )),
    }
}

/// A document in JSON as TOML.
pub(in crate::web) fn from_json(mut document: Value) -> Result<String, Error> {
    without_nulls(&mut document);
    let text = toml::Table::try_from(&document)
        .map_err(|fault| fault.to_string())
        .and_then(|table| toml::to_string(&table).map_err(|fault| fault.to_string()));
    text.map_err(|fault| Error::invalid(NOUN, vec![Fault::new("", fault)]))
}

/// TOML has no null.
fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

/// The sample of a flow, if the caller may see what comes of it; why not, in words.
async fn sample(
    web: &Web,
    caller: &Caller,
    flow: &Flow,
) -> Result<Result<Message, &'static str>, Error> {
    if flow.direction == Direction::LeadSquaredToEhr {
        return Ok(Err(
            "what a change in LeadSquared would give is shown when one has come",
        ));
    }
    let templates = web.pipeline.store.templates();
    let Some(template) = templates.get(&flow.account, &flow.id).await? else {
        return Ok(Err(
            "the flow has no sample message yet: choose one in the step HL7 event",
        ));
    };
    if template.kept == Kept::Original && caller.may(Right::SeePatientData).is_err() {
        return Ok(Err(
            "the sample is of a patient: you need the right to see patient data",
        ));
    }
    Ok(Message::parse(template.bytes()).map_err(|_| "the sample cannot be read"))
}

/// Tries a mapping document on the flow's sample message.
#[utoipa::path(post, path = "/api/v1/flows/{id}/preview", tag = "releases", params(("id" = String, Path)),
    request_body = PreviewInput, responses((status = 200, body = Preview), (status = "default", body = Problem)))]
pub async fn preview(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
    sent: Unread,
) -> Result<Response, Error> {
    let caller = web.may(&headers, Right::Map).await?;
    let mut body = sent.read().await?;
    let text = text_of(&mut body)?;
    let live: Option<String> = body.optional("sample", NOUN)?;
    body.end(NOUN, &[])?;
    let catalog = web.pipeline.store.catalog();
    let flow = flows::kept(&catalog, &part(&params, "id")?).await?.document;
    let (document, faults) = match Document::parse(&text) {
        Ok(document) => (Some(document), Vec::new()),
        Err(faults) => {
            let rest = without(&text, &faults);
            (rest.and_then(|rest| Document::parse(&rest).ok()), faults)
        }
    };
    let is_whole = faults.is_empty();
    let faults = faults.into_iter().map(|fault| DocumentFault {
        line: fault.line,
        row: fault.row,
        key: fault.key,
        text: fault.text,
    });
    let faults: Vec<_> = faults.collect();
    let Some(document) = document else {
        let preview = Preview {
            faults,
            result: None,
            problem: None,
            warnings: Value::Array(Vec::new()),
            text: None,
        };
        return Ok(json(StatusCode::OK, &preview));
    };
    let sample = match live {
        Some(id) => Ok(Box::pin(samples::deidentified(&web, &flow, &id)).await?),
        None => sample(&web, &caller, &flow).await?,
    };
    let (result, problem, warnings) = match sample {
        Ok(message) => {
            let mut tables = Tables::new();
            for table in catalog.code_tables(&flow.account).await? {
                tables.insert(table.name.clone(), Arc::new(table.into()));
            }
            let facts = Facts {
                event: flow.event.to_string(),
                received_at: Timestamp::now(),
                channel: flow.channel.to_string(),
                settings: flow.choices.settings.clone(),
                tables,
            };
            run(&document, &message, &facts)
        }
        Err(why) => (None, Some(why.to_owned()), Value::Array(Vec::new())),
    };
    let preview = Preview {
        faults,
        result,
        problem,
        warnings,
        text: is_whole.then(|| document.to_text()),
    };
    Ok(json(StatusCode::OK, &preview))
}

/// The text of a document without the rows that are at fault.
fn without(text: &str, faults: &[document::Fault]) -> Option<String> {
    let mut table: toml::Table = text.parse().ok()?;
    let is_faulty = |name: &str| {
        let of = |fault: &document::Fault| fault.row.strip_prefix(name).map(str::to_owned);
        let mut places = faults.iter().filter_map(of);
        places.any(|inside| inside.is_empty() || inside.starts_with(' '))
    };
    let retain = |owner: &mut toml::Table, key: &str, what: &str| {
        if let Some(toml::Value::Array(rows)) = owner.get_mut(key) {
            rows.retain(|row| {
                let target = row.get("target").and_then(toml::Value::as_str);
                !is_faulty(&format!("{what} {:?}", target.unwrap_or_default()))
            });
        }
    };
    retain(&mut table, "lead", "lead row");
    retain(&mut table, "place", "place");
    if let Some(toml::Value::Array(activities)) = table.get_mut("activity") {
        let activities = activities.iter_mut().enumerate();
        for (at, activity) in activities.filter_map(|(at, value)| Some((at, value.as_table_mut()?)))
        {
            let name = format!("activity {}", at + 1);
            for part in ["key", "at", "note"] {
                if is_faulty(&format!("{name} {part}")) {
                    activity.remove(part);
                }
            }
            retain(activity, "field", &format!("{name} field"));
        }
    }
    toml::to_string(&table).ok()
}

fn run(
    document: &Document,
    message: &Message,
    facts: &Facts,
) -> (Option<Value>, Option<String>, Value) {
    let none = Value::Array(Vec::new());
    match native::map(&document.to_program(), message, facts) {
        Ok(ran) => {
            let warnings = shown::warnings(&ran.warnings);
            match ran.outcome {
                Ok(mapped) => (Some(shown::mapped(&mapped)), None, warnings),
                Err(failure) => (None, Some(failure.sentence()), warnings),
            }
        }
        Err(failure) => (None, Some(failure.sentence()), none),
    }
}
