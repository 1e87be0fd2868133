//! People who sign in to the console: administrators add them, give them rights, and hand them a link to choose a password.

use axum::extract::{RawPathParams, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::{Body, Unread, json};
use super::error::{Error, Problem};
use super::list::{Page, part};
use super::rfc3339;
use crate::access::people::{self, Said};
use crate::access::right::NoRight;
use crate::access::{Right, Rights};
use crate::flow::check::Fault;
use crate::store::catalog::person::PersonRow;
use crate::web::Web;

const NOUN: &str = "people";

/// A person, without a password.
#[derive(Debug, Serialize, ToSchema)]
pub struct PersonView {
    id: String,
    /// A mail address.
    login: String,
    name: String,
    /// In LeadSquared, such as `Sales_User`.
    role: String,
    /// With blanks between them.
    rights: String,
    /// May not sign in.
    shut_out: bool,
    /// Has chosen a password.
    has_password: bool,
    /// Has signed in by the identity provider, and is known by its name there from then on.
    has_identity: bool,
    created_at: String,
    signed_in_at: Option<String>,
}

/// A person to be added, or with changes.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "read member by member, so that faults have their place"
)]
pub struct PersonInput {
    /// A mail address; only for a new person.
    login: Option<String>,
    name: String,
    /// `Administrator`, `Marketing_User`, `Sales_Manager` or `Sales_User`.
    role: String,
    /// Rights with commas between them; none that their giver lacks.
    rights: String,
    shut_out: Option<bool>,
}

/// A link with which a person chooses a password: told this once, good for seven days and one use.
#[derive(Debug, Serialize, ToSchema)]
pub struct Invited {
    person: PersonView,
    /// The path of the link on this console; none where passwords are switched off.
    link: Option<String>,
}

impl Invited {
    pub(in crate::web) fn link_of(id: &str, secret: &str) -> String {
        format!("/welcome/{id}/{secret}")
    }
}

fn view(row: PersonRow) -> PersonView {
    PersonView {
        shut_out: row.disabled_at_ms.is_some(),
        has_password: row.password.is_some(),
        has_identity: row.identity.is_some(),
        created_at: rfc3339(row.created_at_ms),
        signed_in_at: row.signed_in_at_ms.map(rfc3339),
        id: row.id,
        login: row.login,
        name: row.name,
        role: row.role,
        rights: row.rights,
    }
}

/// What a body says of a person.
fn said(mut body: Body, read_only: &[&str]) -> Result<Said, Error> {
    let rights: String = body.take("rights", "people.rights")?;
    let rights = match rights.trim() {
        "" => Rights::default(),
        words => words.parse().map_err(|fault: NoRight| {
            Error::invalid(NOUN, vec![Fault::new("rights", fault.to_string())])
        })?,
    };
    let shut_out: Option<bool> = body.optional("shut_out", "people.shut_out")?;
    let said = Said {
        name: body.take("name", "people.name")?,
        role: body.take("role", "people.role")?,
        rights,
        is_shut_out: shut_out == Some(true),
    };
    body.end(NOUN, read_only)?;
    Ok(said)
}

/// Lists people by login.
#[utoipa::path(get, path = "/api/v1/people", tag = "people",
    responses((status = 200, body = Page<PersonView>), (status = "default", body = Problem)))]
pub async fn list(State(web): State<Web>, headers: HeaderMap) -> Result<Response, Error> {
    web.may(&headers, Right::Administer).await?;
    let people = web.pipeline.store.catalog().people().await?;
    let page = Page {
        items: people.into_iter().map(view).collect(),
        next: None,
    };
    Ok(json(StatusCode::OK, &page))
}

/// Adds a person, and gives a link with which they choose a password.
#[utoipa::path(post, path = "/api/v1/people", tag = "people", request_body = PersonInput,
    responses((status = 201, body = Invited), (status = "default", body = Problem)))]
pub async fn create(
    State(web): State<Web>,
    headers: HeaderMap,
    sent: Unread,
) -> Result<Response, Error> {
    let invited = add(&web, &headers, sent).await?;
    Ok(json(StatusCode::CREATED, &invited))
}

/// What [`create`] does, for a page that shows the link.
pub(in crate::web) async fn add(
    web: &Web,
    headers: &HeaderMap,
    sent: Unread,
) -> Result<Invited, Error> {
    let caller = web.may(headers, Right::Administer).await?;
    let mut body = sent.read().await?;
    let login: String = body.take("login", "people.login")?;
    let said = said(body, &[])?;
    let catalog = web.pipeline.store.catalog();
    let (person, secret) = people::add(&catalog, &caller, &login, &said).await?;
    Ok(Invited {
        link: web
            .takes_passwords()
            .then(|| Invited::link_of(&person.id, &secret)),
        person: view(person),
    })
}

/// Shows a person.
#[utoipa::path(get, path = "/api/v1/people/{id}", tag = "people", params(("id" = String, Path)),
    responses((status = 200, body = PersonView), (status = "default", body = Problem)))]
pub async fn show(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<Response, Error> {
    web.may(&headers, Right::Administer).await?;
    let person = find(&web, &params).await?;
    Ok(json(StatusCode::OK, &view(person)))
}

pub(in crate::web) async fn find(web: &Web, params: &RawPathParams) -> Result<PersonRow, Error> {
    let catalog = web.pipeline.store.catalog();
    let person = catalog.person(&part(params, "id")?).await?;
    person.ok_or_else(|| Error::not_found("such person"))
}

/// Changes name, role and rights of a person, or shuts them out, which ends their sessions.
#[utoipa::path(put, path = "/api/v1/people/{id}", tag = "people", params(("id" = String, Path)),
    request_body = PersonInput,
    responses((status = 200, body = PersonView), (status = "default", body = Problem)))]
pub async fn save(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
    sent: Unread,
) -> Result<Response, Error> {
    let caller = web.may(&headers, Right::Administer).await?;
    let body = sent.read().await?;
    let read_only = [
        "id",
        "login",
        "has_password",
        "has_identity",
        "created_at",
        "signed_in_at",
    ];
    let said = said(body, &read_only)?;
    let catalog = web.pipeline.store.catalog();
    let id = part(&params, "id")?;
    let person = people::change(&catalog, &caller, &id, &said).await?;
    Ok(json(StatusCode::OK, &view(person)))
}

/// Gives a new link with which a person chooses a password; an older one is good no longer.
#[utoipa::path(post, path = "/api/v1/people/{id}/invite", tag = "people", params(("id" = String, Path)),
    responses((status = 201, body = Invited), (status = "default", body = Problem)))]
pub async fn invite(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<Response, Error> {
    let link = link(&web, &headers, &params).await?;
    let invited = Invited {
        person: view(find(&web, &params).await?),
        link: Some(link),
    };
    Ok(json(StatusCode::CREATED, &invited))
}

/// What [`invite`] does, for a page that shows the link.
pub(in crate::web) async fn link(
    web: &Web,
    headers: &HeaderMap,
    params: &RawPathParams,
) -> Result<String, Error> {
    let caller = web.may(headers, Right::Administer).await?;
    if let Some(refused) = web.no_passwords() {
        return Err(refused.into());
    }
    let catalog = web.pipeline.store.catalog();
    let (person, secret) = people::invite(&catalog, &caller, &part(params, "id")?).await?;
    Ok(Invited::link_of(&person.id, &secret))
}

impl Invited {
    /// Empty where there is none.
    pub(in crate::web) fn link(&self) -> &str {
        self.link.as_deref().unwrap_or_default()
    }

    pub(in crate::web) fn name(&self) -> &str {
        &self.person.name
    }
}

/// Lets go of who a person is at the identity provider, and ends their sessions: whoever signs in there next with the
/// same mail address is that person.
#[utoipa::path(delete, path = "/api/v1/people/{id}/identity", tag = "people", params(("id" = String, Path)),
    responses((status = 200, body = PersonView), (status = "default", body = Problem)))]
pub async fn untie(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<Response, Error> {
    let caller = web.may(&headers, Right::Administer).await?;
    let catalog = web.pipeline.store.catalog();
    let person = people::untie(&catalog, &caller, &part(&params, "id")?).await?;
    Ok(json(StatusCode::OK, &view(person)))
}

/// Ends every session of a person.
#[utoipa::path(delete, path = "/api/v1/people/{id}/sessions", tag = "people", params(("id" = String, Path)),
    responses((status = 204), (status = "default", body = Problem)))]
pub async fn sign_out(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<StatusCode, Error> {
    let caller = web.may(&headers, Right::Administer).await?;
    let person = find(&web, &params).await?;
    let catalog = web.pipeline.store.catalog();
    catalog.end_sessions(&person, &caller.author()).await?;
    Ok(StatusCode::NO_CONTENT)
}
