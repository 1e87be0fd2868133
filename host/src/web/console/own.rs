//! One's own page: password, sign out here and everywhere.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};

use super::cookie;
use super::form::Form;
use super::show::utc;
use super::visit::{Faults, Frame, Visit, again, done, html};
use crate::access::people::{self, Refused};
use crate::access::{Right, Who, password, session};
use crate::web::Web;
use crate::web::api::error::Error;
use crate::web::fault::Fault;

#[derive(Template)]
#[template(path = "own.html")]
struct OwnPage {
    frame: Frame,
    faults: Faults,
    login: String,
    role: String,
    signed_in: String,
    rights: Vec<&'static str>,
    least: usize,
    /// There is a password to be changed.
    has_password: bool,
}

async fn page(web: &Web, visit: &Visit, faults: Faults) -> Result<OwnPage, Fault> {
    let catalog = web.pipeline.store.catalog();
    let person = match visit.caller.as_ref().map(|caller| &caller.who) {
        Some(Who::Person { id, .. }) => catalog.person(id).await?,
        _ => None,
    };
    let person = person.ok_or(Fault::NotFound)?;
    let rights = Right::ALL.into_iter().filter(|right| visit.may(*right));
    Ok(OwnPage {
        frame: visit.frame("own"),
        faults,
        login: person.login,
        role: person.role.replace('_', " "),
        signed_in: person.signed_in_at_ms.map(utc).unwrap_or_default(),
        rights: rights.map(super::access::words).collect(),
        least: password::LEAST,
        has_password: person.password.is_some() && web.takes_passwords(),
    })
}

/// Shows who one is here.
pub async fn show(State(web): State<Web>, visit: Visit) -> Result<Response, Fault> {
    html(&page(&web, &visit, Faults::default()).await?)
}

/// Changes one's own password.
pub async fn change_password(
    State(web): State<Web>,
    visit: Visit,
    form: Form,
) -> Result<Response, Fault> {
    let catalog = web.pipeline.store.catalog();
    let caller = visit.caller.clone().ok_or(Fault::Denied)?;
    let (old, new) = (form.raw("old_password"), form.raw("password"));
    let address = visit.address();
    let changed = match new == form.raw("again") {
        true => people::change_password(&catalog, &web.door, &caller, old, new, &address).await,
        false => Err(Refused::Member(
            "again",
            "is not the same as the new password".into(),
        )),
    };
    match changed {
        Ok(cookie) => {
            let text = "Your password is changed, and you are signed out everywhere else.";
            let mut response = done(&visit, "/own", text);
            let age = session::LASTS_MS / 1_000;
            cookie::set(&mut response, &visit.headers, cookie::SESSION, &cookie, age);
            Ok(response)
        }
        Err(fault) => {
            let faults = Faults::of(&Error::from(fault));
            again(&page(&web, &visit, faults).await?)
        }
    }
}

/// Ends this session.
pub async fn sign_out(State(web): State<Web>, visit: Visit) -> Result<Response, Fault> {
    if let Some(Who::Person { session, .. }) = visit.caller.as_ref().map(|caller| &caller.who) {
        web.pipeline.store.catalog().end_session(session).await?;
    }
    Ok(out(&visit))
}

/// Ends all sessions of this person.
pub async fn sign_out_everywhere(State(web): State<Web>, visit: Visit) -> Result<Response, Fault> {
    let catalog = web.pipeline.store.catalog();
    if let Some(caller) = &visit.caller
        && let Who::Person { id, .. } = &caller.who
        && let Some(person) = catalog.person(id).await?
    {
        catalog.end_sessions(&person, &caller.author()).await?;
    }
    Ok(out(&visit))
}

fn out(visit: &Visit) -> Response {
    let mut response = Redirect::to("/sign-in").into_response();
    cookie::clear(&mut response, &visit.headers, cookie::SESSION);
    response
}
