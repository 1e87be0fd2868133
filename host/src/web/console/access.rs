//! Access: which LeadSquared roles may use the connector, who the people are, and what each may do.

use askama::Template;
use axum::extract::{RawPathParams, State};
use axum::response::Response;
use serde_json::json;

use super::form::Form;
use super::show::utc;
use super::visit::{Faults, Frame, Visit, again, done, html, refused, told};
use crate::access::{Right, Rights};
use crate::flow::Account;
use crate::flow::account::Role;
use crate::store::catalog::Kept;
use crate::store::catalog::person::{PersonRow, ROLES};
use crate::web::Web;
use crate::web::api::body::Unread;
use crate::web::api::error::Error;
use crate::web::api::list::part;
use crate::web::api::{accounts, people};
use crate::web::fault::Fault;

#[derive(Template)]
#[template(path = "access.html")]
struct AccessPage {
    frame: Frame,
    accounts: Vec<AccountRoles>,
    people: Vec<PersonLine>,
}

pub(super) struct AccountRoles {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) version: i64,
    pub(super) roles: Vec<Choice>,
}

pub(super) struct Choice {
    pub(super) word: &'static str,
    pub(super) label: String,
    pub(super) is_chosen: bool,
}

struct PersonLine {
    id: String,
    name: String,
    login: String,
    role: String,
    rights: Vec<&'static str>,
    state: &'static str,
    signed_in: String,
}

#[derive(Template)]
#[template(path = "person.html")]
struct PersonPage {
    frame: Frame,
    faults: Faults,
    /// Empty for a new one.
    id: String,
    login: String,
    name: String,
    roles: Vec<Choice>,
    rights: Vec<RightChoice>,
    is_shut_out: bool,
    ways: Ways,
}

/// How people sign in here, and what this one has.
struct Ways {
    /// What people call the identity provider; empty where there is none.
    provider: String,
    has_identity: bool,
    takes_passwords: bool,
}

impl Ways {
    fn of(web: &Web, has_identity: bool) -> Self {
        let name = web.openid.as_ref().map(|provider| provider.name());
        Self {
            provider: name.unwrap_or_default().to_owned(),
            has_identity,
            takes_passwords: web.takes_passwords(),
        }
    }
}

struct RightChoice {
    word: &'static str,
    label: &'static str,
    about: &'static str,
    is_chosen: bool,
}

#[derive(Template)]
#[template(path = "person_link.html")]
struct LinkPage {
    frame: Frame,
    name: String,
    login: String,
    /// Empty where passwords are switched off.
    link: String,
    /// What people call the identity provider; empty where there is none.
    provider: String,
}

/// A right in words.
pub fn words(right: Right) -> &'static str {
    match right {
        Right::View => "View",
        Right::Operate => "Operate",
        Right::Map => "Map",
        Right::Publish => "Publish",
        Right::SeePatientData => "See patient data",
        Right::Administer => "Administer",
        Right::Audit => "Audit",
    }
}

fn about(right: Right) -> &'static str {
    match right {
        Right::View => "See flows, channels and messages, without their values.",
        Right::Operate => "Pause flows, release and replay deliveries.",
        Right::Map => "Change flows, mappings and code tables.",
        Right::Publish => "Upload components, approve what they may read, put flows in force.",
        Right::SeePatientData => {
            "See values of messages, after saying why; every time is recorded."
        }
        Right::Administer => "Change accounts, channels, and who uses this console.",
        Right::Audit => "Read who did, saw and changed what.",
    }
}

fn roles(chosen: &str) -> Vec<Choice> {
    let choice = |role: &'static str| Choice {
        word: role,
        label: role.replace('_', " "),
        is_chosen: role == chosen,
    };
    ROLES.into_iter().map(choice).collect()
}

fn rights(chosen: &Rights) -> Vec<RightChoice> {
    let choice = |right: Right| RightChoice {
        word: right.as_str(),
        label: words(right),
        about: about(right),
        is_chosen: chosen.holds(right),
    };
    Right::ALL.into_iter().map(choice).collect()
}

fn line(row: PersonRow) -> PersonLine {
    let held = Rights::known(&row.rights);
    let held = Right::ALL.into_iter().filter(|right| held.holds(*right));
    PersonLine {
        rights: held.map(words).collect(),
        role: row.role.replace('_', " "),
        state: match (&row.disabled_at_ms, &row.password, &row.identity) {
            (Some(_), _, _) => "shut out",
            (None, None, None) => "invited",
            _ => "",
        },
        signed_in: row.signed_in_at_ms.map(utc).unwrap_or_default(),
        id: row.id,
        name: row.name,
        login: row.login,
    }
}

/// The roles of an account, with those that may use the connector.
pub(super) fn account_roles(kept: &Kept<Account>) -> AccountRoles {
    let choice = |role: Role| Choice {
        word: role.as_str(),
        label: role.as_str().replace('_', " "),
        is_chosen: kept.document.roles.contains(&role),
    };
    AccountRoles {
        id: kept.document.id.to_string(),
        name: kept.document.name.clone(),
        version: kept.version,
        roles: Role::ALL.into_iter().map(choice).collect(),
    }
}

/// Shows roles and people.
pub async fn show(State(web): State<Web>, visit: Visit) -> Result<Response, Fault> {
    let catalog = web.pipeline.store.catalog();
    let accounts = catalog.list().await?.accounts;
    let accounts = accounts.iter().map(account_roles).collect();
    html(&AccessPage {
        frame: visit.frame("access"),
        accounts,
        people: catalog.people().await?.into_iter().map(line).collect(),
    })
}

/// Keeps which roles may use the connector.
pub async fn save_roles(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
    form: Form,
) -> Result<Response, Fault> {
    let listing = web.pipeline.store.catalog().list().await?;
    let id = part(&params, "id")?;
    let mut accounts = listing.accounts.into_iter();
    let kept = accounts.find(|kept| kept.document.id.as_str() == id);
    let mut account = kept.ok_or(Fault::NotFound)?.document;
    let chosen = form.all("role");
    let is_chosen = |role: &Role| chosen.iter().any(|word| word == role.as_str());
    account.roles = Role::ALL.into_iter().filter(is_chosen).collect();
    let version: i64 = form.get("version").parse().unwrap_or_default();
    let body = Unread::of(json!({ "account": account, "version": version }));
    let saving = accounts::save(State(web), visit.headers.clone(), params, body);
    // The first start goes on to its list.
    let to = match form.get("back") {
        "/setup" => "/setup",
        _ => "/access",
    };
    Ok(match Box::pin(saving).await {
        Ok(_) => done(&visit, to, "Who may use the connector is saved."),
        Err(fault) => refused(&visit, to, &fault),
    })
}

/// Asks for a new person.
pub async fn new(State(web): State<Web>, visit: Visit) -> Result<Response, Fault> {
    let rights_of_new = "view".parse().unwrap_or_default();
    html(&PersonPage {
        frame: visit.frame("access"),
        faults: Faults::default(),
        id: String::new(),
        login: String::new(),
        name: String::new(),
        roles: roles("Administrator"),
        rights: rights(&rights_of_new),
        is_shut_out: false,
        ways: Ways::of(&web, false),
    })
}

/// What the form says, as a script would.
fn said(form: &Form) -> serde_json::Value {
    json!({
        "name": form.get("name"),
        "role": form.get("role"),
        "rights": form.all("right").join(","),
        "shut_out": form.has("shut_out"),
    })
}

fn shown_again(visit: &Visit, ways: Ways, id: String, form: &Form, fault: &Error) -> PersonPage {
    let chosen = form.all("right").join(" ");
    PersonPage {
        frame: visit.frame("access"),
        faults: Faults::of(fault),
        id,
        login: form.get("login").to_owned(),
        name: form.get("name").to_owned(),
        roles: roles(form.get("role")),
        rights: rights(&Rights::known(&chosen)),
        is_shut_out: form.has("shut_out"),
        ways,
    }
}

/// Adds a person, and shows the link for them once.
pub async fn add(State(web): State<Web>, visit: Visit, form: Form) -> Result<Response, Fault> {
    let mut said = said(&form);
    said["login"] = form.get("login").into();
    match people::add(&web, &visit.headers, Unread::of(said)).await {
        Ok(invited) => html(&LinkPage {
            frame: visit.frame("access"),
            name: invited.name().to_owned(),
            login: form.get("login").to_lowercase(),
            link: invited.link().to_owned(),
            provider: Ways::of(&web, false).provider,
        }),
        Err(fault) => {
            let ways = Ways::of(&web, false);
            again(&shown_again(&visit, ways, String::new(), &form, &fault))
        }
    }
}

/// Shows a person to be changed.
pub async fn person(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
) -> Result<Response, Fault> {
    let row = people::find(&web, &params).await?;
    html(&PersonPage {
        frame: visit.frame("access"),
        faults: Faults::default(),
        rights: rights(&Rights::known(&row.rights)),
        roles: roles(&row.role),
        is_shut_out: row.disabled_at_ms.is_some(),
        ways: Ways::of(&web, row.identity.is_some()),
        id: row.id,
        login: row.login,
        name: row.name,
    })
}

/// Keeps what was changed of a person.
pub async fn save(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
    form: Form,
) -> Result<Response, Fault> {
    let id = part(&params, "id")?;
    let before = people::find(&web, &params).await?;
    let headers = visit.headers.clone();
    let ways = Ways::of(&web, before.identity.is_some());
    let saving = people::save(State(web), headers, params, Unread::of(said(&form)));
    match saving.await {
        Ok(_) => {
            let text = format!("{} is saved.", before.name);
            Ok(done(&visit, "/access", &text))
        }
        Err(fault) => {
            let mut page = shown_again(&visit, ways, id, &form, &fault);
            page.login = before.login;
            again(&page)
        }
    }
}

/// Makes a new link to choose a password, and shows it once.
pub async fn link(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
) -> Result<Response, Fault> {
    let person = people::find(&web, &params).await?;
    match people::link(&web, &visit.headers, &params).await {
        Ok(link) => html(&LinkPage {
            frame: visit.frame("access"),
            name: person.name,
            login: person.login,
            link,
            provider: Ways::of(&web, false).provider,
        }),
        Err(fault) => Ok(refused(&visit, "/access", &fault)),
    }
}

/// Lets go of who a person is at the identity provider.
pub async fn untie(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
) -> Result<Response, Fault> {
    let person = people::find(&web, &params).await?;
    let to = format!("/access/people/{}", person.id);
    let untying = people::untie(State(web), visit.headers.clone(), params);
    let text = format!(
        "Untied: whoever signs in next with {} is {}.",
        person.login, person.name
    );
    Ok(told(&visit, &to, untying.await, &text))
}

/// Signs a person out everywhere.
pub async fn sign_out(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
) -> Result<Response, Fault> {
    let person = people::find(&web, &params).await?;
    people::sign_out(State(web), visit.headers.clone(), params).await?;
    let text = format!("{} is signed out everywhere.", person.name);
    Ok(done(&visit, "/access", &text))
}
