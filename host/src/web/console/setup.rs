//! First start: connect an account, then a list of what is left before the first patient.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde_json::json;

use super::form::Form;
use super::show::Time;
use super::visit::{Faults, Frame, Visit, again, done, html};
use crate::pipeline::account::Found;
use crate::store::catalog::Listing;
use crate::web::Web;
use crate::web::api::accounts;
use crate::web::api::body::Unread;
use crate::web::api::setup::{self, Step, Which};
use crate::web::fault::Fault;

#[derive(Template)]
#[template(path = "setup.html")]
struct SetupPage {
    frame: Frame,
    steps: Vec<Line>,
    left: usize,
    accounts: Vec<(String, String)>,
}

/// A step with where it is done.
struct Line {
    title: &'static str,
    done: bool,
    text: String,
    at: Option<Time>,
    /// Where it is done, or to be looked at; empty where this person may not.
    link: String,
    action: &'static str,
}

#[derive(Template)]
#[template(path = "account_new.html")]
struct NewPage {
    frame: Frame,
    faults: Faults,
    simulator: bool,
    name: String,
    api: String,
    is_first: bool,
}

fn line(visit: &Visit, step: Step) -> Line {
    use crate::access::Right;
    let subject = step.subject.as_deref();
    let (title, right, link, action) = match (step.step, subject) {
        (Which::Account, None) => (
            "Connect LeadSquared",
            Right::Administer,
            "/setup/account".to_owned(),
            "Connect",
        ),
        (Which::Account, Some(id)) => (
            "Connect LeadSquared",
            Right::Administer,
            format!("/accounts/{id}"),
            "Look at the account",
        ),
        (Which::Channel, None) => (
            "Let the EHR in",
            Right::Administer,
            "/channels/new".into(),
            "Make a channel",
        ),
        (Which::Channel, Some(id)) => (
            "Let the EHR in",
            Right::View,
            format!("/channels/{id}"),
            "Look at the channel",
        ),
        (Which::Flow, None) => (
            "Make a flow",
            Right::Map,
            "/flows/new".into(),
            "Create flow",
        ),
        (Which::Flow, Some(id)) => match step.done {
            true => (
                "Make a flow",
                Right::View,
                format!("/flows/{id}"),
                "Look at the flow",
            ),
            false => (
                "Make a flow",
                Right::Map,
                format!("/flows/{id}/basic"),
                "Go on with the flow",
            ),
        },
        (Which::Message, id) => (
            "First message",
            Right::View,
            id.map_or_else(String::new, |id| format!("/messages/{id}")),
            "Look at it",
        ),
        (Which::Webhook, id) => (
            "Let LeadSquared tell what changes",
            Right::Administer,
            id.map_or_else(String::new, |id| format!("/accounts/{id}#webhooks")),
            "Look at the webhooks",
        ),
        (Which::Lead, id) => (
            "First lead",
            Right::View,
            id.map_or_else(String::new, |id| format!("/messages/{id}")),
            "Look at its way",
        ),
    };
    Line {
        title,
        done: step.done,
        text: step.text,
        at: step.at_ms.map(Time::of),
        link: match visit.may(right) {
            true => link,
            false => String::new(),
        },
        action,
    }
}

/// Shows what is done and what is left.
pub async fn show(State(web): State<Web>, visit: Visit) -> Result<Response, Fault> {
    let setup = setup::setup(&web).await?;
    let listing = web.pipeline.store.catalog().list().await?;
    let accounts = listing.accounts.into_iter().map(|kept| kept.document);
    html(&SetupPage {
        frame: visit.frame("setup"),
        left: setup.steps.iter().filter(|step| !step.done).count(),
        steps: setup
            .steps
            .into_iter()
            .map(|step| line(&visit, step))
            .collect(),
        accounts: accounts
            .map(|account| (account.id.to_string(), account.name))
            .collect(),
    })
}

/// Asks for the keys of an account.
pub async fn new(State(web): State<Web>, visit: Visit) -> Result<Response, Fault> {
    let listing = web.pipeline.store.catalog().list().await?;
    html(&NewPage {
        frame: visit.frame("setup"),
        faults: Faults::default(),
        simulator: web.simulator.is_some(),
        name: String::new(),
        api: String::new(),
        is_first: listing.accounts.is_empty(),
    })
}

/// Connects an account, and shows what was found.
pub async fn connect(State(web): State<Web>, visit: Visit, form: Form) -> Result<Response, Fault> {
    let listing = web.pipeline.store.catalog().list().await?;
    let is_first = listing.accounts.is_empty();
    let simulated = form.has("simulator");
    let name = match (form.some("name"), simulated) {
        (Some(name), _) => name,
        (None, true) => "Simulator".into(),
        (None, false) => String::new(),
    };
    let id = free_id(&listing, &name);
    let mut account = json!({ "id": id, "name": name });
    if let Some(api) = form.some("api").filter(|_| !simulated) {
        account["api"] = api.into();
    }
    let body = match simulated {
        true => json!({ "account": account, "simulator": true }),
        false => json!({
            "account": account,
            "keys": { "access_key": form.get("access_key"), "secret_key": form.get("secret_key") },
        }),
    };
    let connecting = accounts::connect(&web, &visit.headers, Unread::of(body));
    match Box::pin(connecting).await {
        Ok((kept, found)) => Ok(done(
            &visit,
            &format!("/accounts/{}", kept.document.id),
            &words(&found),
        )),
        Err(fault) => again(&NewPage {
            frame: visit.frame("setup"),
            faults: Faults::of(&fault),
            simulator: web.simulator.is_some(),
            name,
            api: form.get("api").to_owned(),
            is_first,
        }),
    }
}

/// What was found behind the keys, in one line.
fn words(found: &Found) -> String {
    let zone = found.time_zone.as_deref().unwrap_or("no known time zone");
    let country = match &found.default_country_code {
        Some(code) => format!("country code {code}"),
        None => "no country code".into(),
    };
    format!(
        "Found at {}: organisation {}, keys of {} ({}), {zone}, {country}, {} lead fields.",
        found.api, found.organisation, found.user, found.role, found.lead_fields
    )
}

/// `Main Street Clinic` is `main-street-clinic`, or with a number where that is taken.
fn free_id(listing: &Listing, name: &str) -> String {
    let taken = |id: &str| {
        let mut accounts = listing.accounts.iter();
        accounts.any(|kept| kept.document.id.as_str() == id)
    };
    super::form::free_id(name, "account", taken)
}
