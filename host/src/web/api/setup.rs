//! The way to the first patient: five steps, each as it stands at this moment.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::json;
use super::error::{Error, Problem};
use super::rfc3339;
use crate::access::Right;
use crate::flow::channel::Kind;
use crate::flow::{Direction, Flow, Status};
use crate::hl7::is_probe;
use crate::pipeline::webhooks::Subject;
use crate::store;
use crate::store::catalog::Listing;
use crate::store::journal::{Filter, MessageRow, State as Delivery};
use crate::web::Web;

/// Messages that are looked through for the first lead.
const LOOKED_AT: usize = 50;

/// How far the host is set up.
#[derive(Debug, Serialize, ToSchema)]
pub struct Setup {
    /// In their order.
    pub steps: Vec<Step>,
    /// Whether this process runs a LeadSquared simulator that can stand in for an account.
    pub simulator: bool,
}

/// One step to the first patient.
#[derive(Debug, Serialize, ToSchema)]
pub struct Step {
    pub step: Which,
    pub done: bool,
    /// How it stands, or what to do.
    pub text: String,
    /// The account, channel, flow or message that it is about.
    pub subject: Option<String>,
    /// When it was done, where that is known.
    pub at: Option<String>,
    #[serde(skip)]
    pub at_ms: Option<i64>,
}

/// The steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Which {
    /// A LeadSquared account is connected.
    Account,
    /// A channel listens for the EHR.
    Channel,
    /// A flow to LeadSquared is active.
    Flow,
    /// A message came.
    Message,
    /// A lead was written.
    Lead,
    /// LeadSquared tells what the flows to the EHR must hear of; there is no such step without such a flow.
    Webhook,
}

impl Step {
    fn open(step: Which, text: impl Into<String>) -> Self {
        Self {
            step,
            done: false,
            text: text.into(),
            subject: None,
            at: None,
            at_ms: None,
        }
    }

    fn done(step: Which, text: impl Into<String>, subject: &str) -> Self {
        Self {
            done: true,
            ..Self::open(step, text).about(subject)
        }
    }

    fn about(self, subject: &str) -> Self {
        Self {
            subject: Some(subject.to_owned()),
            ..self
        }
    }

    fn at(self, at_ms: i64) -> Self {
        Self {
            at: Some(rfc3339(at_ms)),
            at_ms: Some(at_ms),
            ..self
        }
    }
}

/// How far the host is set up, now.
pub(in crate::web) async fn setup(web: &Web) -> Result<Setup, store::Error> {
    let listing = web.pipeline.store.catalog().list().await?;
    let journal = web.pipeline.store.journal();
    let newest = journal.list(&Filter::default(), None, LOOKED_AT).await?;
    let mut newest = newest.rows.iter();
    let newest = newest.find(|row| !is_probe(&row.sender, &row.event));
    let filter = Filter {
        state: Some(Delivery::Delivered),
        ..Filter::default()
    };
    let delivered = journal.list(&filter, None, LOOKED_AT).await?;
    let mut steps = vec![
        account(&listing),
        channel(web, &listing),
        flow(&listing),
        message(newest),
        lead(&delivered.rows),
    ];
    steps.extend(webhook(web, &listing).await?);
    Ok(Setup {
        steps,
        simulator: web.simulator.is_some(),
    })
}

fn account(listing: &Listing) -> Step {
    let step = Which::Account;
    match listing.accounts.first() {
        None => Step::open(step, "Connect a LeadSquared account by its keys."),
        Some(kept) => {
            let account = &kept.document;
            let text = format!("{} is connected, at {}.", account.name, account.api);
            Step::done(step, text, account.id.as_str())
        }
    }
}

fn channel(web: &Web, listing: &Listing) -> Step {
    let step = Which::Channel;
    let mut broken = None;
    let channels = listing.channels.iter().map(|kept| &kept.document);
    for channel in channels.filter(|channel| channel.kind() == Kind::Inbound) {
        let id = channel.id.as_str();
        match web.pipeline.listening(&channel.id) {
            Some(Ok(address)) => {
                let text = format!("{} listens on {address}.", channel.name);
                return Step::done(step, text, id);
            }
            Some(Err(fault)) => {
                let text = format!("{} does not listen: {fault}.", channel.name);
                broken = Some(Step::open(step, text).about(id));
            }
            None => {
                let text = format!("{} does not listen yet.", channel.name);
                broken = Some(Step::open(step, text).about(id));
            }
        }
    }
    broken.unwrap_or_else(|| Step::open(step, "Make a channel, the address that the EHR sends to."))
}

fn flow(listing: &Listing) -> Step {
    let step = Which::Flow;
    let flows = listing.flows.iter().map(|kept| &kept.document);
    let flows: Vec<&Flow> = flows
        .filter(|flow| flow.direction == Direction::EhrToLeadSquared)
        .collect();
    let active = flows.iter().find(|flow| flow.status == Status::Active);
    match (active, flows.first()) {
        (Some(flow), _) => {
            let text = format!("{} transfers messages.", flow.name);
            Step::done(step, text, flow.id.as_str())
        }
        (None, Some(flow)) => {
            let text = format!("{} is there, and not started yet.", flow.name);
            Step::open(step, text).about(flow.id.as_str())
        }
        (None, None) => Step::open(
            step,
            "Create a flow: which event of the EHR becomes a lead or an activity.",
        ),
    }
}

/// What LeadSquared must tell, of the first account that lacks something; none where nothing has to be told.
async fn webhook(web: &Web, listing: &Listing) -> Result<Option<Step>, store::Error> {
    let step = Which::Webhook;
    let mut told = None;
    for kept in &listing.accounts {
        let (account, id) = (&kept.document, kept.document.id.as_str());
        let names = |subjects: BTreeSet<Subject>| {
            let names: Vec<_> = subjects.iter().map(Subject::to_string).collect();
            names.join(", ")
        };
        let needed = web.pipeline.needed_webhooks(&account.id).await?;
        if needed.is_empty() {
            continue;
        }
        let missing = web.pipeline.missing_webhooks(&account.id).await?;
        if !missing.is_empty() {
            let text = format!(
                "LeadSquared does not tell of {}: the flows that need it hear of nothing.",
                names(missing)
            );
            return Ok(Some(Step::open(step, text).about(id)));
        }
        let text = format!("LeadSquared tells of {}.", names(needed));
        told = Some(Step::done(step, text, id));
    }
    Ok(told)
}

fn message(newest: Option<&MessageRow>) -> Step {
    let step = Which::Message;
    match newest {
        None => Step::open(
            step,
            "No message came yet. Ask the EHR's team to send one to the channel's address.",
        ),
        Some(row) => {
            let text = format!("{} came over {}.", row.event, row.channel);
            Step::done(step, text, row.id.as_str()).at(row.received_at_ms)
        }
    }
}

fn lead(delivered: &[MessageRow]) -> Step {
    let step = Which::Lead;
    let wrote_lead = |row: &&MessageRow| {
        let written = row.deliveries.iter().flat_map(|delivery| &delivery.written);
        written
            .into_iter()
            .any(|write| write.kind.ends_with("-lead"))
    };
    match delivered.iter().find(wrote_lead) {
        None => Step::open(step, "No lead was written yet."),
        Some(row) => {
            let text = format!("{} became a lead.", row.event);
            Step::done(step, text, row.id.as_str()).at(row.received_at_ms)
        }
    }
}

/// Tells how far the host is set up, step by step to the first patient.
#[utoipa::path(get, path = "/api/v1/setup", tag = "setup",
    responses((status = 200, body = Setup), (status = "default", body = Problem)))]
pub async fn show(State(web): State<Web>, headers: HeaderMap) -> Result<Response, Error> {
    web.may(&headers, Right::View).await?;
    Ok(json(StatusCode::OK, &setup(&web).await?))
}
