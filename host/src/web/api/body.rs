//! Bodies in and out: a document is read with the place of what is wrong in it, and with the version that was seen.

use std::fmt;

use axum::body::{Bytes, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::error::Error;
use crate::flow::check::Fault;
use crate::store::catalog::Expected;

/// Largest document taken; a component has a limit of its own.
const MAX_BYTES: usize = 2 * 1024 * 1024;

/// Writes an answer.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    let kind = (header::CONTENT_TYPE, "application/json");
    match serde_json::to_vec(value) {
        Ok(bytes) => (status, [kind], bytes).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Writes a document that has a version, which is its entity tag as well.
pub(super) fn versioned(status: StatusCode, value: &impl Serialize, version: i64) -> Response {
    let mut response = json(status, value);
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{version}\"")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// Reads a whole body of at most `limit` bytes.
pub(super) async fn bytes(request: Request, limit: usize) -> Result<Bytes, Error> {
    to_bytes(request.into_body(), limit).await.map_err(|_| {
        Error::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            format!("the body is cut off, or has more than {limit} bytes"),
        )
    })
}

/// The JSON object of a request.
#[derive(Debug)]
pub struct Body {
    members: Map<String, Value>,
    /// What `If-Match` says, if it was sent.
    matched: Option<i64>,
}

/// A body that nobody has read yet: the right is asked first, so that a stranger's costs no memory.
pub struct Unread(Source);

enum Source {
    Request(Box<Request>),
    /// What a page sends, in the place of a script.
    Page(Value),
}

impl fmt::Debug for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unread(redacted)")
    }
}

impl<S: Sync> FromRequest<S> for Unread {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self, Error> {
        Ok(Self(Source::Request(Box::new(request))))
    }
}

impl Unread {
    /// What a page sends, in the place of a script.
    pub(in crate::web) fn of(value: Value) -> Self {
        Self(Source::Page(value))
    }

    /// Reads the body, once it is known that the caller may send one.
    ///
    /// # Errors
    /// When it is cut off, too large, or no JSON object, or `If-Match` cannot be read.
    pub async fn read(self) -> Result<Body, Error> {
        let (matched, value) = match self.0 {
            Source::Page(value) => (None, value),
            Source::Request(request) => {
                let matched = if_match(request.headers())?;
                let bytes = bytes(*request, MAX_BYTES).await?;
                let value = match bytes.as_ref() {
                    [] => Value::Object(Map::new()),
                    bytes => serde_json::from_slice(bytes)
                        .map_err(|fault| Error::bad(format!("the body is not JSON: {fault}")))?,
                };
                (matched, value)
            }
        };
        match value {
            Value::Object(members) => Ok(Body { members, matched }),
            _ => Err(Error::bad("the body is a JSON object")),
        }
    }
}

fn if_match(headers: &HeaderMap) -> Result<Option<i64>, Error> {
    let Some(value) = headers.get(header::IF_MATCH) else {
        return Ok(None);
    };
    let number = value
        .to_str()
        .ok()
        .map(|text| text.trim().trim_matches('"'));
    let number = number.and_then(|text| text.parse().ok());
    number
        .map(Some)
        .ok_or_else(|| Error::bad("If-Match holds one version in quotes, such as \"3\""))
}

/// The version that a change expects, and how it was said.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    pub expected: Expected,
    is_header: bool,
}

impl Seen {
    /// Of a request without a body.
    ///
    /// # Errors
    /// When the header cannot be read.
    pub fn of(headers: &HeaderMap) -> Result<Self, Error> {
        let matched = if_match(headers)?;
        Ok(Self {
            expected: matched.map_or(Expected::Any, Expected::Version),
            is_header: matched.is_some(),
        })
    }

    /// As if it had been said in a body.
    pub(in crate::web) fn version(version: i64) -> Self {
        Self {
            expected: Expected::Version(version),
            is_header: false,
        }
    }

    /// Gives a refusal the status that fits how the version was said.
    pub fn refuse(self, error: impl Into<Error>) -> Error {
        let error = error.into();
        match self.is_header {
            true => error.of_precondition(),
            false => error,
        }
    }
}

impl Body {
    /// Reads the member `name` as `T`; `noun` goes before the paths of what is wrong.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn take<T: DeserializeOwned>(&mut self, name: &str, noun: &str) -> Result<T, Error> {
        match self.members.remove(name) {
            Some(value) => located(&value, noun),
            None => Err(Error::invalid(
                noun,
                vec![Fault::new("", format!("the body has no member {name}"))],
            )),
        }
    }

    /// The same for a member that may be missing or null.
    ///
    /// # Errors
    /// As [`Body::take`].
    pub fn optional<T: DeserializeOwned>(
        &mut self,
        name: &str,
        noun: &str,
    ) -> Result<Option<T>, Error> {
        match self.members.get(name) {
            None | Some(Value::Null) => {
                self.members.remove(name);
                Ok(None)
            }
            Some(_) => self.take(name, noun).map(Some),
        }
    }

    /// A member before it is read, to be completed.
    pub fn object(&mut self, name: &str) -> Option<&mut Map<String, Value>> {
        self.members.get_mut(name)?.as_object_mut()
    }

    /// The version that was seen, by `version` or by `If-Match`.
    ///
    /// # Errors
    /// When neither is there, or both are and differ.
    pub fn seen(&mut self) -> Result<Seen, Error> {
        let version: Option<i64> = self.optional("version", "version")?;
        let (version, is_header) = match (version, self.matched) {
            (Some(version), Some(matched)) if version != matched => {
                return Err(Error::bad("version and If-Match differ"));
            }
            (_, Some(matched)) => (matched, true),
            (Some(version), None) => (version, false),
            (None, None) => {
                return Err(Error::new(
                    StatusCode::PRECONDITION_REQUIRED,
                    "version-needed",
                    "say which version you change: read the document, and send its version, in the body or as If-Match",
                ));
            }
        };
        Ok(Seen {
            expected: Expected::Version(version),
            is_header,
        })
    }

    /// Says that nothing else was expected; `read_only` are members of answers, which may be sent back.
    ///
    /// # Errors
    /// Names every other member.
    pub fn end(self, noun: &str, read_only: &[&str]) -> Result<(), Error> {
        let others = self.members.keys();
        let others = others.filter(|name| !read_only.contains(&name.as_str()));
        let faults = others.map(|name| Fault::new("", format!("unknown member {name}")));
        Error::check(noun, faults.collect())
    }
}

/// Reads a value, and finds the place of what is wrong with it.
///
/// A document is written out with one member a line, so that the line of serde's error is the place. What a type of ours
/// refuses is told behind the value, as far as the next comma or brace, so the comma stands on the value's own line.
fn located<T: DeserializeOwned>(value: &Value, noun: &str) -> Result<T, Error> {
    let mut lines = Lines::default();
    let last = lines.write(value, "");
    lines.end("", last);
    serde_json::from_str(&lines.text).map_err(|fault| {
        let text = fault.to_string();
        let message = text.split(" at line ").next().unwrap_or(&text);
        let place = lines.places.get(fault.line().saturating_sub(1));
        let (own, last) = place.cloned().unwrap_or_default();
        let missing = message
            .strip_prefix("missing field `")
            .and_then(|rest| rest.split('`').next());
        let path = match (missing, last) {
            (Some(missing), _) => joined(&own, missing),
            (None, Some(last)) => last,
            (None, None) => own,
        };
        // A secret that was sent in the wrong form is not sent back.
        let message = match path.contains("_key") {
            true => "is not of the form that is expected",
            false => message,
        };
        Error::invalid(noun, vec![Fault::new(&path, message)])
    })
}

#[derive(Default)]
struct Lines {
    text: String,
    /// What stands on each line; where an object ends there, its last member as well.
    places: Vec<(String, Option<String>)>,
}

impl Lines {
    fn end(&mut self, path: &str, last: Option<String>) {
        self.text.push('\n');
        self.places.push((path.to_owned(), last));
    }

    /// Writes a value up to its last character; gives its last member if it is an object that has one.
    fn write(&mut self, value: &Value, path: &str) -> Option<String> {
        let mut last = None;
        match value {
            Value::Object(members) if !members.is_empty() => {
                self.text.push('{');
                self.end(path, None);
                for (at, (name, value)) in members.iter().enumerate() {
                    let path = joined(path, name);
                    self.text.push_str(&Value::from(name.as_str()).to_string());
                    self.text.push(':');
                    let inner = self.write(value, &path);
                    if at + 1 < members.len() {
                        self.text.push(',');
                    }
                    self.end(&path, inner);
                    last = Some(path);
                }
                self.text.push('}');
            }
            // Plain items share a line: behind one that is refused, serde looks past the comma.
            Value::Array(items) => {
                self.text.push('[');
                for (at, value) in items.iter().enumerate() {
                    let path = joined(path, &at.to_string());
                    let inner = self.write(value, &path);
                    if at + 1 < items.len() {
                        self.text.push(',');
                    }
                    if value.is_object() {
                        self.end(&path, inner);
                    }
                }
                self.text.push(']');
            }
            plain => self.text.push_str(&plain.to_string()),
        }
        last
    }
}

fn joined(path: &str, name: &str) -> String {
    match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::flow::{Account, Channel, Flow};

    fn check<T: DeserializeOwned>(value: Value, expected: &str) {
        let fault = located::<T>(&value, "noun").err().unwrap();
        let text = format!("{fault:?}");
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn faults_have_their_place() {
        let flow = json!({
            "id": "a", "account": "c", "name": "A", "direction": "ehr-to-leadsquared", "channel": "e",
            "event": "ADT^A04", "entity": "lead", "primary_search_field": "mx_MRN",
        });
        assert!(located::<Flow>(&flow, "flows").is_ok());
        let with = |name: &str, value: Value| {
            let mut flow = flow.clone();
            flow[name] = value;
            flow
        };
        check::<Flow>(with("event", json!("A04")), "\"noun.event\"");
        check::<Flow>(with("entity", json!("task")), "\"noun.entity\"");
        check::<Flow>(with("colour", json!("red")), "\"noun.colour\"");
        check::<Flow>(with("position", json!("first")), "\"noun.position\"");
        check::<Flow>(
            with(
                "activity",
                json!({ "code": "x", "key_field": "mx_Custom_1" }),
            ),
            "\"noun.activity.code\"",
        );
        check::<Flow>(
            with("activity", json!({ "key_field": "mx_Custom_1" })),
            "\"noun.activity.code\"",
        );
        check::<Flow>(json!({ "id": "a" }), "\"noun.account\"");
        check::<Channel>(
            json!({ "id": "e", "account": "c", "name": "E", "address": "0", "allowed_peers": ["10.0.0.0/8", "nowhere"] }),
            "\"noun.allowed_peers\"",
        );
        check::<Account>(
            json!({ "id": "c", "name": "C", "api": "x", "roles": ["Sales_User", "Pope"] }),
            "\"noun.roles\"",
        );
    }
}
