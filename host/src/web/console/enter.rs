//! The ways in: sign-in, the first administrator, the link that an administrator hands over, the demo's link.

use askama::Template;
use axum::extract::{RawPathParams, State};
use axum::http::{StatusCode, Uri};
use axum::response::{Html, IntoResponse, Redirect, Response};

use super::cookie;
use super::form::{Form, query};
use super::visit::{Faults, Frame, Visit, html};
use crate::access::door::Opens;
use crate::access::people::{self, Refused};
use crate::access::{password, session};
use crate::web::Web;
use crate::web::api::error::Error;
use crate::web::api::list::part;
use crate::web::fault::Fault;

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    frame: Frame,
    next: String,
    login: String,
    fault: String,
    /// Nobody is there yet: how to begin.
    is_first: bool,
    /// What people call the identity provider; empty where there is none.
    provider: String,
    /// Where it is, with where to go from there.
    provider_href: String,
    takes_passwords: bool,
}

#[derive(Template)]
#[template(path = "first_start.html")]
struct FirstPage {
    frame: Frame,
    /// As it was ticked.
    sees: bool,
    faults: Faults,
    login: String,
    name: String,
    least: usize,
}

#[derive(Template)]
#[template(path = "welcome.html")]
struct WelcomePage {
    frame: Frame,
    faults: Faults,
    login: String,
    name: String,
    least: usize,
}

/// Asks for mail address and password.
pub async fn show(State(web): State<Web>, visit: Visit, uri: Uri) -> Result<Response, Fault> {
    let next = query(uri.query().unwrap_or_default())
        .into_iter()
        .find(|(name, _)| name == "next");
    let next = next.map(|(_, next)| next).unwrap_or_default();
    sign_in_page(&web, &visit, &next, "", (StatusCode::OK, String::new())).await
}

/// The way in, with what was wrong.
pub(super) async fn sign_in_page(
    web: &Web,
    visit: &Visit,
    next: &str,
    login: &str,
    (status, fault): (StatusCode, String),
) -> Result<Response, Fault> {
    let people = web.pipeline.store.catalog().people().await?;
    let name = web.openid.as_ref().map(|provider| provider.name());
    let page = SignInPage {
        frame: visit.frame(""),
        login: login.to_owned(),
        fault,
        is_first: people.is_empty(),
        provider: name.unwrap_or_default().to_owned(),
        provider_href: match next {
            "" => "/sign-in/openid".to_owned(),
            next => format!("/sign-in/openid?next={}", cookie::encoded(next)),
        },
        takes_passwords: web.takes_passwords(),
        next: next.to_owned(),
    };
    Ok((status, Html(page.render()?)).into_response())
}

/// Signs in.
pub async fn sign_in(State(web): State<Web>, visit: Visit, form: Form) -> Result<Response, Fault> {
    let catalog = web.pipeline.store.catalog();
    let (login, password) = (form.get("login"), form.raw("password"));
    let address = visit.address();
    let entered = match web.no_passwords() {
        None => people::sign_in(&catalog, &web.door, login, password, &address).await,
        Some(refused) => Err(refused),
    };
    let (status, fault) = match entered {
        Ok(cookie) => return Ok(inside(&visit, &cookie, form.get("next"))),
        Err(fault @ Refused::Wait { .. }) => (StatusCode::TOO_MANY_REQUESTS, fault),
        Err(fault @ (Refused::NotIn | Refused::NoPasswords { .. })) => {
            (StatusCode::FORBIDDEN, fault)
        }
        Err(fault) => return Err(Error::from(fault).into()),
    };
    sign_in_page(
        &web,
        &visit,
        form.get("next"),
        login,
        (status, fault.to_string()),
    )
    .await
}

/// Goes where somebody wanted to go, as somebody who is signed in.
pub(super) fn inside(visit: &Visit, session: &str, next: &str) -> Response {
    let to = if is_ours(next) { next } else { "/" };
    let mut response = Redirect::to(to).into_response();
    let age = session::LASTS_MS / 1_000;
    cookie::set(&mut response, &visit.headers, cookie::SESSION, session, age);
    response
}

/// Whether `next` leads to a page of this host, whoever reads it.
///
/// Browsers leave out tabs and line ends, take a backslash for a slash, and resolve dots; `//elsewhere` is another host.
fn is_ours(next: &str) -> bool {
    let path = next.split(['?', '#']).next().unwrap_or_default();
    let is_plain = next
        .bytes()
        .all(|byte| matches!(byte, 0x21..=0x7e) && byte != b'\\');
    let leads_on = |part: &str| !matches!(part, "." | "..");
    is_plain && path.starts_with('/') && !path.contains("//") && path.split('/').all(leads_on)
}

/// Asks for the first administrator.
pub async fn first(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
) -> Result<Response, Fault> {
    if web.door.opens(&part(&params, "secret")?) != Some(Opens::FirstAdministrator) {
        return Err(Fault::UsedLink);
    }
    html(&FirstPage {
        frame: visit.frame(""),
        sees: false,
        faults: Faults::default(),
        login: String::new(),
        name: String::new(),
        least: password::LEAST,
    })
}

/// Makes the first administrator.
pub async fn make_first(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
    form: Form,
) -> Result<Response, Fault> {
    let catalog = web.pipeline.store.catalog();
    let secret = part(&params, "secret")?;
    let (login, name) = (form.get("login"), form.get("name"));
    let made = match form.raw("password") == form.raw("again") {
        true => {
            let (password, sees) = (form.raw("password"), form.has("sees"));
            let making = people::first(&catalog, &web.door, &secret, login, name, password, sees);
            making.await
        }
        false => Err(differ()),
    };
    match made {
        Ok(cookie) => Ok(inside(&visit, &cookie, "/setup")),
        Err(Refused::Link) => Err(Fault::UsedLink),
        Err(fault) => super::visit::again(&FirstPage {
            frame: visit.frame(""),
            sees: form.has("sees"),
            faults: Faults::of(&fault.into()),
            login: login.to_owned(),
            name: name.to_owned(),
            least: password::LEAST,
        }),
    }
}

fn differ() -> Refused {
    Refused::Member("again", "is not the same as the password".into())
}

/// Signs in whoever has the demo's link.
pub async fn by_link(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
) -> Result<Response, Fault> {
    let catalog = web.pipeline.store.catalog();
    match people::enter(&catalog, &web.door, &part(&params, "secret")?).await {
        Ok(cookie) => Ok(inside(&visit, &cookie, "/")),
        Err(Refused::Link) => Err(Fault::UsedLink),
        Err(fault) => Err(Error::from(fault).into()),
    }
}

/// Asks an invited person for a password.
pub async fn welcome(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
) -> Result<Response, Fault> {
    let catalog = web.pipeline.store.catalog();
    let (id, secret) = (part(&params, "id")?, part(&params, "secret")?);
    if !web.takes_passwords() {
        return Ok(Redirect::to("/sign-in").into_response());
    }
    let person = people::invited(&catalog, &id, &secret).await;
    let person = person.map_err(|_| Fault::UsedLink)?;
    html(&WelcomePage {
        frame: visit.frame(""),
        faults: Faults::default(),
        login: person.login,
        name: person.name,
        least: password::LEAST,
    })
}

/// Keeps the password of an invited person.
pub async fn choose_password(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
    form: Form,
) -> Result<Response, Fault> {
    let catalog = web.pipeline.store.catalog();
    let (id, secret) = (part(&params, "id")?, part(&params, "secret")?);
    if !web.takes_passwords() {
        return Ok(Redirect::to("/sign-in").into_response());
    }
    let person = people::invited(&catalog, &id, &secret).await;
    let person = person.map_err(|_| Fault::UsedLink)?;
    let kept = match form.raw("password") == form.raw("again") {
        true => {
            let password = form.raw("password");
            people::accept(&catalog, &web.door, &id, &secret, password).await
        }
        false => Err(differ()),
    };
    match kept {
        Ok(cookie) => Ok(inside(&visit, &cookie, "/")),
        Err(Refused::Link) => Err(Fault::UsedLink),
        Err(fault) => super::visit::again(&WelcomePage {
            frame: visit.frame(""),
            faults: Faults::of(&fault.into()),
            login: person.login,
            name: person.name,
            least: password::LEAST,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_sign_in_one_goes_to_pages_of_ours_only() {
        for next in [
            "/",
            "/messages/0199?part=1",
            "/flows/ADT%5EA04/event#sample",
            "/a.b/c",
        ] {
            assert!(is_ours(next), "{next:?}");
        }
        for next in [
            "",
            "messages",
            "//evil.com",
            "/\\evil.com",
            "/\t/evil.com",
            "/\nx",
            "/\u{0}",
            "/a b",
            "/ä",
            "/.//evil.com",
            "/a/..//evil.com",
            "/..",
            "https://evil.com",
        ] {
            assert!(!is_ours(next), "{next:?}");
        }
    }
}
