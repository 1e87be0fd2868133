//! What a person does in the user interface: leads and activities made and changed by hand, by a form or as JSON.
//!
//! - `GET /leads/new`, `GET /leads/{id}`, `GET /activities/{id}` forms
//! - `POST /leads`, `POST /leads/{id}`: fields as a form, or `{"values":{"FirstName":"Ana"}}`
//! - `POST /leads/{id}/activities`, `POST /activities/{id}`: `{"code":205,"note":"","values":{"Status":"Booked"}}`
//! - `POST /leads/{id}/delete`
//!
//! A person's changes are told of always, and stand in nobody's log of API writes.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use axum::http::Method;
use serde::Deserialize;
use serde_json::json;

use super::account::Account;
use super::answer::{Answer, Refusal};
use super::lead::{self, Pair};
use super::server::{Call, Server, parse_query};
use super::{activity, search};
use crate::simulator::html::{escape, page};

/// Fields and what they are to hold; none empties.
type Values = Vec<(String, Option<String>)>;

pub(super) fn pairs(values: &[(&str, &str)]) -> Values {
    let values = values.iter();
    values
        .map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned())))
        .collect()
}

/// What a person sent.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Sent {
    code: Option<u32>,
    note: Option<String>,
    values: BTreeMap<String, Option<String>>,
}

impl Sent {
    fn read(call: &Call) -> Result<Self, String> {
        if call.is_json {
            return serde_json::from_slice(&call.body).map_err(|error| error.to_string());
        }
        let text = std::str::from_utf8(&call.body).map_err(|error| error.to_string())?;
        let mut sent = Self::default();
        for (name, value) in parse_query(text) {
            match name.as_str() {
                "code" => sent.code = value.parse().ok(),
                "note" => sent.note = Some(value),
                _ => drop(sent.values.insert(name, Some(value))),
            }
        }
        Ok(sent)
    }
}

pub(super) fn answer(server: &Server, method: &Method, call: &Call) -> Answer {
    let parts: Vec<&str> = call.route().trim_matches('/').split('/').collect();
    if *method == Method::GET {
        let account = server.account();
        let form = match parts.as_slice() {
            ["leads", "new"] => Some(lead_form(&account, None)),
            ["leads", id] => account
                .lead(id)
                .map(|place| lead_form(&account, Some(place))),
            ["activities", id] => activity_form(&account, id),
            _ => None,
        };
        return match form {
            Some(form) => Answer::html(200, form),
            None => Refusal::NoSuchPath.answer(false),
        };
    }
    if *method != Method::POST {
        return Refusal::WrongVerb.answer(false);
    }
    let sent = match Sent::read(call) {
        Ok(sent) => sent,
        Err(text) => return wrong(&text),
    };
    let values = sent.values.into_iter().collect();
    let outcome = match parts.as_slice() {
        ["leads"] => create_lead(server, values),
        ["leads", id] => edit_lead(server, id, values).map(|_| (*id).to_owned()),
        ["leads", id, "delete"] => match server.account().delete_lead(id) {
            true => Ok((*id).to_owned()),
            false => Err("there is no such lead".into()),
        },
        ["leads", id, "activities"] => {
            let code = sent.code.unwrap_or_default();
            create_activity(server, id, code, sent.note, values)
        }
        ["activities", id] => edit_activity(server, id, sent.note, values),
        _ => return Refusal::NoSuchPath.answer(false),
    };
    match outcome {
        Ok(id) if call.is_json => Answer::json(&json!({ "id": id })),
        Ok(_) => Answer::see_other("/".into()),
        Err(text) => wrong(&text),
    }
}

fn wrong(text: &str) -> Answer {
    Answer {
        status: 422,
        ..Answer::json(&json!({ "error": text }))
    }
}

pub(super) fn create_lead(server: &Server, values: Values) -> Result<String, String> {
    let values = values.into_iter();
    let values: Values = values
        .filter(|(_, value)| value.as_deref().is_some_and(|value| !value.is_empty()))
        .collect();
    let made = server.by_person(|account| {
        let lead = lead::create_by_person(account, as_pairs(values))?;
        Ok(account.leads[lead].id.to_string())
    });
    made.map_err(said)
}

pub(super) fn edit_lead(server: &Server, id: &str, values: Values) -> Result<bool, String> {
    let edited = server.by_person(|account| {
        let lead = account.lead(id).ok_or_else(Refusal::lead_not_found)?;
        lead::edit_by_person(account, lead, as_pairs(values))
    });
    edited.map_err(said)
}

pub(super) fn create_activity(
    server: &Server,
    lead: &str,
    code: u32,
    note: Option<String>,
    values: Values,
) -> Result<String, String> {
    let made = server.by_person(|account| {
        let lead = account.lead(lead).ok_or_else(Refusal::lead_not_found)?;
        activity::create_by_person(account, lead, code, note, values)
    });
    made.map(|id| id.to_string()).map_err(said)
}

pub(super) fn edit_activity(
    server: &Server,
    id: &str,
    note: Option<String>,
    values: Values,
) -> Result<String, String> {
    let edited = server.by_person(|account| activity::edit_by_person(account, id, note, values));
    edited.map(|id| id.to_string()).map_err(said)
}

fn as_pairs(values: Values) -> Vec<Pair> {
    let values = values.into_iter();
    values
        .map(|(name, value)| Pair::text(&name, value.unwrap_or_default()))
        .collect()
}

fn said(refusal: Refusal) -> String {
    match refusal {
        Refusal::Mx { exception, message } => format!("{exception}: {message}"),
        Refusal::Keys(text) => text,
        Refusal::Form(text) => text.to_owned(),
        Refusal::NoSuchPath | Refusal::WrongVerb | Refusal::Bare => "that cannot be done".into(),
    }
}

fn input(html: &mut String, name: &str, label: &str, value: &str) {
    let _ = write!(
        html,
        "<label>{} <input name=\"{}\" value=\"{}\"></label>",
        escape(label),
        escape(name),
        escape(value)
    );
}

/// The fields that a person sees: names, phones and the account's own.
fn is_shown(name: &str) -> bool {
    let standard = [
        "FirstName",
        "LastName",
        "EmailAddress",
        "Phone",
        "Mobile",
        "ProspectStage",
        "Source",
        "Notes",
    ];
    standard.contains(&name) || name.starts_with("mx_")
}

fn lead_form(account: &Account, place: Option<usize>) -> String {
    let (title, action) = match place {
        Some(place) => {
            let id = account.leads[place].id;
            (format!("Lead {id}"), format!("/leads/{id}"))
        }
        None => ("New lead".to_owned(), "/leads".to_owned()),
    };
    let mut html = format!("<form method=\"post\" action=\"{action}\">");
    for field in account.fields.all() {
        let name = &field.schema_name;
        if is_shown(name) {
            let held = place.and_then(|place| search::value(account, &account.leads[place], name));
            let held = held.unwrap_or_default();
            input(&mut html, name, &field.display_name, &held);
        }
    }
    html.push_str("<button>Save</button></form>");
    if place.is_some() {
        for (code, kind) in &account.types.0 {
            let _ = write!(
                html,
                "<h2>New activity: {code} {}</h2><form method=\"post\" action=\"{action}/activities\">\
                 <input type=\"hidden\" name=\"code\" value=\"{code}\">",
                escape(&kind.name)
            );
            input(&mut html, "note", "Note", "");
            input(&mut html, "Status", "Status", "");
            for slot in &kind.slots {
                input(&mut html, &slot.schema_name, &slot.display_name, "");
            }
            html.push_str("<button>Save</button></form>");
        }
        let _ = write!(
            html,
            "<form method=\"post\" action=\"{action}/delete\"><button>Delete this lead</button></form>"
        );
    }
    page(&title, &html)
}

fn activity_form(account: &Account, id: &str) -> Option<String> {
    let activity = &account.activities[activity::find(account, id).ok()?];
    let kind = &account.types.0[&activity.code];
    let held = |name: &str| {
        let mut values = activity.values.iter();
        let held = values.find(|(known, _)| known == name);
        held.map_or("", |(_, value)| value)
    };
    let mut html = format!(
        "<form method=\"post\" action=\"/activities/{}\">",
        activity.id
    );
    input(&mut html, "note", "Note", &activity.note);
    input(&mut html, "Status", "Status", held("Status"));
    for slot in &kind.slots {
        let name = &slot.schema_name;
        input(&mut html, name, &slot.display_name, held(name));
    }
    html.push_str("<button>Save</button></form>");
    Some(page(
        &format!("Activity {} {}", activity.code, kind.name),
        &html,
    ))
}
