//! The pages and the interface; the only room that serves HTTP to people.
//!
//! A page and its JSON twin call the same function underneath. No page here shows a value of a message: until there is
//! sign-in, only what an operator may see in a log is shown. Who may do what in the interface is asked of `access`, see
//! [`Web::may`]. Knows no SQL and no wasmtime.

pub mod api;
pub mod fault;
pub mod hooks;
pub mod messages;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::access::{self, Caller, Right};
use crate::pipeline::Pipeline;
use fault::Fault;

/// What every request is answered from.
#[derive(Debug, Clone)]
pub struct Web {
    pub pipeline: Arc<Pipeline>,
    /// Messages are shown without a token: the console is on this machine's own address, and nobody said otherwise.
    pub open_reads: bool,
}

impl Web {
    /// Tells who asks, if they hold `right`.
    ///
    /// # Errors
    /// No token, one that is not known, or one without the right.
    pub async fn may(&self, headers: &HeaderMap, right: Right) -> Result<Caller, access::Error> {
        let bearer = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "));
        let caller = access::check(&self.pipeline.store.catalog(), bearer).await?;
        caller.may(right)?;
        Ok(caller)
    }

    /// Lets whoever may see messages pass; see [`Web::open_reads`].
    ///
    /// # Errors
    /// As [`Web::may`] with the right to view.
    pub async fn may_read(&self, headers: &HeaderMap) -> Result<(), access::Error> {
        if self.open_reads {
            return Ok(());
        }
        self.may(headers, Right::View).await.map(drop)
    }
}

/// Every route of the console.
pub fn router(web: Web) -> Router {
    Router::new()
        .route("/", get(async || Redirect::to("/messages")))
        .route("/messages", get(messages::list))
        .route("/messages/{id}", get(messages::show))
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
        .merge(api::router())
        .merge(hooks::router())
        .fallback(async || Fault::NotFound)
        .layer(map_response(guard))
        .with_state(web)
}

/// Serves the console until `stop`, then lets answers in hand go out.
pub async fn serve(listener: TcpListener, web: Web, stop: CancellationToken) {
    let served = axum::serve(listener, router(web)).with_graceful_shutdown(stop.cancelled_owned());
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
