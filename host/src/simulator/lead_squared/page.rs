//! What a person or a test sees of the simulator: a plain page, the state as JSON, the faults.
//!
//! - `GET /` the page
//! - `GET /state` everything; `?after=N` gives counts and the writes after the one numbered N only
//! - `GET /faults`, `POST /faults` with one fault or an array of them, `DELETE /faults`

use std::fmt::Write as _;

use axum::http::Method;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::account::{Account, ActivityView, Counts, LeadView, Write, utc};
use super::answer::{Answer, JSON, Refusal};
use super::fault::{Fault, Kind};
use super::server::{Call, Server};

/// Rows of each table of the page.
const ROWS: usize = 50;

pub(super) fn answer(server: &Server, method: &Method, call: &Call) -> Answer {
    match (method.as_str(), call.route()) {
        ("GET", "/") => Answer::html(200, page(&server.account())),
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
}

fn state(account: &Account, call: &Call) -> Answer {
    let after = call.param("after").and_then(|seq| seq.parse().ok());
    Answer::json(&State {
        counts: account.counts(),
        leads: after.is_none().then(|| account.lead_views()),
        activities: after.is_none().then(|| account.activity_views()),
        writes: account.writes_after(after.unwrap_or(0)),
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

const STYLE: &str = "body{font:14px/1.5 system-ui,sans-serif;margin:2rem;color:#1c2430}\
table{border-collapse:collapse;margin-bottom:2rem}caption{text-align:left;font-weight:600;padding:.3rem 0}\
td,th{border:1px solid #d5dae2;padding:.25rem .6rem;text-align:left;vertical-align:top}th{background:#f3f5f8}\
code{font-size:12px}";

/// Newest first, as far as the rows go.
fn page(account: &Account) -> String {
    let counts = account.counts();
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>LeadSquared simulator</title>\
         <style>{STYLE}</style></head><body><h1>LeadSquared simulator</h1>\
         <p>{} leads, {} activities, {} writes, {} calls let in, {} refused by the rate limit. \
         As JSON: <a href=\"/state\">/state</a>. Reload to see more.</p>",
        counts.leads, counts.activities, counts.writes, counts.calls, counts.limited
    );

    let leads = account.leads.iter().rev().filter(|lead| !lead.is_deleted);
    let leads = leads.take(ROWS).map(|lead| {
        let values = lead.values.iter();
        let values = values.map(|(field, value)| (&account.fields.at(*field).schema_name, value));
        [
            lead.id.to_string(),
            utc(lead.created_at),
            utc(lead.modified_at),
            listed(values),
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
        [
            activity.id.to_string(),
            account.leads[activity.lead].id.to_string(),
            format!("{} {}", activity.code, account.types.0[&activity.code].name),
            activity.at.clone(),
            values,
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
                write.seq.to_string(),
                utc(at),
                write.route.clone(),
                write.activity.clone().unwrap_or_else(|| write.lead.clone()),
                write.fault.unwrap_or_default().to_owned(),
            ]
        });
    table(
        &mut html,
        "Last writes",
        ["#", "At", "Call", "Wrote", "Fault"],
        writes,
    );
    html.push_str("</body></html>");
    html
}

fn listed<'a>(values: impl Iterator<Item = (&'a String, &'a String)>) -> String {
    let mut lines: Vec<String> = values
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    lines.sort();
    lines.join("\n")
}

fn table<const N: usize>(
    html: &mut String,
    caption: &str,
    heads: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) {
    let _ = write!(html, "<table><caption>{caption}</caption><tr>");
    for head in heads {
        let _ = write!(html, "<th>{head}</th>");
    }
    html.push_str("</tr>");
    for row in rows {
        html.push_str("<tr>");
        for cell in row {
            let _ = write!(html, "<td>{}</td>", escape(&cell));
        }
        html.push_str("</tr>");
    }
    html.push_str("</table>");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\n', "<br>")
}
