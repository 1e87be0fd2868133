//! What a page or the interface answers when something is wrong; the cause is logged, not shown.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use tracing::error;

use crate::access;

/// A request that got no page.
#[derive(Debug)]
pub enum Fault {
    NotFound,
    BadQuery(&'static str),
    Store(crate::store::Error),
    /// No token, or not a good one.
    Denied,
    Template(askama::Error),
}

#[derive(Template)]
#[template(path = "fault.html")]
struct Page {
    title: &'static str,
    text: &'static str,
}

impl Fault {
    fn parts(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Fault::NotFound => (
                StatusCode::NOT_FOUND,
                "Not here",
                "There is nothing at this address; it may have been deleted by age.",
            ),
            Fault::BadQuery(text) => (StatusCode::BAD_REQUEST, "The address has a fault", text),
            Fault::Denied => (
                StatusCode::UNAUTHORIZED,
                "A token is needed",
                "This console is reached over the network, or its configuration demands a token: send one with the right \
                 to view, as `Authorization: Bearer …`.",
            ),
            Fault::Store(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "The store does not answer",
                "Messages are not taken either while it is gone. The host's log says why; try again in a moment.",
            ),
            Fault::Template(_) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "This page could not be made",
                "The host's log says why.",
            ),
        }
    }

    fn log(&self) {
        match self {
            Fault::Store(fault) => error!(%fault, "a page could not read the store"),
            Fault::Template(fault) => error!(%fault, "a page could not be rendered"),
            Fault::NotFound | Fault::BadQuery(_) | Fault::Denied => {}
        }
    }
}

impl From<crate::store::Error> for Fault {
    fn from(fault: crate::store::Error) -> Self {
        Fault::Store(fault)
    }
}

impl From<access::Error> for Fault {
    fn from(fault: access::Error) -> Self {
        match fault {
            access::Error::Store(fault) => Fault::Store(fault),
            _ => Fault::Denied,
        }
    }
}

impl From<askama::Error> for Fault {
    fn from(fault: askama::Error) -> Self {
        Fault::Template(fault)
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let (status, title, text) = self.parts();
        self.log();
        let page = Page { title, text }
            .render()
            .unwrap_or_else(|_| text.to_owned());
        (status, Html(page)).into_response()
    }
}
