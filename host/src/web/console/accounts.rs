//! One LeadSquared account: what is known of it, who gets access, its settings and keys.

use askama::Template;
use axum::extract::{RawPathParams, State};
use axum::response::Response;
use serde_json::{Value, json};

use super::access::{AccountRoles, account_roles};
use super::flow_additional::COUNTRIES;
use super::form::Form;
use super::visit::{Faults, Frame, Visit, again, done, html, if_match, refused, told};
use super::webhooks;
use crate::flow::Account;
use crate::pipeline::account::may_use;
use crate::store::catalog::Kept;
use crate::web::Web;
use crate::web::api::body::Unread;
use crate::web::api::error::Error;
use crate::web::api::list::part;
use crate::web::api::{accounts, metadata};
use crate::web::fault::Fault;

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage {
    frame: Frame,
    faults: Faults,
    account: Account,
    roles: AccountRoles,
    /// What LeadSquared says of it; why nothing is known.
    known: Result<Known, String>,
    zones: Vec<String>,
    countries: Vec<(&'static str, &'static str)>,
    /// What the form holds: as it is kept, or as it was typed.
    name: String,
    zone: String,
    country: String,
    identifiers: String,
    plan: Plan,
    webhooks: Result<webhooks::Shown, String>,
    /// No channel yet: the first start is under way.
    is_first: bool,
}

/// Calls that are allowed, of the same form.
struct Plan {
    calls: String,
    window_ms: String,
    daily: String,
    reserve_percent: String,
}

/// What was read of LeadSquared.
struct Known {
    fields: usize,
    unique: Vec<String>,
    activity_types: usize,
    users: usize,
    users_with_access: usize,
}

async fn known(web: &Web, account: &Account) -> Result<Known, Error> {
    let pipeline = &web.pipeline;
    let fields = pipeline.lead_fields(&account.id).await?.document;
    let types = pipeline.activity_types(&account.id).await?.document;
    let users = pipeline.users(&account.id).await?.document;
    let unique = fields.iter().filter(|field| field.is_unique);
    Ok(Known {
        unique: unique.map(|field| field.display_name.clone()).collect(),
        fields: fields.len(),
        activity_types: types.len(),
        users_with_access: users.iter().filter(|user| may_use(account, user)).count(),
        users: users.len(),
    })
}

async fn page(
    web: &Web,
    visit: &Visit,
    kept: Kept<Account>,
    faults: Faults,
) -> Result<AccountPage, Fault> {
    let listing = web.pipeline.store.catalog().list().await?;
    let roles = account_roles(&kept);
    let account = kept.document;
    let known = Box::pin(known(web, &account)).await;
    let webhooks = Box::pin(webhooks::shown(web, visit, &account.id, None)).await;
    Ok(AccountPage {
        frame: visit.frame("setup"),
        faults,
        roles,
        webhooks,
        known: known.map_err(|fault| fault.message().to_owned()),
        zones: super::flow_additional::zones(),
        countries: COUNTRIES.into(),
        name: account.name.clone(),
        zone: account.time_zone.clone().unwrap_or_default(),
        country: account.default_country_code.clone().unwrap_or_default(),
        identifiers: account.identifier_fields.join(", "),
        plan: Plan {
            calls: account.rate_plan.calls.to_string(),
            window_ms: account.rate_plan.window_ms.to_string(),
            daily: (account.rate_plan.daily).map_or_else(String::new, |calls| calls.to_string()),
            reserve_percent: account.rate_plan.reserve_percent.to_string(),
        },
        is_first: listing.channels.is_empty(),
        account,
    })
}

/// Shows an account.
pub async fn show(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
) -> Result<Response, Fault> {
    let kept = accounts::kept(&web.pipeline.store.catalog(), &part(&params, "id")?).await?;
    html(&Box::pin(page(&web, &visit, kept, Faults::default())).await?)
}

/// Keeps the settings of an account.
pub async fn save(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
    form: Form,
) -> Result<Response, Fault> {
    let id = part(&params, "id")?;
    let kept = accounts::kept(&web.pipeline.store.catalog(), &id).await?;
    let mut account = kept.document.clone();
    account.name = form.get("name").to_owned();
    account.time_zone = form.some("time_zone");
    account.default_country_code = form.some("default_country_code");
    let fields = form.get("identifier_fields").split(',').map(str::trim);
    let fields = fields.filter(|field| !field.is_empty());
    account.identifier_fields = fields.map(str::to_owned).collect();
    let mut body = json!({ "account": account, "version": version(&form) });
    // As typed: what is no number is told at its field.
    let number = |name: &str| match form.get(name).parse::<u64>() {
        Ok(number) => Value::from(number),
        Err(_) => Value::from(form.get(name)),
    };
    let plan = &mut body["account"]["rate_plan"];
    for name in ["calls", "window_ms", "reserve_percent"] {
        plan[name] = number(name);
    }
    plan["daily"] = match form.some("daily") {
        Some(_) => number("daily"),
        None => Value::Null,
    };
    let headers = visit.headers.clone();
    let saving = accounts::save(State(web.clone()), headers, params, Unread::of(body));
    match Box::pin(saving).await {
        Ok(_) => Ok(done(
            &visit,
            &format!("/accounts/{id}"),
            "The account is saved.",
        )),
        Err(fault) => {
            let mut page = Box::pin(page(&web, &visit, kept, Faults::of(&fault))).await?;
            let typed = |name: &str| form.get(name).to_owned();
            (page.name, page.identifiers) = (typed("name"), typed("identifier_fields"));
            (page.zone, page.country) = (typed("time_zone"), typed("default_country_code"));
            page.plan = Plan {
                calls: typed("calls"),
                window_ms: typed("window_ms"),
                daily: typed("daily"),
                reserve_percent: typed("reserve_percent"),
            };
            again(&page)
        }
    }
}

fn version(form: &Form) -> i64 {
    form.get("version").parse().unwrap_or_default()
}

/// Puts other keys in the place of an account's.
pub async fn keys(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
    form: Form,
) -> Result<Response, Fault> {
    let to = format!("/accounts/{}", part(&params, "id")?);
    let body =
        json!({ "access_key": form.get("access_key"), "secret_key": form.get("secret_key") });
    let headers = visit.headers.clone();
    let putting = accounts::put_keys(State(web), headers, params, Unread::of(body));
    Ok(told(
        &visit,
        &to,
        Box::pin(putting).await,
        "The keys are in use.",
    ))
}

/// Reads what LeadSquared knows of the account again.
pub async fn read(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
) -> Result<Response, Fault> {
    let to = format!("/accounts/{}", part(&params, "id")?);
    let reading = metadata::synchronise(State(web), visit.headers.clone(), params);
    Ok(told(
        &visit,
        &to,
        Box::pin(reading).await,
        "Fields, activity types and users are read again.",
    ))
}

/// Deletes an account whose name was typed.
pub async fn delete(
    State(web): State<Web>,
    visit: Visit,
    params: RawPathParams,
    form: Form,
) -> Result<Response, Fault> {
    let id = part(&params, "id")?;
    let kept = accounts::kept(&web.pipeline.store.catalog(), &id).await?;
    let name = kept.document.name;
    let to = format!("/accounts/{id}");
    if form.get("name") != name {
        let text = format!("type {name:?} to delete the account; nothing was deleted");
        return Ok(refused(&visit, &to, &Error::bad(text)));
    }
    let headers = if_match(&visit, &form);
    let deleting = accounts::delete(State(web), headers, params);
    Ok(match Box::pin(deleting).await {
        Ok(_) => done(&visit, "/setup", &format!("{name} is deleted.")),
        Err(fault) => refused(&visit, &to, &fault),
    })
}
