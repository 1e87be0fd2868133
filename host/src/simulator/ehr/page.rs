//! What a person or a test sees of the EHR, and tells it.
//!
//! - `GET /` the page
//! - `GET /state` everything as JSON; `?after=N` gives the messages after the one numbered N
//! - `GET /moods`, `POST /moods` with one mood or an array of them, `DELETE /moods`

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Response, StatusCode, header};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Ehr, Mood};
use crate::simulator::html::{page, table};

/// Rows of the page.
const ROWS: usize = 100;

const MAX_BODY_BYTES: usize = 1024 * 1024;

/// Serves the page until `shutdown`.
pub(super) async fn serve(listener: TcpListener, ehr: Arc<Ehr>, shutdown: CancellationToken) {
    let router = Router::new().fallback(answer).with_state(ehr);
    let served = axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned());
    if let Err(error) = served.await {
        tracing::error!(%error, "the EHR simulator's page stopped");
    }
}

async fn answer(State(ehr): State<Arc<Ehr>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, MAX_BODY_BYTES).await.unwrap_or_default();
    let query = parts.uri.query().unwrap_or_default();
    match (parts.method.as_str(), parts.uri.path()) {
        ("GET", "/") => respond(200, "text/html; charset=utf-8", shown(&ehr)),
        ("GET", "/state") => answer_json(200, &state(&ehr, query)),
        ("GET", "/moods") => moods(&ehr),
        ("DELETE", "/moods") => {
            ehr.state().moods.clear();
            moods(&ehr)
        }
        ("POST", "/moods") => match told(&body) {
            Ok(told) => {
                told.into_iter()
                    .for_each(|mood| ehr.state().moods.add(mood));
                moods(&ehr)
            }
            Err(error) => answer_json(400, &json!({ "error": error.to_string() })),
        },
        _ => respond(404, "text/plain", "not here\n".into()),
    }
}

fn told(body: &[u8]) -> serde_json::Result<Vec<Mood>> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Told {
        Many(Vec<Mood>),
        One(Mood),
    }
    match serde_json::from_slice(body) {
        Ok(Told::Many(moods)) => Ok(moods),
        Ok(Told::One(mood)) => Ok(vec![mood]),
        // Asked again for one, because of the better text.
        Err(_) => Ok(vec![serde_json::from_slice(body)?]),
    }
}

fn moods(ehr: &Ehr) -> Response<Body> {
    answer_json(200, &json!(ehr.state().moods.all()))
}

fn state(ehr: &Ehr, query: &str) -> Value {
    let after = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("after=")?.parse().ok());
    let state = ehr.state();
    let from = usize::min(after.unwrap_or(0), state.received.len());
    let ids = state.ids.iter();
    let ids: serde_json::Map<String, Value> = ids
        .map(|(id, (count, _))| (id.clone(), (*count).into()))
        .collect();
    json!({
        "messages": state.received[from..],
        "control_ids": ids,
        "connections": state.connections,
        "noise": state.noise,
    })
}

fn shown(ehr: &Ehr) -> String {
    let state = ehr.state();
    let mut html = format!(
        "<p>{} messages with {} control ids over {} connections. As JSON: <a href=\"/state\">/state</a>; \
         it is told how to answer at <a href=\"/moods\">/moods</a>. Reload to see more.</p>",
        state.received.len(),
        state.ids.len(),
        state.connections
    );
    let rows = state.received.iter().rev().take(ROWS).map(|it| {
        let at = Timestamp::from_millisecond(it.at_ms).unwrap_or_default();
        let findings = match it.findings.is_empty() {
            true => "nothing".to_owned(),
            false => it.findings.join("\n"),
        };
        [
            it.seq.to_string().into(),
            at.strftime("%Y-%m-%d %H:%M:%S").to_string().into(),
            it.event.as_str().into(),
            format!("{} ({} before)", it.control_id, it.repeats).into(),
            it.answered.as_str().into(),
            findings.into(),
            it.text.replace('\r', "\n").into(),
        ]
    });
    table(
        &mut html,
        "Messages",
        [
            "#",
            "At",
            "Event",
            "Control id",
            "Answered",
            "Held against it",
            "Text",
        ],
        rows,
    );
    let noise = state.noise.iter().rev().take(ROWS);
    table(
        &mut html,
        "What was no frame",
        ["What"],
        noise.map(|text| [text.as_str().into()]),
    );
    page("EHR simulator", &html)
}

fn answer_json(status: u16, value: &Value) -> Response<Body> {
    respond(status, "application/json; charset=utf-8", value.to_string())
}

fn respond(status: u16, kind: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
