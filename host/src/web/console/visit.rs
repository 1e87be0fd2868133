//! Who is on a page, and whether they may be: asked here for every route, before its handler runs.
//!
//! A form carries the token of its session, and nothing is done without it: another site can make a browser send a
//! form, but not read ours. [`enter`] is the layer of pages, [`guard_interface`] that of the interface.

use std::net::IpAddr;

use askama::Template;
use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Redirect, Response};

use super::Needs;
use super::cookie::{self, decoded, encoded};
use super::form::{self, Form};
use crate::access::door;
use crate::access::{self, Caller, Right, Who, session};
use crate::web::Web;
use crate::web::api::error::Error;
use crate::web::fault::Fault;
use crate::web::listener::Peer;

/// Somebody on a page.
#[derive(Debug, Clone)]
pub struct Visit {
    /// None on the pages that lead in.
    pub caller: Option<Caller>,
    /// What the handlers of the interface ask who calls by.
    pub headers: HeaderMap,
    pub address: Option<IpAddr>,
    /// The token that forms of this visit carry.
    token: String,
    flash: Option<Flash>,
    /// Whether only a part of the page is wanted.
    pub is_partial: bool,
}

/// One line that the page before left.
#[derive(Debug, Clone)]
pub struct Flash {
    /// `done` or `fault`.
    pub kind: &'static str,
    pub text: String,
}

impl Visit {
    pub fn may(&self, right: Right) -> bool {
        let caller = self.caller.as_ref();
        caller.is_some_and(|caller| caller.rights.holds(right))
    }

    /// Where the request came from, for the limit on attempts.
    pub fn address(&self) -> String {
        self.address
            .map(|address| door::counted(address).to_string())
            .unwrap_or_default()
    }

    /// What every page has around it.
    pub fn frame(&self, section: &'static str) -> Frame {
        Frame {
            section,
            person: match &self.caller {
                Some(caller) => caller.name.clone(),
                None => String::new(),
            },
            token: self.token.clone(),
            flash: self.flash.clone(),
            maps: self.may(Right::Map),
            publishes: self.may(Right::Publish),
            operates: self.may(Right::Operate),
            sees: self.may(Right::SeePatientData),
            administers: self.may(Right::Administer),
            audits: self.may(Right::Audit),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Visit {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Fault> {
        parts.extensions.get().cloned().ok_or(Fault::Denied)
    }
}

/// What every page has around it: navigation, the person, the line of the page before.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Which part of the navigation the page belongs to.
    pub section: &'static str,
    /// Empty where nobody is signed in.
    pub person: String,
    pub token: String,
    pub flash: Option<Flash>,
    pub maps: bool,
    pub publishes: bool,
    pub operates: bool,
    pub sees: bool,
    pub administers: bool,
    pub audits: bool,
}

impl Frame {
    pub fn here(&self, section: &str) -> bool {
        self.section == section
    }
}

/// A page as an answer.
pub fn html(page: &impl Template) -> Result<Response, Fault> {
    Ok(Html(page.render()?).into_response())
}

/// A form with faults, shown again.
pub fn again(page: &impl Template) -> Result<Response, Fault> {
    Ok((StatusCode::UNPROCESSABLE_ENTITY, Html(page.render()?)).into_response())
}

/// Goes to another page, which says what was done.
pub fn done(visit: &Visit, to: &str, text: &str) -> Response {
    leave(visit, to, "done", text)
}

/// Goes to another page, which says why nothing was done.
pub fn refused(visit: &Visit, to: &str, fault: &Error) -> Response {
    let mut text = Faults::of(fault).all().join(" ");
    if text.is_empty() {
        text = fault.message().to_owned();
    }
    leave(visit, to, "fault", &text)
}

/// Goes back to a page with what became of a change: `said` where it was made.
pub(super) fn told<T>(visit: &Visit, to: &str, result: Result<T, Error>, said: &str) -> Response {
    match result {
        Ok(_) => done(visit, to, said),
        Err(fault) => refused(visit, to, &fault),
    }
}

fn leave(visit: &Visit, to: &str, kind: &str, text: &str) -> Response {
    let mut response = Redirect::to(to).into_response();
    let kept: String = text.chars().take(600).collect();
    let value = format!("{kind}.{}", encoded(&kept));
    cookie::set(&mut response, &visit.headers, cookie::FLASH, &value, 60);
    response
}

/// The headers of a visit with the version that its form saw, for what a script would delete.
pub fn if_match(visit: &Visit, form: &Form) -> HeaderMap {
    let mut headers = visit.headers.clone();
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", form.get("version"))) {
        headers.insert(header::IF_MATCH, tag);
    }
    headers
}

/// What is wrong with the fields of a form.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// What is no one field's fault.
    pub message: String,
    fields: Vec<(String, String)>,
}

impl Faults {
    pub fn of(error: &Error) -> Self {
        let fields: Vec<(String, String)> = error
            .faults()
            .map(|(path, text)| (path.to_owned(), plain(text)))
            .collect();
        Self {
            message: match fields.is_empty() {
                true => plain(error.message()),
                false => String::new(),
            },
            fields,
        }
    }

    /// The fault of a setting, by the end of its path; empty if there is none.
    pub fn at(&self, name: &str) -> &str {
        let is_there = |path: &str| path == name || path.ends_with(&format!(".{name}"));
        let mut found = self.fields.iter();
        let found = found.find(|(path, _)| is_there(path));
        found.map_or("", |(_, text)| text.as_str())
    }

    pub fn is_empty(&self) -> bool {
        self.message.is_empty() && self.fields.is_empty()
    }

    /// Every one, for a list on top of the form; the script of the pages puts each beside its field, too.
    pub fn lines(&self) -> Vec<FaultLine> {
        let own = Some(self.message.clone()).filter(|text| !text.is_empty());
        let own = own.map(|said| FaultLine {
            said,
            ..FaultLine::default()
        });
        let fields = self.fields.iter().map(|(path, text)| FaultLine {
            field: path.clone(),
            text: text.clone(),
            said: format!("{}: {text}.", label(path)),
        });
        own.into_iter().chain(fields).collect()
    }

    /// The same as sentences.
    pub fn all(&self) -> Vec<String> {
        self.lines().into_iter().map(|line| line.said).collect()
    }
}

/// A line of what is wrong with a form.
#[derive(Debug, Clone, Default)]
pub struct FaultLine {
    /// The path of the field, which ends in its name; empty where it is no one field's fault.
    pub field: String,
    pub text: String,
    /// Field and text as a sentence.
    pub said: String,
}

/// What the interface calls something, and what people find on a page instead.
const PLAIN: [(&str, &str); 9] = [
    (
        "Let the fields be made first (`make_fields`)",
        "Make the fields first",
    ),
    (
        "confirm that it shall start without them (`confirm_lacking`)",
        "tick that it shall start without them",
    ),
    ("send `address`", "say where LeadSquared finds this host"),
    ("send a larger `limit`", "say that the plan allows more"),
    (
        "set the account's `poll`",
        "let the account be read (`poll`)",
    ),
    ("confirm with confirm_not_unique", "tick that you mean it"),
    ("confirm with confirm_no_condition", "tick that you mean it"),
    (
        "in the account's identifier_fields",
        "on the page of the account, under Fields that identify a patient",
    ),
    (
        "read the account's metadata again",
        "press Read again on the page of the account",
    ),
];

/// A fault as people read it, who do not know the interface and its types.
fn plain(text: &str) -> String {
    if let Some((typed, expected)) = text
        .strip_prefix("invalid type: string ")
        .or_else(|| text.strip_prefix("invalid value: string "))
        .and_then(|rest| rest.rsplit_once(", expected "))
    {
        let whole = ["u8", "u16", "u32", "u64", "usize", "i64"];
        return match whole.contains(&expected) {
            true => format!("{typed} is not a whole number, such as 30"),
            false => format!("{typed} is not {expected}"),
        };
    }
    let known = PLAIN.iter();
    known.fold(text.to_owned(), |text, (ours, theirs)| {
        text.replace(ours, theirs)
    })
}

/// What the pages call a member of a document, where its own name is another.
const LABELS: &[(&str, &str)] = &[
    ("access_key", "Access key"),
    ("address", "Address"),
    ("again", "The same password again"),
    ("any_of", "Values"),
    ("api", "API address"),
    ("behaviour", "What the EHR is told of the patient first"),
    ("calls", "Calls in a window"),
    ("code", "Activity type"),
    ("daily", "Calls in a day"),
    ("default_country_code", "Default country code"),
    ("identifier_fields", "Fields that identify a patient"),
    ("key_field", "Field for the appointment id"),
    ("lead_behaviour", "Sync behaviour: lead"),
    ("activity_behaviour", "Sync behaviour: activity"),
    ("login", "Mail address"),
    ("make_webhook", "Webhook"),
    ("max_sends", "Times that a message is sent at most"),
    ("primary_search_field", "Primary search field"),
    ("reserve_percent", "Percent of a day left to others"),
    ("register", "Flow that registers the patient"),
    ("rights", "May"),
    ("secondary_search_field", "Secondary search field"),
    ("time_zone", "Time zone"),
    ("update", "Flow that updates the patient"),
    (
        "wait_for_identifier_ms",
        "Hours that it waits for an identifier",
    ),
    ("window_ms", "Window, in milliseconds"),
];

/// The label of a member by its path: `accounts.rate_plan.calls` is *Calls in a window*.
fn label(path: &str) -> String {
    let last = path.rsplit('.').next().unwrap_or(path);
    if path.contains(".read_back.") {
        return "What is read of the EHR’s answer".to_owned();
    }
    let mut known = LABELS.iter();
    if let Some((_, label)) = known.find(|(name, _)| *name == last) {
        return (*label).to_owned();
    }
    let name = path.split_once('.').map_or(path, |(_, name)| name);
    let name = name.replace(['_', '.'], " ");
    let mut letters = name.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

/// Lets whoever may use a page pass to its handler, with what their form says.
pub(super) async fn enter(
    State((web, needs, most)): State<(Web, Needs, usize)>,
    mut request: Request,
    next: Next,
) -> Response {
    let headers = request.headers().clone();
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let caller = match (needs, web.caller(&headers).await) {
        (_, Err(access::Error::Store(fault))) => return Fault::Store(fault).into_response(),
        (Needs::Nothing, _) => None,
        (_, Ok(caller)) => Some(caller),
        (_, Err(_)) if headers.contains_key(header::AUTHORIZATION) => {
            return Fault::Denied.into_response();
        }
        (_, Err(_)) => return to_sign_in(&request, is_read),
    };
    if let (Needs::Right(right), Some(caller)) = (needs, &caller)
        && caller.may(right).is_err()
    {
        return Fault::Lacks(right).into_response();
    }
    let visitor = cookie::read(&headers, cookie::VISITOR);
    let is_script = caller
        .as_ref()
        .is_some_and(|caller| matches!(caller.who, Who::Token { .. }));
    let (token, new_visitor) = match (&caller, visitor) {
        (
            Some(Caller {
                who: Who::Person { form_token, .. },
                ..
            }),
            _,
        ) => (form_token.clone(), None),
        (_, Some(known)) => (session::form_token(&known), None),
        (_, None) => match random() {
            Some(made) => (session::form_token(&made), Some(made)),
            None => return Fault::BadForm.into_response(),
        },
    };
    if !is_read {
        let (parts, body) = request.into_parts();
        let form = match to_bytes(body, most).await {
            Ok(bytes) => Form::parse(&headers, &bytes),
            Err(_) => return Fault::TooLarge.into_response(),
        };
        let Some(form) = form else {
            return Fault::BadForm.into_response();
        };
        if !is_script && !session::is_form_token(&token, form.get(form::TOKEN)) {
            return Fault::BadForm.into_response();
        }
        request = Request::from_parts(parts, Body::empty());
        request.extensions_mut().insert(form);
    }
    let peer: Option<&Peer> = request.extensions().get();
    let address = peer.map(|peer| peer.sender(&web.proxies, &headers));
    let flash = cookie::read(&headers, cookie::FLASH).filter(|_| is_read);
    let had_flash = flash.is_some();
    let visit = Visit {
        caller,
        address,
        token,
        flash: flash.as_deref().and_then(read_flash),
        is_partial: headers.contains_key("hx-request"),
        headers: headers.clone(),
    };
    request.extensions_mut().insert(visit);
    let mut response = next.run(request).await;
    if had_flash && response.status() != StatusCode::SEE_OTHER {
        cookie::clear(&mut response, &headers, cookie::FLASH);
    }
    if let Some(visitor) = new_visitor.filter(|_| needs == Needs::Nothing) {
        cookie::set(
            &mut response,
            &headers,
            cookie::VISITOR,
            &visitor,
            24 * 60 * 60,
        );
    }
    response
}

fn read_flash(value: &str) -> Option<Flash> {
    let (kind, text) = value.split_once('.')?;
    Some(Flash {
        kind: if kind == "fault" { "fault" } else { "done" },
        text: decoded(text),
    })
}

/// Somebody who is not signed in comes back to where they wanted to go.
fn to_sign_in(request: &Request, is_read: bool) -> Response {
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str());
    let next = match is_read && path != "/" {
        true => format!("/sign-in?next={}", encoded(path)),
        false => "/sign-in".to_owned(),
    };
    // A part of a page that is refreshed: the whole page goes there.
    if request.headers().contains_key("hx-request") {
        return (StatusCode::UNAUTHORIZED, [("hx-redirect", next)]).into_response();
    }
    Redirect::to(&next).into_response()
}

fn random() -> Option<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).ok()?;
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What a script of our pages must send beside the cookie, so that no other site can use a session.
const TOKEN_HEADER: &str = "x-csrf-token";

/// Lets nobody change anything by the interface with a cookie alone.
pub(in crate::web) async fn guard_interface(
    State(web): State<Web>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    let is_read = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    let by_cookie = !headers.contains_key(header::AUTHORIZATION)
        && cookie::read(headers, cookie::SESSION).is_some();
    if !is_read && by_cookie {
        let sent = headers
            .get(TOKEN_HEADER)
            .and_then(|value| value.to_str().ok());
        let expected = match web.caller(headers).await {
            Ok(Caller {
                who: Who::Person { form_token, .. },
                ..
            }) => form_token,
            Ok(_) => String::new(),
            Err(fault) => return Error::from(fault).into_response(),
        };
        if !sent.is_some_and(|sent| session::is_form_token(&expected, sent)) {
            let text = "with the cookie of a session, send its token as X-CSRF-Token";
            return Error::new(StatusCode::FORBIDDEN, "forbidden", text).into_response();
        }
    }
    next.run(request).await
}
