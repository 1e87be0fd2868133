//! Code tables of an account, and the codes that they lack.

use std::collections::BTreeMap;

use axum::extract::{RawPathParams, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::body::{self, Seen, Unread, json, versioned};
use super::error::{Error, Problem};
use super::list::{Asked, Page, Which, limit, part};
use super::{accounts, rfc3339};
use crate::access::{Caller, Right};
use crate::flow::check::Fault;
use crate::flow::table::{Otherwise, csv};
use crate::flow::{AccountId, CodeTable, Digest, FlowId};
use crate::pipeline::activate;
use crate::store;
use crate::store::catalog::audit::Record;
use crate::store::catalog::{Author, Catalog, Change, Expected, Kept, Snapshot};
use crate::store::journal::MissRow;
use crate::web::Web;

const NOUN: &str = "code-tables";

/// The largest CSV file taken.
pub(in crate::web) const MAX_CSV_BYTES: usize = 16 * 1024 * 1024;

/// A code table as it stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct CodeTableView {
    account: AccountId,
    name: String,
    /// What is known of a code, in this order; the first is what a code is translated to.
    columns: Vec<String>,
    /// Whether `icu` finds the entry of `ICU`.
    ignore_case: bool,
    /// What a code without an entry stands for.
    otherwise: Otherwise,
    /// A value for each column.
    entries: BTreeMap<String, Vec<String>>,
    /// The flows whose active release looks codes up in it.
    flows: Vec<FlowId>,
    /// Those of them that look up in an earlier version until a shadow run has proven the release with this one.
    unproven: Vec<Unproven>,
    version: i64,
    updated_at: String,
}

/// A flow that takes a saved table only when a shadow run has proven what it changes.
#[derive(Debug, Serialize, ToSchema)]
pub struct Unproven {
    pub(in crate::web) flow: FlowId,
    /// The release with the table as it stands, to be run as a shadow and put in force.
    pub(in crate::web) release: Digest,
}

/// A code table without its entries.
#[derive(Debug, Serialize, ToSchema)]
pub struct CodeTableHead {
    account: AccountId,
    name: String,
    /// The flows whose active release looks codes up in it.
    flows: Vec<FlowId>,
    version: i64,
    updated_at: String,
}

/// A code table; what is left out is as in a new one.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "read member by member, so that faults have their place"
)]
pub struct CodeTableInput {
    /// `value` if left out.
    columns: Option<Vec<String>>,
    ignore_case: Option<bool>,
    otherwise: Option<Otherwise>,
    /// A value for each column.
    entries: BTreeMap<String, Vec<String>>,
    /// The version that was seen, or `If-Match`; neither makes a new table.
    version: Option<i64>,
}

/// A code that a table has no entry for.
#[derive(Debug, Serialize, ToSchema)]
pub struct MissView {
    id: String,
    /// Only for those who may see patient data.
    code: Option<String>,
    /// Runs that looked it up.
    count: u64,
    first_at: String,
    last_at: String,
    /// Deliveries that wait for the entry, and go on when it is there.
    deliveries_stopped: u64,
}

/// Which misses.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WhichMisses {
    /// Those behind this one: `next` of the page before.
    after: Option<String>,
    /// At most so many, up to 500.
    limit: Option<usize>,
}

/// The flows that look codes up in an earlier version of a table until a shadow run has proven this one.
pub(in crate::web) fn unproven(
    account: &AccountId,
    name: &str,
    snapshot: &Snapshot,
    tables: &[CodeTable],
) -> Vec<Unproven> {
    let users = activate::table_users(account, name, snapshot).into_iter();
    let unproven = users.filter(|flow| flow.require_shadow).filter_map(|flow| {
        let active = snapshot.release(flow)?;
        activate::with_tables(active, tables.iter(), |it| it == name)?;
        let release = activate::with_tables(active, tables.iter(), |_| true)?;
        Some(Unproven {
            flow: flow.id.clone(),
            release: release.digest(),
        })
    });
    unproven.collect()
}

fn view(kept: Kept<CodeTable>, snapshot: &Snapshot, tables: &[CodeTable]) -> CodeTableView {
    let CodeTable {
        account,
        name,
        columns,
        ignore_case,
        otherwise,
        entries,
    } = kept.document;
    let users = activate::table_users(&account, &name, snapshot);
    CodeTableView {
        unproven: unproven(&account, &name, snapshot, tables),
        flows: users.into_iter().map(|flow| flow.id.clone()).collect(),
        account,
        name,
        columns,
        ignore_case,
        otherwise,
        entries,
        version: kept.version,
        updated_at: rfc3339(kept.updated_at_ms),
    }
}

async fn answer(
    catalog: &Catalog,
    account: &str,
    name: &str,
    status: StatusCode,
) -> Result<Response, Error> {
    let kept = find(catalog, account, name).await?;
    let version = kept.version;
    let tables = catalog.code_tables(&account.into()).await?;
    let view = view(kept, &catalog.load().await?, &tables);
    Ok(versioned(status, &view, version))
}

async fn find(catalog: &Catalog, account: &str, name: &str) -> Result<Kept<CodeTable>, Error> {
    let found = catalog.code_table(&account.into(), name).await?;
    found.ok_or_else(|| Error::not_found(format!("code table {name}")))
}

/// Lists code tables by account and name, without their entries.
#[utoipa::path(get, path = "/api/v1/code-tables", tag = "code tables", params(Which),
    responses((status = 200, body = Page<CodeTableHead>), (status = "default", body = Problem)))]
pub async fn list(
    State(web): State<Web>,
    headers: HeaderMap,
    Asked(which): Asked<Which>,
) -> Result<Response, Error> {
    web.may(&headers, Right::View).await?;
    let catalog = web.pipeline.store.catalog();
    let snapshot = catalog.load().await?;
    let tables = catalog.list().await?.code_tables;
    let tables = tables
        .into_iter()
        .filter(|head| which.wants(head.account.as_str()))
        .map(|head| {
            let users = activate::table_users(&head.account, &head.name, &snapshot);
            let key = format!("{}/{}", head.account, head.name);
            let head = CodeTableHead {
                flows: users.into_iter().map(|flow| flow.id.clone()).collect(),
                account: head.account,
                name: head.name,
                version: head.version,
                updated_at: rfc3339(head.updated_at_ms),
            };
            (key, head)
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
    answer(&catalog, &account, &name, StatusCode::OK).await
}

/// Makes a code table, or changes the version that was seen.
///
/// Flows that use it look up in the new one at once, each with a release of its own; deliveries that waited for an entry
/// go on. A flow that requires shadow runs keeps what it has: `unproven` names the release that waits for one.
#[utoipa::path(put, path = "/api/v1/code-tables/{account}/{name}", tag = "code tables",
    params(("account" = String, Path), ("name" = String, Path)), request_body = CodeTableInput,
    responses((status = 200, body = CodeTableView), (status = 201, body = CodeTableView),
        (status = "default", body = Problem)))]
pub async fn save(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
    sent: Unread,
) -> Result<Response, Error> {
    let caller = web.may(&headers, Right::Map).await?;
    let mut body = sent.read().await?;
    let (account, name) = (part(&params, "account")?, part(&params, "name")?);
    let catalog = web.pipeline.store.catalog();
    accounts::kept(&catalog, &account).await?;
    let seen = match body.seen() {
        Ok(seen) => Some(seen),
        // Saying no version makes a new table.
        Err(fault) if fault.is_version_needed() => None,
        Err(fault) => return Err(fault),
    };
    let new = CodeTable::new(account.as_str().into(), name.clone());
    let columns = body.optional("columns", "code-tables.columns")?;
    let ignore_case: Option<bool> = body.optional("ignore_case", "code-tables.ignore_case")?;
    let otherwise: Option<Otherwise> = body.optional("otherwise", "code-tables.otherwise")?;
    let table = CodeTable {
        columns: columns.unwrap_or(new.columns),
        ignore_case: ignore_case.unwrap_or_default(),
        otherwise: otherwise.unwrap_or_default(),
        entries: body.take("entries", "code-tables.entries")?,
        ..new
    };
    let shown = ["account", "name", "flows", "unproven", "updated_at"];
    body.end(NOUN, &shown)?;
    put(&web, table, seen, &caller.author()).await?;
    let status = match seen {
        Some(_) => StatusCode::OK,
        None => StatusCode::CREATED,
    };
    answer(&catalog, &account, &name, status).await
}

/// What [`save`] does with a whole table, for a page; no version makes a new one.
pub(in crate::web) async fn keep(
    web: &Web,
    headers: &HeaderMap,
    table: CodeTable,
    version: Option<i64>,
) -> Result<(), Error> {
    let caller = web.may(headers, Right::Map).await?;
    let catalog = web.pipeline.store.catalog();
    accounts::kept(&catalog, table.account.as_str()).await?;
    let seen = version.map(Seen::version);
    put(web, table, seen, &caller.author()).await
}

/// Keeps a table with the releases that it calls for.
async fn put(
    web: &Web,
    table: CodeTable,
    seen: Option<Seen>,
    author: &Author,
) -> Result<(), Error> {
    Error::check(NOUN, table.check())?;
    let catalog = web.pipeline.store.catalog();
    let flows = catalog.list().await?.flows;
    let mut tables = catalog.code_tables(&table.account).await?;
    tables.retain(|known| known.name != table.name);
    tables.push(table.clone());
    let saved = [table.name.as_str()].into();
    let follow = activate::tables_changed(&saved, &tables, &flows, &catalog.load().await?);
    let expected = seen.map_or(Expected::New, |seen| seen.expected);
    let mut changes = vec![Change::CodeTable(table, expected)];
    changes.extend(follow.into_iter().flat_map(|follows| follows.changes));
    let applied = catalog.apply(&changes, author).await;
    applied.map_err(|fault| match seen {
        Some(seen) => seen.refuse(fault),
        None => fault.into(),
    })?;
    web.pipeline.put_in_force().await;
    Ok(())
}

/// Gives a code table as CSV: a heading `code` and the columns, then a line for each code.
#[utoipa::path(get, path = "/api/v1/code-tables/{account}/{name}/csv", tag = "code tables",
    params(("account" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = String, content_type = "text/csv"), (status = "default", body = Problem)))]
pub async fn csv(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
) -> Result<Response, Error> {
    web.may(&headers, Right::View).await?;
    let catalog = web.pipeline.store.catalog();
    let kept = find(
        &catalog,
        &part(&params, "account")?,
        &part(&params, "name")?,
    )
    .await?;
    let kind = (header::CONTENT_TYPE, "text/csv; charset=utf-8");
    let tag = (header::ETAG, format!("\"{}\"", kept.version));
    Ok(([kind], [tag], csv::write(&kept.document)).into_response())
}

/// Makes a code table of a CSV file, or puts the file's columns and entries into one; its rules stay.
#[utoipa::path(put, path = "/api/v1/code-tables/{account}/{name}/csv", tag = "code tables",
    params(("account" = String, Path), ("name" = String, Path)),
    request_body(content = String, content_type = "text/csv"),
    responses((status = 200, body = CodeTableView), (status = 201, body = CodeTableView),
        (status = "default", body = Problem)))]
pub async fn save_csv(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
    request: Request,
) -> Result<Response, Error> {
    let caller = web.may(&headers, Right::Map).await?;
    let seen = Seen::of(&headers)?;
    let (account, name) = (part(&params, "account")?, part(&params, "name")?);
    let catalog = web.pipeline.store.catalog();
    accounts::kept(&catalog, &account).await?;
    let bytes = body::bytes(request, MAX_CSV_BYTES).await?;
    let sheet = csv::read(&bytes).map_err(|fault| {
        let fault = Fault::new("entries", fault.to_string());
        Error::invalid(NOUN, vec![fault])
    })?;
    let (rules, seen, status) = match find(&catalog, &account, &name).await {
        Ok(kept) => (kept.document, Some(seen), StatusCode::OK),
        Err(_) => {
            let new = CodeTable::new(account.as_str().into(), name.clone());
            (new, None, StatusCode::CREATED)
        }
    };
    let table = CodeTable {
        columns: sheet.columns,
        entries: sheet.entries,
        ..rules
    };
    put(&web, table, seen, &caller.author()).await?;
    answer(&catalog, &account, &name, status).await
}

/// Lists the codes that a table has no entry for, and how many deliveries wait for each.
#[utoipa::path(get, path = "/api/v1/code-tables/{account}/{name}/misses", tag = "code tables",
    params(("account" = String, Path), ("name" = String, Path), WhichMisses),
    responses((status = 200, body = Page<MissView>), (status = "default", body = Problem)))]
pub async fn misses(
    State(web): State<Web>,
    headers: HeaderMap,
    params: RawPathParams,
    Asked(which): Asked<WhichMisses>,
) -> Result<Response, Error> {
    let caller = web.may(&headers, Right::View).await?;
    let may_see = caller.may(Right::SeePatientData).is_ok();
    let (account, name) = (part(&params, "account")?, part(&params, "name")?);
    let most = limit(which.limit);
    let journal = web.pipeline.store.journal();
    let account = AccountId::from(account);
    let rows = journal.misses(&account, &name, which.after.as_deref(), most);
    let rows = rows.await?;
    if may_see && !rows.is_empty() {
        seen(&web, &caller, &account, &name).await?;
    }
    let next = (rows.len() == most).then(|| rows.last().map(|row| row.id.clone()));
    let page = Page {
        items: rows.into_iter().map(|row| miss(row, may_see)).collect(),
        next: next.flatten(),
    };
    Ok(json(StatusCode::OK, &page))
}

/// Records that somebody looks at codes of messages; what cannot be recorded is not shown.
pub(in crate::web) async fn seen(
    web: &Web,
    caller: &Caller,
    account: &AccountId,
    table: &str,
) -> Result<(), store::Error> {
    let record = Record::of("see", account.as_str(), "codes without an entry", table);
    let catalog = web.pipeline.store.catalog();
    catalog.note(&caller.author(), &record).await
}

fn miss(row: MissRow, may_see: bool) -> MissView {
    MissView {
        id: row.id,
        code: may_see.then_some(row.code),
        count: row.count,
        first_at: rfc3339(row.first_at_ms),
        last_at: rfc3339(row.last_at_ms),
        deliveries_stopped: row.stopped,
    }
}

/// Deletes a code table that no flow looks codes up in; releases that were made with it keep their version.
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
    let account = AccountId::from(account);
    let catalog = web.pipeline.store.catalog();
    let snapshot = catalog.load().await?;
    let users = activate::table_users(&account, &name, &snapshot);
    if !users.is_empty() {
        let users: Vec<_> = users
            .iter()
            .map(|flow| format!("flow {}", flow.id))
            .collect();
        return Err(Error::from(crate::store::Error::StillUsed {
            what: format!("code table {name}"),
            by: users.join(", "),
        }));
    }
    let change = Change::DeleteCodeTable(account, name, seen.expected);
    catalog
        .apply(&[change], &caller.author())
        .await
        .map_err(|fault| seen.refuse(fault))?;
    web.pipeline.put_in_force().await;
    Ok(StatusCode::NO_CONTENT)
}
