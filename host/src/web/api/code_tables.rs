//! Code tables of an account.

use std::collections::BTreeMap;

use axum::extract::{RawPathParams, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::{Body, Seen, json, versioned};
use super::error::{Error, Problem};
use super::list::{Asked, Page, Which, part};
use super::{accounts, rfc3339};
use crate::access::Right;
use crate::flow::AccountId;
use crate::flow::check::Fault;
use crate::store::catalog::{Catalog, Change, CodeTable, Expected, Kept};
use crate::web::Web;

const NOUN: &str = "code-tables";

/// A code table as it stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct CodeTableView {
    account: AccountId,
    name: String,
    /// Codes and what they stand for.
    entries: BTreeMap<String, String>,
    version: i64,
    updated_at: String,
}

/// The entries of a code table.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "read member by member, so that faults have their place"
)]
pub struct CodeTableInput {
    entries: BTreeMap<String, String>,
    /// The version that was seen, or `If-Match`; neither makes a new table.
    version: Option<i64>,
}

fn view(kept: Kept<CodeTable>) -> CodeTableView {
    let CodeTable {
        account,
        name,
        entries,
    } = kept.document;
    CodeTableView {
        account,
        name,
        entries,
        version: kept.version,
        updated_at: rfc3339(kept.updated_at_ms),
    }
}

async fn find(catalog: &Catalog, account: &str, name: &str) -> Result<Kept<CodeTable>, Error> {
    let mut tables = catalog.list().await?.code_tables.into_iter();
    let is = |table: &CodeTable| table.account.as_str() == account && table.name == name;
    let found = tables.find(|kept| is(&kept.document));
    found.ok_or_else(|| Error::not_found(format!("code table {name}")))
}

/// Lists code tables by account and name.
#[utoipa::path(get, path = "/api/v1/code-tables", tag = "code tables", params(Which),
    responses((status = 200, body = Page<CodeTableView>), (status = "default", body = Problem)))]
pub async fn list(
    State(web): State<Web>,
    headers: HeaderMap,
    Asked(which): Asked<Which>,
) -> Result<Response, Error> {
    web.may(&headers, Right::View).await?;
    let tables = web.pipeline.store.catalog().list().await?.code_tables;
    let tables = tables
        .into_iter()
        .filter(|kept| which.wants(kept.document.account.as_str()))
        .map(|kept| {
            let key = format!("{}/{}", kept.document.account, kept.document.name);
            (key, view(kept))
        });
    Ok(json(StatusCode::OK, &which.page(tables)))
}

/// Shows a code table.
#[utoipa::path(get, path = "/api/v1/code-tables/{account}/{name}", tag = "code tables",
    params(("account" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = CodeTableView), (status = "default", body = Problem)))]
pub async fn show(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<Response, Error> {
    web.may(&headers, Right::View).await?;
    let catalog = web.pipeline.store.catalog();
    let (account, name) = (part(&params, "account")?, part(&params, "name")?);
    let kept = find(&catalog, &account, &name).await?;
    let version = kept.version;
    Ok(versioned(StatusCode::OK, &view(kept), version))
}

/// Makes a code table, or changes the version that was seen.
#[utoipa::path(put, path = "/api/v1/code-tables/{account}/{name}", tag = "code tables",
    params(("account" = String, Path), ("name" = String, Path)), request_body = CodeTableInput,
    responses((status = 200, body = CodeTableView), (status = 201, body = CodeTableView),
        (status = "default", body = Problem)))]
pub async fn save(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
    mut body: Body,
) -> Result<Response, Error> {
    let caller = web.may(&headers, Right::Map).await?;
    let (account, name) = (part(&params, "account")?, part(&params, "name")?);
    let catalog = web.pipeline.store.catalog();
    accounts::kept(&catalog, &account).await?;
    let seen = match body.seen() {
        Ok(seen) => Some(seen),
        // Saying no version makes a new table.
        Err(fault) if fault.is_version_needed() => None,
        Err(fault) => return Err(fault),
    };
    let entries: BTreeMap<String, String> = body.take("entries", "code-tables.entries")?;
    body.end(NOUN, &["account", "name", "updated_at"])?;
    if name.trim().is_empty() || name.len() > 200 || name.chars().any(char::is_control) {
        let fault = Fault::new("name", "takes 1 to 200 bytes without control characters");
        return Err(Error::invalid(NOUN, vec![fault]));
    }
    let table = CodeTable {
        account: account.as_str().into(),
        name: name.clone(),
        entries,
    };
    let expected = seen.map_or(Expected::New, |seen| seen.expected);
    let change = Change::CodeTable(table, expected);
    let applied = catalog.apply(&[change], &caller.author()).await;
    applied.map_err(|fault| match seen {
        Some(seen) => seen.refuse(fault),
        None => fault.into(),
    })?;
    web.pipeline.changed();
    let kept = find(&catalog, &account, &name).await?;
    let version = kept.version;
    let status = match seen {
        Some(_) => StatusCode::OK,
        None => StatusCode::CREATED,
    };
    Ok(versioned(status, &view(kept), version))
}

/// Deletes a code table; releases that were made with it keep their copy.
#[utoipa::path(delete, path = "/api/v1/code-tables/{account}/{name}", tag = "code tables",
    params(("account" = String, Path), ("name" = String, Path)),
    responses((status = 204), (status = "default", body = Problem)))]
pub async fn delete(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<StatusCode, Error> {
    let caller = web.may(&headers, Right::Map).await?;
    let seen = Seen::of(&headers)?;
    let (account, name) = (part(&params, "account")?, part(&params, "name")?);
    let change = Change::DeleteCodeTable(account.into(), name, seen.expected);
    let catalog = web.pipeline.store.catalog();
    catalog
        .apply(&[change], &caller.author())
        .await
        .map_err(|fault| seen.refuse(fault))?;
    web.pipeline.changed();
    Ok(StatusCode::NO_CONTENT)
}
