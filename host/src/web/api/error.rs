//! The one shape of what is wrong with a request.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tracing::error;
use utoipa::ToSchema;

use crate::access::people;
use crate::flow::FlowId;
use crate::flow::check::Fault;
use crate::pipeline::{account, activate, upload};
use crate::{access, store};

/// What is answered instead of what was asked for.
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    error: Body,
}

#[derive(Debug, Serialize, ToSchema)]
struct Body {
    /// A stable word.
    #[schema(example = "invalid")]
    code: &'static str,
    /// For people: what happened and what to do.
    message: String,
    /// Each setting that is at fault; empty where none is.
    fields: Vec<FieldFault>,
}

/// What is wrong with one setting.
#[derive(Debug, Serialize, ToSchema)]
pub struct FieldFault {
    #[schema(example = "flows.primary_search_field")]
    path: String,
    message: String,
}

/// A request that was not carried out.
#[derive(Debug)]
pub struct Error {
    status: StatusCode,
    code: &'static str,
    message: String,
    fields: Vec<FieldFault>,
}

impl Error {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            fields: Vec::new(),
        }
    }

    pub fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", message)
    }

    pub fn not_found(what: impl std::fmt::Display) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not-found",
            format!("there is no {what}"),
        )
    }

    pub(super) fn no_route() -> Self {
        Self::not_found("such address: see /api/v1/openapi.json")
    }

    pub(super) fn no_method() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method-not-allowed",
            "this address takes other methods: see /api/v1/openapi.json",
        )
    }

    /// Settings at fault, with `noun` before each path; none gives no error.
    pub fn check(noun: &str, faults: Vec<Fault>) -> Result<(), Self> {
        if faults.is_empty() {
            return Ok(());
        }
        Err(Self::invalid(noun, faults))
    }

    pub fn invalid(noun: &str, faults: Vec<Fault>) -> Self {
        let fields = faults.into_iter().map(|fault| FieldFault {
            path: match fault.path.as_str() {
                "" => noun.to_owned(),
                path => format!("{noun}.{path}"),
            },
            message: fault.message,
        });
        let fields: Vec<_> = fields.collect();
        let paths: Vec<_> = fields.iter().map(|fault| fault.path.as_str()).collect();
        Self {
            message: format!("nothing was changed: see {}", paths.join(", ")),
            status: StatusCode::UNPROCESSABLE_ENTITY,
            code: "invalid",
            fields,
        }
    }

    pub(in crate::web) fn status(&self) -> StatusCode {
        self.status
    }

    /// For people: what happened and what to do.
    pub(in crate::web) fn message(&self) -> &str {
        &self.message
    }

    /// Each setting at fault, as path and text.
    pub(in crate::web) fn faults(&self) -> impl Iterator<Item = (&str, &str)> {
        let fields = self.fields.iter();
        fields.map(|fault| (fault.path.as_str(), fault.message.as_str()))
    }

    /// The same, said of one of several flows.
    pub(super) fn of(mut self, flow: &FlowId) -> Self {
        let said = |text: &str| format!("flow {flow}: {text}");
        match self.fields.is_empty() {
            true => self.message = said(&self.message),
            false => self
                .fields
                .iter_mut()
                .for_each(|field| field.message = said(&field.message)),
        }
        self
    }

    /// Whether the account does not have what a release writes.
    pub(in crate::web) fn is_lacking(&self) -> bool {
        self.code == "lacking-fields"
    }

    /// Whether all that is missing is the version that was seen.
    pub(super) fn is_version_needed(&self) -> bool {
        self.code == "version-needed"
    }

    /// A precondition that was sent as header is answered with 412.
    pub(super) fn of_precondition(mut self) -> Self {
        if self.code == "conflict" {
            self.status = StatusCode::PRECONDITION_FAILED;
        }
        self
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let problem = Problem {
            error: Body {
                code: self.code,
                message: self.message,
                fields: self.fields,
            },
        };
        let mut response = super::body::json(self.status, &problem);
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = axum::http::HeaderValue::from_static("Bearer");
            response
                .headers_mut()
                .insert(axum::http::header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

impl From<store::Error> for Error {
    fn from(fault: store::Error) -> Self {
        let (status, code) = match &fault {
            store::Error::Conflict { .. } => (StatusCode::CONFLICT, "conflict"),
            store::Error::Exists(_) => (StatusCode::CONFLICT, "exists"),
            store::Error::StillUsed { .. } => (StatusCode::CONFLICT, "still-used"),
            store::Error::NotReleasable { .. } => (StatusCode::CONFLICT, "not-releasable"),
            store::Error::NotFound(_) => (StatusCode::NOT_FOUND, "not-found"),
            _ => {
                error!(%fault, "the interface could not use the store");
                return Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "storage",
                    "the store does not answer: the host's log says why; try again in a moment",
                );
            }
        };
        Self::new(status, code, fault.to_string())
    }
}

impl From<access::Error> for Error {
    fn from(fault: access::Error) -> Self {
        let (status, code) = match fault {
            access::Error::NoToken | access::Error::Unknown => {
                (StatusCode::UNAUTHORIZED, "unauthorized")
            }
            access::Error::Lacks { .. } => (StatusCode::FORBIDDEN, "forbidden"),
            access::Error::Store(fault) => return fault.into(),
        };
        Self::new(status, code, fault.to_string())
    }
}

impl From<people::Refused> for Error {
    fn from(fault: people::Refused) -> Self {
        match fault {
            people::Refused::Store(fault) => fault.into(),
            people::Refused::Member(path, text) => {
                Self::invalid("people", vec![Fault::new(path, text)])
            }
            people::Refused::Nobody => Self::not_found("such person"),
            people::Refused::Host(fault) => {
                error!(fault = format!("{fault:#}"), "something of a person failed");
                let text = "the host could not do it: its log says why";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "host", text)
            }
            fault @ (people::Refused::NotIn
            | people::Refused::Link
            | people::Refused::ShutOut { .. }
            | people::Refused::Stranger { .. }
            | people::Refused::NoMail
            | people::Refused::Tied { .. }
            | people::Refused::NoPasswords { .. }) => {
                Self::new(StatusCode::FORBIDDEN, "forbidden", fault.to_string())
            }
            fault @ people::Refused::Wait { .. } => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many", fault.to_string())
            }
        }
    }
}

impl From<account::Error> for Error {
    fn from(fault: account::Error) -> Self {
        match fault {
            account::Error::Store(fault) => fault.into(),
            account::Error::NoAccount(_) => {
                Self::new(StatusCode::NOT_FOUND, "not-found", fault.to_string())
            }
            account::Error::Refused(_) => {
                Self::new(StatusCode::CONFLICT, "refused", fault.to_string())
            }
            account::Error::LeadSquared(_) | account::Error::NotReached { .. } => {
                Self::new(StatusCode::BAD_GATEWAY, "leadsquared", fault.to_string())
            }
        }
    }
}

impl From<upload::Error> for Error {
    fn from(error: upload::Error) -> Self {
        match error {
            upload::Error::Refused(refused) => refused.into(),
            upload::Error::Store(fault) => fault.into(),
        }
    }
}

impl From<activate::Refused> for Error {
    fn from(refused: activate::Refused) -> Self {
        match refused {
            activate::Refused::Document(faults) => {
                let faults = faults.iter().map(|text| Fault::new("mapping", text));
                Self::invalid("flows", faults.collect())
            }
            activate::Refused::Component(text) => {
                Self::invalid("components", vec![Fault::new("", text)])
            }
            activate::Refused::Choices(faults) => Self::invalid("flows", faults),
            activate::Refused::Host(text) => {
                error!(fault = text, "a component could not be loaded");
                Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "host",
                    "the component could not be loaded: the host's log says why",
                )
            }
        }
    }
}
