//! What is sent back: replies, and refusals in LeadSquared's error envelope.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

/// A finished answer.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) body: Vec<u8>,
    /// Where a redirect leads.
    pub(super) location: Option<String>,
}

pub(super) const JSON: &str = "application/json; charset=utf-8";
pub(super) const HTML: &str = "text/html; charset=utf-8";

impl Answer {
    pub(super) fn json(body: &impl Serialize) -> Self {
        Self {
            status: 200,
            content_type: JSON,
            body: serde_json::to_vec(body).expect("texts and numbers serialize"),
            location: None,
        }
    }

    pub(super) fn html(status: u16, body: impl Into<String>) -> Self {
        Self {
            status,
            content_type: HTML,
            body: body.into().into_bytes(),
            location: None,
        }
    }

    /// The same path at another host, for good.
    pub(super) fn redirect(to: String) -> Self {
        Self {
            location: Some(to),
            ..Self::html(308, "<h1>Permanent Redirect</h1>")
        }
    }

    /// Sends a browser on after a form.
    pub(super) fn see_other(to: String) -> Self {
        Self {
            location: Some(to),
            ..Self::html(303, "")
        }
    }

    /// The answer of a write that gives an id.
    pub(super) fn id(id: &uuid::Uuid) -> Self {
        Self::json(&Success {
            status: "Success",
            message: Id { id: id.to_string() },
        })
    }

    /// The answer of a write with any other message.
    pub(super) fn success(message: &impl Serialize) -> Self {
        Self::json(&Success {
            status: "Success",
            message,
        })
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(self.content_type),
        );
        if let Some(to) = self.location.and_then(|to| HeaderValue::try_from(to).ok()) {
            response.headers_mut().insert(header::LOCATION, to);
        }
        response
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Success<T> {
    status: &'static str,
    message: T,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Id {
    id: String,
}

/// Why a call is not carried out; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A logical error, with HTTP 500 or as the settings have it.
    Mx {
        exception: &'static str,
        message: String,
    },
    /// 401.
    Keys(String),
    /// 400: not the form that the call takes.
    Form(&'static str),
    /// 404.
    NoSuchPath,
    /// 405.
    WrongVerb,
    /// 500 without a reason, as the API has it in a few known places.
    Bare,
}

impl Refusal {
    pub(super) fn mx(exception: &'static str, message: impl Into<String>) -> Self {
        Self::Mx {
            exception,
            message: message.into(),
        }
    }

    pub(super) fn lead_not_found() -> Self {
        Self::mx("MXInvalidEntityReferenceException", "Lead not found")
    }

    pub(super) fn missing(what: &str) -> Self {
        Self::mx(
            "MXMandatoryAttributeMissingException",
            format!("'{what}' is mandatory"),
        )
    }

    pub(super) fn invalid(what: impl Into<String>) -> Self {
        Self::mx(
            "MXInvalidInputException",
            format!("Invalid Input! Parameter Name: {}", what.into()),
        )
    }

    pub(super) fn answer(&self, errors_as_200: bool) -> Answer {
        match self {
            Self::Mx { exception, message } => {
                envelope(if errors_as_200 { 200 } else { 500 }, exception, message)
            }
            Self::Keys(message) => envelope(401, "MXInvalidAccessDetailsException", message),
            Self::Form(message) => envelope(400, "MXInvalidRequestException", message),
            Self::NoSuchPath => Answer::html(404, "<h1>Not Found</h1>"),
            Self::WrongVerb => Answer::html(405, "<h1>Method Not Allowed</h1>"),
            Self::Bare => Answer::html(500, "<h1>Server Error</h1>"),
        }
    }
}

/// The error envelope of the API.
pub(super) fn envelope(status: u16, exception: &str, message: &str) -> Answer {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Envelope<'a> {
        status: &'a str,
        exception_type: &'a str,
        exception_message: &'a str,
    }
    Answer {
        status,
        ..Answer::json(&Envelope {
            status: "Error",
            exception_type: exception,
            exception_message: message,
        })
    }
}
