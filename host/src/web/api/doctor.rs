//! The connection doctor, asked about a channel: its target at the EHR, or its own listener.

use axum::extract::{RawPathParams, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use jiff::Zoned;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::json;
use super::channels;
use super::error::{Error, Problem};
use super::list::part;
use crate::access::Right;
use crate::doctor::{self, Probe, Question, Verdict};
use crate::flow::check::Fault;
use crate::pipeline::wire;
use crate::store::catalog::audit::Record;
use crate::web::Web;

/// What the doctor found.
#[derive(Debug, Serialize, ToSchema)]
pub struct Diagnosis {
    /// What was looked at.
    pub address: String,
    /// Whether every step went well; an oddity is no fault.
    pub well: bool,
    /// In the order in which they were made; the first bad one is the last.
    pub checks: Vec<CheckView>,
    /// All of it as text without patient data, for whoever looks after the other end.
    pub text: String,
}

/// One step.
#[derive(Debug, Serialize, ToSchema)]
pub struct CheckView {
    /// `name`, `TCP`, `TLS`, `sent`, `framing` or `answer`.
    pub step: &'static str,
    /// `ok`, `odd`, `FAULT`, or `-` where there was nothing to do.
    pub verdict: &'static str,
    pub text: String,
    pub notes: Vec<String>,
    pub duration_ms: u64,
    #[serde(skip)]
    pub is_bad: bool,
}

/// Looks at a channel's connection: opens one, sends one message without a patient in it, and tells what came back.
///
/// A channel to the EHR is looked at as far as its target; one that listens is looked at from this machine, which must be
/// among its allowed peers.
#[utoipa::path(post, path = "/api/v1/channels/{id}/doctor", tag = "channels", params(("id" = String, Path)),
    responses((status = 200, body = Diagnosis), (status = "default", body = Problem)))]
pub async fn examine(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<Response, Error> {
    let diagnosis = Box::pin(diagnose(&web, &headers, &part(&params, "id")?)).await?;
    Ok(json(StatusCode::OK, &diagnosis))
}

/// What [`examine`] does, for a page.
pub(in crate::web) async fn diagnose(
    web: &Web,
    headers: &HeaderMap,
    id: &str,
) -> Result<Diagnosis, Error> {
    let caller = web.may(headers, Right::Administer).await?;
    let catalog = web.pipeline.store.catalog();
    let channel = channels::find(catalog.list().await?, id)?.document;
    let target = match &channel.target {
        Some(target) => wire::target(target),
        None => wire::own_listener(&web.pipeline, &channel),
    };
    let target = target.map_err(|fault| {
        let fault = Fault::new("", format!("{fault:#}"));
        Error::invalid("channels", vec![fault])
    })?;
    let record = Record::of("examine", channel.account.as_str(), "channel", id);
    catalog.note(&caller.author(), &record).await?;
    let question = Question {
        address: target.address,
        tls: target.tls,
        probe: Probe::harmless(uuid::Uuid::now_v7().as_u128(), &Zoned::now()),
        limit: wire::DOCTORS_PATIENCE,
    };
    let report = Box::pin(doctor::examine(question)).await;
    let text = report.to_string();
    let well = report.is_well();
    let checks = report.checks.into_iter().map(|check| CheckView {
        step: check.step.label(),
        verdict: check.verdict.label(),
        is_bad: check.verdict == Verdict::Bad,
        text: check.text,
        notes: check.notes,
        duration_ms: check.duration_ms,
    });
    Ok(Diagnosis {
        address: report.address,
        well,
        checks: checks.collect(),
        text,
    })
}
