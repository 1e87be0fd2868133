//! What a page or the interface answers when something is wrong; the cause is logged, not shown.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use tracing::error;

use super::api;
use crate::access::{self, Right};

/// A request that got no page.
#[derive(Debug)]
pub enum Fault {
    NotFound,
    BadQuery(&'static str),
    Store(crate::store::Error),
    /// No token, or not a good one.
    Denied,
    /// Signed in, but without the right.
    Lacks(Right),
    /// A form that is not of this session, or cannot be read.
    BadForm,
    TooLarge,
    /// A link that was good once.
    UsedLink,
    /// What a handler of the interface said.
    Refused(Box<api::error::Error>),
    Template(askama::Error),
}

#[derive(Template)]
#[template(path = "fault.html")]
struct Page {
    title: &'static str,
    text: String,
}

impl Fault {
    fn parts(&self) -> (StatusCode, &'static str, &str) {
        match self {
            Fault::NotFound => (
                StatusCode::NOT_FOUND,
                "Not here",
                "There is nothing at this address; it may have been deleted by age.",
            ),
            Fault::BadQuery(text) => (StatusCode::BAD_REQUEST, "The address has a fault", text),
            Fault::Denied => (
                StatusCode::UNAUTHORIZED,
                "The token is not good",
                "It is not known here, or was revoked. Ask an administrator of this console for another.",
            ),
            Fault::Lacks(right) => (
                StatusCode::FORBIDDEN,
                "This is not yours to do",
                lacks(*right),
            ),
            Fault::BadForm => (
                StatusCode::FORBIDDEN,
                "Nothing was done",
                "The form is not of this session, or did not arrive whole. Go back, load the page again, and try once more.",
            ),
            Fault::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "That is too large",
                "The file has more bytes than a component may have. Nothing was kept.",
            ),
            Fault::UsedLink => (
                StatusCode::GONE,
                "This link is used up",
                "It was used already, or is too old. Sign in, or ask an administrator of this console for another link.",
            ),
            Fault::Refused(error) => (error.status(), "Nothing was changed", error.message()),
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
            _ => {}
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

impl From<api::error::Error> for Fault {
    fn from(fault: api::error::Error) -> Self {
        match fault.status() {
            StatusCode::NOT_FOUND => Fault::NotFound,
            _ => Fault::Refused(Box::new(fault)),
        }
    }
}

/// Whom to ask for what.
fn lacks(right: Right) -> &'static str {
    match right {
        Right::View => {
            "You may not see the configuration. An administrator can give you the right \u{201c}view\u{201d}."
        }
        Right::Operate => {
            "You may not pause flows or release deliveries. An administrator can give you the right \u{201c}operate\u{201d}."
        }
        Right::Map => {
            "You may not change flows and mappings. An administrator can give you the right \u{201c}map\u{201d}."
        }
        Right::Publish => {
            "You may not put flows in force. An administrator can give you the right \u{201c}publish\u{201d}."
        }
        Right::SeePatientData => {
            "You may not see patient data. An administrator can give you the right \u{201c}see patient data\u{201d}."
        }
        Right::Administer => {
            "You may not change who uses this console. An administrator can give you the right \u{201c}administer\u{201d}."
        }
        Right::Audit => {
            "You may not read the audit. An administrator can give you the right \u{201c}audit\u{201d}."
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
        let page = Page {
            title,
            text: text.to_owned(),
        };
        let page = page.render().unwrap_or_else(|_| text.to_owned());
        (status, Html(page)).into_response()
    }
}
