//! The pages and the JSON interface; the only room that serves HTTP to people.
//!
//! A page and its JSON twin call the same function underneath. No page here shows a value of a message: until there is
//! sign-in, only what an operator may see in a log is shown. Knows no SQL and no wasmtime.

pub mod calls;
pub mod fault;
pub mod messages;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::pipeline::Pipeline;
use fault::Fault;

/// Every route of the console.
pub fn router(pipeline: Arc<Pipeline>) -> Router {
    Router::new()
        .route("/", get(async || Redirect::to("/messages")))
        .route("/messages", get(messages::list))
        .route("/messages/{id}", get(messages::show))
        .route("/api/v1/messages", get(messages::list_json))
        .route("/api/v1/messages/{id}", get(messages::show_json))
        .route("/api/v1/counts", get(messages::counts_json))
        .route("/api/v1/accounts/{id}/calls", get(calls::show_json))
        .route("/healthz", get(async || "ok\n"))
        .route(
            "/assets/style.css",
            get(async || {
                asset(
                    "text/css; charset=utf-8",
                    include_bytes!("../assets/style.css"),
                )
            }),
        )
        .route(
            "/assets/htmx.min.js",
            get(async || {
                asset(
                    "text/javascript; charset=utf-8",
                    include_bytes!("../assets/htmx.min.js"),
                )
            }),
        )
        .fallback(async || Fault::NotFound)
        .layer(map_response(guard))
        .with_state(pipeline)
}

/// Serves the console until `stop`, then lets answers in hand go out.
pub async fn serve(listener: TcpListener, pipeline: Arc<Pipeline>, stop: CancellationToken) {
    let served =
        axum::serve(listener, router(pipeline)).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(fault) = served.await {
        error!(%fault, "the console stopped");
    }
}

fn asset(content_type: &'static str, bytes: &'static [u8]) -> Response {
    (
        [
            (header::CONTENT_TYPE, content_type),
            (header::CACHE_CONTROL, "max-age=3600"),
        ],
        bytes,
    )
        .into_response()
}

/// Headers that every answer carries: own scripts and styles only, no frame, no referrer.
async fn guard(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
             form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}
