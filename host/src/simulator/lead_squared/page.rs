//! What a person or a test sees of the simulator: a plain page, the state as JSON, the faults.
//!
//! - `GET /` the page; what a person can change there is in `person`
//! - `GET /state` everything; `?after=N` gives counts and the writes after the one numbered N only
//! - `GET /faults`, `POST /faults` with one fault or an array of them, `DELETE /faults`

use std::fmt::Write as _;

use axum::http::Method;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::account::{Account, ActivityView, Counts, LeadView, Write, utc};
use super::answer::{Answer, JSON, Refusal};
use super::fault::{Fault, Kind};
use super::person;
use super::server::{Call, Server};
use super::webhook::{HookView, Told};
use crate::simulator::html::{self, Cell, table};

/// Rows of each table of the page.
const ROWS: usize = 50;

pub(super) fn answer(server: &Server, method: &Method, call: &Call) -> Answer {
    match (method.as_str(), call.route()) {
        ("GET", "/") => Answer::html(200, page(&server.account())),
        (_, path) if path.starts_with("/leads") || path.starts_with("/activities") => {
            person::answer(server, method, call)
        }
        ("GET", "/state") => state(&server.account(), call),
        ("GET", "/faults") => Answer::json(&server.faults().waiting()),
        ("POST", "/faults") => add_faults(server, call),
        ("DELETE", "/faults") => {
            server.faults().clear();
            Answer::json(&server.faults().waiting())
        }
        (_, "/" | "/state" | "/faults") => Refusal::WrongVerb.answer(false),
        _ => Refusal::NoSuchPath.answer(false),
    }
}

#[derive(Serialize)]
struct State<'a> {
    counts: Counts,
    #[serde(skip_serializing_if = "Option::is_none")]
    leads: Option<Vec<LeadView>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    activities: Option<Vec<ActivityView>>,
    writes: &'a [Write],
    #[serde(skip_serializing_if = "Option::is_none")]
    webhooks: Option<Vec<HookView>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    told: Option<&'a [Told]>,
}

fn state(account: &Account, call: &Call) -> Answer {
    let after = call.param("after").and_then(|seq| seq.parse().ok());
    Answer::json(&State {
        counts: account.counts(),
        leads: after.is_none().then(|| account.lead_views()),
        activities: after.is_none().then(|| account.activity_views()),
        writes: account.writes_after(after.unwrap_or(0)),
        webhooks: after.is_none().then(|| account.hooks.views()),
        told: after.is_none().then(|| account.hooks.deliveries()),
    })
}

fn add_faults(server: &Server, call: &Call) -> Answer {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Body {
        Many(Vec<Fault>),
        One(Fault),
    }
    match serde_json::from_slice(&call.body) {
        Ok(Body::Many(faults)) => faults.into_iter().for_each(|fault| server.inject(fault)),
        Ok(Body::One(fault)) => server.inject(fault),
        // Asked again for one fault, because of the better text.
        Err(_) => {
            let error = serde_json::from_slice::<Fault>(&call.body).err();
            let text = error.map_or("not a list of faults".to_owned(), |error| error.to_string());
            #[derive(Serialize)]
            struct Wrong {
                error: String,
            }
            return Answer {
                status: 400,
                content_type: JSON,
                ..Answer::json(&Wrong { error: text })
            };
        }
    }
    Answer::json(&server.faults().waiting())
}

impl Kind {
    /// The name that stands in the write log.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Delay => "delay",
            Kind::Drop => "drop",
            Kind::BadGateway => "bad-gateway",
            Kind::Html => "html",
            Kind::RateLimit => "rate-limit",
            Kind::Unauthorized => "unauthorized",
            Kind::DeleteLead => "delete-lead",
        }
    }
}

/// Newest first, as far as the rows go.
fn page(account: &Account) -> String {
    let counts = account.counts();
    let mut html = format!(
        "<p>{} leads, {} activities, {} writes, {} calls let in, {} refused by the rate limit, {} webhooks delivered, \
         {} not. As JSON: <a href=\"/state\">/state</a>. Reload to see more.</p>\
         <p><a href=\"/leads/new\">New lead</a></p>",
        counts.leads,
        counts.activities,
        counts.writes,
        counts.calls,
        counts.limited,
        counts.told,
        counts.not_told
    );

    let leads = account.leads.iter().rev().filter(|lead| !lead.is_deleted);
    let leads = leads.take(ROWS).map(|lead| {
        let values = lead.values.iter();
        let values = values.map(|(field, value)| (&account.fields.at(*field).schema_name, value));
        [
            Cell::Link {
                to: format!("/leads/{}", lead.id),
                text: lead.id.to_string(),
            },
            utc(lead.created_at).into(),
            utc(lead.modified_at).into(),
            listed(values).into(),
        ]
    });
    table(
        &mut html,
        "Leads",
        ["Id", "Created", "Modified", "Values"],
        leads,
    );

    let activities = account.activities.iter().rev().take(ROWS).map(|activity| {
        let mut values = listed(activity.values.iter().map(|(name, value)| (name, value)));
        if !activity.note.is_empty() {
            let _ = write!(values, "\nNote: {}", activity.note);
        }
        let lead = account.leads[activity.lead].id;
        [
            Cell::Link {
                to: format!("/activities/{}", activity.id),
                text: activity.id.to_string(),
            },
            Cell::Link {
                to: format!("/leads/{lead}"),
                text: lead.to_string(),
            },
            format!("{} {}", activity.code, account.types.0[&activity.code].name).into(),
            activity.at.as_str().into(),
            values.into(),
        ]
    });
    table(
        &mut html,
        "Activities",
        ["Id", "Lead", "Type", "At", "Values"],
        activities,
    );

    let writes = account
        .writes_after(0)
        .iter()
        .rev()
        .take(ROWS)
        .map(|write| {
            let at = Timestamp::from_millisecond(write.at_ms).unwrap_or_default();
            [
                write.seq.to_string().into(),
                utc(at).into(),
                write.route.as_str().into(),
                write
                    .activity
                    .as_ref()
                    .unwrap_or(&write.lead)
                    .as_str()
                    .into(),
                write.fault.unwrap_or_default().into(),
            ]
        });
    table(
        &mut html,
        "Last writes",
        ["#", "At", "Call", "Wrote", "Fault"],
        writes,
    );
    let hooks = account.hooks.views().into_iter().map(|hook| {
        [
            hook.id.into(),
            format!("{} {}", hook.event, hook.activity.unwrap_or_default()).into(),
            hook.url.into(),
            hook.status.into(),
            hook.failures_in_a_row.to_string().into(),
        ]
    });
    table(
        &mut html,
        "Webhooks",
        ["Id", "Event", "URL", "Status", "Failures in a row"],
        hooks,
    );

    let told = account.hooks.deliveries().iter().rev().take(ROWS);
    let told = told.map(|told| {
        [
            told.event.into(),
            told.tries.to_string().into(),
            if told.is_taken { "taken" } else { "not taken" }.into(),
            told.body.as_str().into(),
        ]
    });
    table(
        &mut html,
        "Last deliveries of webhooks",
        ["Event", "Tries", "Outcome", "Body"],
        told,
    );
    html::page("LeadSquared simulator", &html)
}

fn listed<'a>(values: impl Iterator<Item = (&'a String, &'a String)>) -> String {
    let mut lines: Vec<String> = values
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    lines.sort();
    lines.join("\n")
}
