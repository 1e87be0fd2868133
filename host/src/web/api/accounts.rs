//! Accounts: their settings, their keys (written, never read back), and what is found behind a pair of keys.

use axum::extract::{RawPathParams, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::{Body, Seen, Unread, json, versioned};
use super::error::{Error, Problem};
use super::list::{Asked, Page, Which, part};
use super::rfc3339;
use crate::access::Right;
use crate::flow::account::Keys;
use crate::flow::check::{self, Fault};
use crate::flow::{Account, AccountId};
use crate::pipeline::account::{Found, discover as find, moves};
use crate::store::catalog::audit::Record;
use crate::store::catalog::{Catalog, Change, Expected, Kept};
use crate::web::Web;

const NOUN: &str = "accounts";

/// An account as it stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct AccountView {
    account: Account,
    version: i64,
    updated_at: String,
    /// What LeadSquared said of the account when it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    found: Option<Found>,
    /// How the regular reading of the account stands, in words; none while the account is not in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    poll: Option<String>,
}

/// The access key and secret key of one LeadSquared user; never read back.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeysInput {
    #[schema(write_only)]
    access_key: String,
    #[schema(write_only)]
    secret_key: String,
}

/// A new account. Without `api` in it, the region is found by the keys; time zone and country code are LeadSquared's
/// where they are left out, and so are the identifier fields, by their names.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "read member by member, so that faults have their place"
)]
pub struct NewAccount {
    account: Account,
    keys: Option<KeysInput>,
    /// In the place of keys: the simulator of this process, where it runs one.
    simulator: Option<bool>,
}

/// An account with changes; its keys stay, unless it is to be at another host: that one gets none that it was not given.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "read member by member, so that faults have their place"
)]
pub struct ChangedAccount {
    account: Account,
    /// Needed where `api` names another host than before.
    keys: Option<KeysInput>,
    /// The version that was seen; or send it as `If-Match`.
    version: Option<i64>,
}

/// Keys to look behind.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "read member by member, so that faults have their place"
)]
pub struct Discovery {
    keys: KeysInput,
    /// An address of any region; LeadSquared's first one if left out.
    api: Option<String>,
}

fn view(kept: Kept<Account>) -> AccountView {
    AccountView {
        account: kept.document,
        version: kept.version,
        updated_at: rfc3339(kept.updated_at_ms),
        found: None,
        poll: None,
    }
}

/// An account with what is known of it beside its settings.
async fn whole(web: &Web, kept: Kept<Account>) -> AccountView {
    let standing = web.pipeline.poll_standing(&kept.document.id).await;
    AccountView {
        poll: standing.ok().map(|standing| standing.summary),
        ..view(kept)
    }
}

fn keys(body: &mut Body) -> Result<Keys, Error> {
    let KeysInput {
        access_key,
        secret_key,
    } = body.take("keys", "accounts.keys")?;
    let keys = Keys {
        access_key,
        secret_key,
    };
    let mut faults = Vec::new();
    for (path, key) in [
        ("access_key", &keys.access_key),
        ("secret_key", &keys.secret_key),
    ] {
        if key.trim().is_empty() {
            faults.push(Fault::new(path, "cannot be empty"));
        }
    }
    Error::check("accounts.keys", faults)?;
    Ok(keys)
}

pub(in crate::web) async fn kept(catalog: &Catalog, id: &str) -> Result<Kept<Account>, Error> {
    let accounts = catalog.list().await?.accounts;
    let found = accounts
        .into_iter()
        .find(|kept| kept.document.id.as_str() == id);
    found.ok_or_else(|| Error::not_found(format!("account {id}")))
}

/// Lists accounts.
#[utoipa::path(get, path = "/api/v1/accounts", tag = "accounts", params(Which),
    responses((status = 200, body = Page<AccountView>), (status = "default", body = Problem)))]
pub async fn list(
    State(web): State<Web>,
    headers: HeaderMap,
    Asked(which): Asked<Which>,
) -> Result<Response, Error> {
    web.may(&headers, Right::View).await?;
    let accounts = web.pipeline.store.catalog().list().await?.accounts;
    let accounts = accounts
        .into_iter()
        .filter(|kept| which.wants(kept.document.id.as_str()))
        .map(|kept| (kept.document.id.to_string(), view(kept)));
    Ok(json(StatusCode::OK, &which.page(accounts)))
}

/// Makes an account, after asking LeadSquared who the keys belong to.
#[utoipa::path(post, path = "/api/v1/accounts", tag = "accounts", request_body = NewAccount,
    responses((status = 201, body = AccountView), (status = "default", body = Problem)))]
pub async fn create(
    State(web): State<Web>,
    headers: HeaderMap,
    sent: Unread,
) -> Result<Response, Error> {
    let (kept, found) = Box::pin(connect(&web, &headers, sent)).await?;
    let version = kept.version;
    let made = AccountView {
        found: Some(found),
        ..view(kept)
    };
    Ok(versioned(StatusCode::CREATED, &made, version))
}

/// What [`create`] does, for a page.
pub(in crate::web) async fn connect(
    web: &Web,
    headers: &HeaderMap,
    sent: Unread,
) -> Result<(Kept<Account>, Found), Error> {
    let caller = web.may(headers, Right::Administer).await?;
    let mut body = sent.read().await?;
    let asked = body.object("account").and_then(|account| {
        let api = account.get("api")?.as_str()?;
        Some(api.to_owned())
    });
    let simulated: Option<bool> = body.optional("simulator", "accounts.simulator")?;
    let (asked, keys) = match (simulated, &web.simulator) {
        (Some(true), Some(simulator)) => (Some(simulator.api.clone()), simulator.keys.clone()),
        (Some(true), None) => {
            let text = "this process runs no simulator: connect an account by its keys";
            let fault = Fault::new("simulator", text);
            return Err(Error::invalid(NOUN, vec![fault]));
        }
        _ => (asked, keys(&mut body)?),
    };
    let found = find(asked.as_deref(), &keys).await?;
    if let Some(account) = body.object("account") {
        account
            .entry("api")
            .or_insert_with(|| found.api.clone().into());
    }
    let mut account: Account = body.take("account", NOUN)?;
    body.end(NOUN, &[])?;
    // The region that the keys belong to, whichever was asked.
    account.api.clone_from(&found.api);
    let or_found = |own: &mut Option<String>, found: &Option<String>| {
        if own.is_none() {
            own.clone_from(found);
        }
    };
    or_found(&mut account.time_zone, &found.time_zone);
    or_found(
        &mut account.default_country_code,
        &found.default_country_code,
    );
    if account.identifier_fields.is_empty() {
        account
            .identifier_fields
            .clone_from(&found.identifier_fields);
    }
    Error::check(NOUN, check::account(&account))?;
    let catalog = web.pipeline.store.catalog();
    let id = account.id.clone();
    let changes = [
        Change::Account(account, Expected::New),
        Change::Keys(id.clone(), keys),
    ];
    catalog.apply(&changes, &caller.author()).await?;
    web.pipeline.put_in_force().await;
    Ok((kept(&catalog, id.as_str()).await?, found))
}

/// Shows an account.
#[utoipa::path(get, path = "/api/v1/accounts/{id}", tag = "accounts", params(("id" = String, Path)),
    responses((status = 200, body = AccountView), (status = "default", body = Problem)))]
pub async fn show(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<Response, Error> {
    web.may(&headers, Right::View).await?;
    let kept = kept(&web.pipeline.store.catalog(), &part(&params, "id")?).await?;
    let version = kept.version;
    Ok(versioned(StatusCode::OK, &whole(&web, kept).await, version))
}

/// Changes an account; its keys stay. Another host takes the keys anew.
#[utoipa::path(put, path = "/api/v1/accounts/{id}", tag = "accounts", params(("id" = String, Path)),
    request_body = ChangedAccount,
    responses((status = 200, body = AccountView), (status = "default", body = Problem)))]
pub async fn save(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
    sent: Unread,
) -> Result<Response, Error> {
    let caller = web.may(&headers, Right::Administer).await?;
    let mut body = sent.read().await?;
    let id = part(&params, "id")?;
    let seen = body.seen()?;
    let account: Account = body.take("account", NOUN)?;
    let given = match body.object("keys") {
        Some(_) => Some(keys(&mut body)?),
        None => None,
    };
    body.end(NOUN, &["updated_at", "found", "poll"])?;
    let mut faults = check::account(&account);
    if account.id.as_str() != id {
        faults.push(Fault::new("id", "is the account's name and cannot change"));
    }
    Error::check(NOUN, faults)?;
    let catalog = web.pipeline.store.catalog();
    let mut changes = Vec::new();
    let before = kept(&catalog, &id).await?.document;
    changes.extend(moved(&before, &account, given.is_some())?.map(Change::Note));
    if let Some(keys) = given {
        belong(&account, &keys).await?;
        changes.push(Change::Keys(account.id.clone(), keys));
    }
    changes.push(Change::Account(account, seen.expected));
    catalog
        .apply(&changes, &caller.author())
        .await
        .map_err(|fault| seen.refuse(fault))?;
    web.pipeline.put_in_force().await;
    let kept = kept(&catalog, &id).await?;
    let version = kept.version;
    Ok(versioned(StatusCode::OK, &whole(&web, kept).await, version))
}

/// What the audit says of an account whose API is to be at another host; none where it stays.
fn moved(before: &Account, after: &Account, has_keys: bool) -> Result<Option<Record>, Error> {
    let fault = |text: String| Error::invalid(NOUN, vec![Fault::new("api", text)]);
    let moves = moves(&before.api, &after.api).map_err(|refused| fault(refused.to_string()))?;
    match moves {
        None => Ok(None),
        Some((from, _)) if !has_keys => Err(fault(format!(
            "is at another host than {from}: send the keys for it, too"
        ))),
        Some((from, to)) => {
            let id = after.id.as_str();
            let what = format!("{id} from {from} to {to}");
            Ok(Some(Record::of("move", id, "account", &what)))
        }
    }
}

/// Keys of another account would write one clinic's patients to another's.
async fn belong(account: &Account, keys: &Keys) -> Result<(), Error> {
    let found = find(Some(&account.api), keys).await?;
    match moves(&account.api, &found.api) {
        Ok(None) => Ok(()),
        _ => {
            let text = format!(
                "the keys belong to {}, the account is at {}",
                found.api, account.api
            );
            let fault = Fault::new("access_key", text);
            Err(Error::invalid("accounts.keys", vec![fault]))
        }
    }
}

/// Deletes an account that has no channels and no flows; its messages stay.
#[utoipa::path(delete, path = "/api/v1/accounts/{id}", tag = "accounts", params(("id" = String, Path)),
    responses((status = 204), (status = "default", body = Problem)))]
pub async fn delete(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<StatusCode, Error> {
    let caller = web.may(&headers, Right::Administer).await?;
    let seen = Seen::of(&headers)?;
    let change = Change::DeleteAccount(part(&params, "id")?.into(), seen.expected);
    let catalog = web.pipeline.store.catalog();
    catalog
        .apply(&[change], &caller.author())
        .await
        .map_err(|fault| seen.refuse(fault))?;
    web.pipeline.put_in_force().await;
    Ok(StatusCode::NO_CONTENT)
}

/// Puts other keys in place of an account's.
#[utoipa::path(put, path = "/api/v1/accounts/{id}/keys", tag = "accounts", params(("id" = String, Path)),
    request_body = KeysInput,
    responses((status = 204), (status = "default", body = Problem)))]
pub async fn put_keys(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
    sent: Unread,
) -> Result<StatusCode, Error> {
    let caller = web.may(&headers, Right::Administer).await?;
    let mut body = sent.read().await?;
    let catalog = web.pipeline.store.catalog();
    let account = kept(&catalog, &part(&params, "id")?).await?.document;
    let keys = Keys {
        access_key: body.take("access_key", "accounts.keys.access_key")?,
        secret_key: body.take("secret_key", "accounts.keys.secret_key")?,
    };
    body.end("accounts.keys", &[])?;
    belong(&account, &keys).await?;
    let id: AccountId = account.id;
    let changes = [Change::Keys(id, keys)];
    catalog.apply(&changes, &caller.author()).await?;
    web.pipeline.put_in_force().await;
    Ok(StatusCode::NO_CONTENT)
}

/// Tells what is behind a pair of keys, and keeps nothing.
#[utoipa::path(post, path = "/api/v1/accounts/discover", tag = "accounts", request_body = Discovery,
    responses((status = 200, body = Found), (status = "default", body = Problem)))]
pub async fn discover(
    State(web): State<Web>,
    headers: HeaderMap,
    sent: Unread,
) -> Result<Response, Error> {
    web.may(&headers, Right::Administer).await?;
    let mut body = sent.read().await?;
    let keys = keys(&mut body)?;
    let api: Option<String> = body.optional("api", "accounts.api")?;
    body.end("accounts", &[])?;
    Ok(json(StatusCode::OK, &find(api.as_deref(), &keys).await?))
}
