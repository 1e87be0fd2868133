//! Webhooks on pages: how those of an account or of one flow stand, and making those that are missing.

use axum::extract::{RawPathParams, State};
use axum::http::header;
use axum::response::Response;

use super::flow_new::webhook_words;
use super::form::Form;
use super::visit::{Visit, done, refused};
use crate::flow::{AccountId, Flow};
use crate::pipeline::webhooks::{Subject, WebhookStatus, Webhooks};
use crate::web::Web;
use crate::web::api::error::Error;
use crate::web::api::list::part;
use crate::web::api::webhooks;
use crate::web::fault::Fault;

/// How webhooks stand, as pages show it.
pub(super) struct Shown {
    pub account: String,
    /// The page that it stands on.
    pub back: String,
    pub lines: Vec<Line>,
    /// One of the lines is missing: it can be made.
    pub is_missing: bool,
    /// Where LeadSquared finds this host; a proposal where nobody has said it.
    pub address: String,
    /// As the account's plan allows, and those that there are, of other programs too.
    pub limit: u32,
    pub used: usize,
    pub has_room: bool,
}

/// What LeadSquared tells of, or should.
pub(super) struct Line {
    /// Such as `Lead is updated`.
    pub label: String,
    /// Such as `lead-update`.
    pub name: String,
    /// The class of the mark, and what it says.
    pub class: &'static str,
    pub state: &'static str,
    pub text: &'static str,
}

fn line(subject: Subject, found: Option<WebhookStatus>, is_polled: bool) -> Line {
    let (class, state, text) = match found {
        Some(WebhookStatus::Enabled) => ("active", "on", ""),
        Some(WebhookStatus::DisabledByHand) => (
            "paused",
            "turned off",
            "A person turned it off in LeadSquared, where it can be turned on again.",
        ),
        Some(WebhookStatus::DisabledAfterFailures) => (
            "dead",
            "turned off",
            "LeadSquared turned it off, because this host did not answer. It is made anew within a quarter of an hour.",
        ),
        None if is_polled => (
            "active",
            "read",
            "There is no webhook; the account is read every few minutes instead.",
        ),
        None => (
            "dead",
            "missing",
            "Without it the flow hears of nothing that changes in LeadSquared.",
        ),
    };
    Line {
        label: webhook_words(subject.event).to_owned(),
        name: subject.to_string(),
        class,
        state,
        text,
    }
}

/// How the webhook of `flow` stands, or all of an account; why that is not known.
pub(super) async fn shown(
    web: &Web,
    visit: &Visit,
    account: &AccountId,
    flow: Option<&Flow>,
) -> Result<Shown, String> {
    let seen = Box::pin(web.pipeline.webhooks_lately(account)).await;
    let seen = seen.map_err(|fault| Error::from(fault).message().to_owned())?;
    let configuration = web.pipeline.configuration();
    let entry = configuration.account(account);
    let is_polled = entry.is_some_and(|entry| entry.account.poll.is_some());
    let found = |subject: Subject| {
        let mut known = seen.webhooks.iter();
        let known = known.find(|standing| standing.subject == subject);
        known.map(|standing| standing.status)
    };
    let mut subjects: Vec<Subject> = match flow {
        Some(flow) => Subject::of(flow).into_iter().collect(),
        None => {
            let known = seen.webhooks.iter().map(|standing| standing.subject);
            let needed = web.pipeline.needed_webhooks(account).await;
            let needed = needed.map_err(|fault| fault.to_string())?;
            known.chain(needed).collect()
        }
    };
    subjects.sort();
    subjects.dedup();
    let lines: Vec<Line> = (subjects.iter())
        .map(|subject| {
            let is_polled = is_polled && subject.can_be_polled();
            line(*subject, found(*subject), is_polled)
        })
        .collect();
    Ok(Shown {
        account: account.to_string(),
        back: match flow {
            Some(flow) => format!("/flows/{}", flow.id),
            None => String::new(),
        },
        is_missing: lines.iter().any(|line| line.state == "missing"),
        lines,
        has_room: seen.has_room(),
        limit: seen.limit,
        used: seen.used,
        address: seen.address.unwrap_or_else(|| own_address(visit)),
    })
}

/// Where this browser finds the host: LeadSquared may find it there, too.
fn own_address(visit: &Visit) -> String {
    let host = visit.headers.get(header::HOST);
    let Some(host) = host.and_then(|host| host.to_str().ok()) else {
        return String::new();
    };
    let is_here = host.starts_with("127.0.0.1") || host.starts_with("localhost");
    match is_here {
        true => format!("http://{host}"),
        false => format!("https://{host}"),
    }
}

/// Makes what is missing, with what a form says of address and plan.
pub(super) async fn make_by(
    web: &Web,
    visit: &Visit,
    account: &str,
    form: &Form,
) -> Result<Webhooks, Error> {
    let address = form.some("address");
    let limit = form.some("limit").and_then(|limit| limit.parse().ok());
    let making = webhooks::make_all(web, &visit.headers, account, address.as_deref(), limit);
    Box::pin(making).await
}

/// Makes the webhooks that an account's flows need and that are missing.
pub async fn make(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
    form: Form,
) -> Result<Response, Fault> {
    let id = part(&params, "id")?;
    let back = form.some("back").filter(|back| back.starts_with("/flows/"));
    let to = back.unwrap_or_else(|| format!("/accounts/{id}"));
    Ok(match make_by(&web, &visit, &id, &form).await {
        Ok(made) if made.missing.is_empty() => done(&visit, &to, "The webhooks are there."),
        Ok(made) => {
            let missing: Vec<_> = made.missing.iter().map(ToString::to_string).collect();
            let text = format!("still missing: {}", missing.join(", "));
            refused(&visit, &to, &Error::bad(text))
        }
        Err(fault) => refused(&visit, &to, &fault),
    })
}
