//! A candidate release on the page of its flow: whom it serves, what came of it, and the buttons.

use axum::extract::{RawPathParams, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Value, json};

use super::flow::version;
use super::flow_start;
use super::form::Form;
use super::show::count;
use super::visit::{Visit, refused, told};
use crate::flow::Flow;
use crate::pipeline::canary::Figures;
use crate::web::Web;
use crate::web::api::body::Unread;
use crate::web::api::canary as rules;
use crate::web::api::list::part;
use crate::web::fault::Fault;

/// A candidate as the page shows it.
pub(super) struct Shown {
    pub(super) release: String,
    pub(super) percent: u8,
    /// Patients that are named.
    pub(super) named: usize,
    /// Why it serves nobody any more.
    pub(super) ended: String,
    pub(super) rows: [Row; 2],
}

/// What came of one of the two releases.
pub(super) struct Row {
    pub(super) whose: &'static str,
    pub(super) deliveries: u64,
    pub(super) delivered: u64,
    pub(super) waiting: u64,
    pub(super) dead: u64,
    pub(super) broke: u64,
}

impl Shown {
    /// The release's digest as people compare it.
    pub(super) fn short(&self) -> &str {
        self.release.get(..12).unwrap_or_default()
    }
}

impl Row {
    fn of(whose: &'static str, figures: &Figures) -> Self {
        let of = |states: &[&str]| {
            let counts = states.iter().filter_map(|state| figures.states.get(*state));
            counts.sum()
        };
        Self {
            whose,
            deliveries: figures.deliveries,
            delivered: of(&["delivered", "skipped"]),
            waiting: of(&["queued", "running", "waiting", "parked"]),
            dead: of(&["dead"]),
            broke: figures.broke,
        }
    }
}

/// The candidate of a flow; none where it has none.
pub(super) async fn shown(web: &Web, flow: &Flow) -> Result<Option<Shown>, Fault> {
    let standing = web.pipeline.canary_standing(flow).await?;
    Ok(standing.map(|standing| {
        let ended = standing.canary.ended.as_ref();
        Shown {
            release: standing.canary.release.to_string(),
            percent: standing.canary.percent,
            named: standing.canary.lanes.len(),
            ended: ended.map_or_else(String::new, |ended| {
                let count = count(ended.failures, "delivery", "deliveries");
                format!("It broke {count} and ended by itself.")
            }),
            rows: [
                Row::of("Candidate", &standing.candidate),
                Row::of("In force", &standing.in_force),
            ],
        }
    }))
}

/// Has a release serve a share of the patients, or the candidate another share.
pub async fn begin(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
    form: Form,
) -> Result<Response, Fault> {
    let id = part(&params, "id")?;
    let to = format!("/flows/{id}");
    let percent: Value = form
        .get("percent")
        .parse::<u8>()
        .map_or(Value::Null, Value::from);
    let mut body = seen(&form);
    body["percent"] = percent;
    if let Some(release) = form.some("release") {
        body["release"] = release.into();
    }
    let beginning = rules::begin(State(web), visit.headers.clone(), params, Unread::of(body));
    let said = "The candidate serves its share of the patients.";
    Ok(match (Box::pin(beginning).await, form.some("release")) {
        // There the fields can be made.
        (Err(fault), Some(release)) if fault.is_lacking() => {
            refused(&visit, &flow_start::path(&id, &release), &fault)
        }
        (began, _) => told(&visit, &to, began, said),
    })
}

/// Puts the candidate in force.
pub async fn promote(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
    form: Form,
) -> Result<Response, Fault> {
    let to = format!("/flows/{}", part(&params, "id")?);
    let (headers, body) = asked(&visit, &form);
    let promoting = rules::promote(State(web), headers, params, body);
    let said = "The candidate is in force, for everybody.";
    Ok(told(&visit, &to, Box::pin(promoting).await, said))
}

/// Ends the candidate.
pub async fn end(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
    form: Form,
) -> Result<Response, Fault> {
    let to = format!("/flows/{}", part(&params, "id")?);
    let (headers, body) = asked(&visit, &form);
    let ending = rules::end(State(web), headers, params, body);
    let said = "The candidate has ended: the release in force serves everybody.";
    Ok(told(&visit, &to, Box::pin(ending).await, said))
}

fn seen(form: &Form) -> Value {
    json!({ "version": version(form) })
}

fn asked(visit: &Visit, form: &Form) -> (HeaderMap, Unread) {
    (visit.headers.clone(), Unread::of(seen(form)))
}
